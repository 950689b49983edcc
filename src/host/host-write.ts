/**
 * The one way in which this room changes a device: announced first, to the very card that is meant, with a deadline.
 *
 * Invariants: nothing is written before its audit line is on disk; nothing is written to another appearance of the
 * device than the one that was decided upon; after a write that hangs nothing more is written to the device.
 */
import { messageOf } from "../base/error.js";
import type { PciAddress } from "../core/address.js";
import type { KernelIo, KernelIoResult } from "./kernel-io.js";
import type { HostRoot } from "./root.js";
import { readAppearance } from "./sysfs-link.js";

/** One change of the host, as the audit has it. */
export interface HostWrite {
  readonly path: string;
  readonly text: string;
}

/** What the hands on the host work with. */
export interface HostContext {
  readonly root: HostRoot;
  readonly io: KernelIo;
  /** Resolves once the line about the write is on disk; a rejection keeps the write from being made. */
  readonly announce: (write: HostWrite) => Promise<void>;
  /** Loads a kernel module: `loadKernelModule` on a real host. */
  readonly loadModule: (name: string, deadlineMs: number) => Promise<KernelIoResult>;
  /** For one read or write. */
  readonly deadlineMs: number;
  /** How long the kernel may take to show what a write has brought about. */
  readonly settleMs: number;
}

/** The card that is meant: another appearance at the same address is another card. */
export interface Target {
  readonly address: PciAddress;
  readonly appearance: string;
}

export type HostFailureCode =
  /** The device went away, or another one came: nothing was written to it. */
  | "host.card-changed"
  /** The audit line could not be written, so the host was not. */
  | "host.not-announced"
  /** The kernel refused a write. */
  | "host.write-refused"
  /** What was written is not what is read back. */
  | "host.read-back"
  | "host.no-iommu-group"
  | "host.no-vfio-driver"
  /** The kernel bound no driver, or another one. */
  | "host.not-bound"
  | "host.no-vfio-node"
  /** The process whose limit was to be raised is not there any more. */
  | "host.process-gone"
  /** A device that was to be kept driverless has a driver. */
  | "host.companion-bound"
  /** The original driver did not take the device back. */
  | "host.not-restored";

/** Why something was not done. */
export type Trouble =
  | { readonly kind: "failed"; readonly code: HostFailureCode; readonly detail: string }
  /** A write hangs; its child was left behind. `pid`: that child. */
  | { readonly kind: "stuck"; readonly pid: number; readonly detail: string };

/** What came of one change of the host. `undone`: what was put back, and reads so. */
export type HostDeed = { readonly kind: "done" } | (Trouble & { readonly undone: readonly string[] });

export function failed(code: HostFailureCode, detail: string): Trouble {
  return { kind: "failed", code, detail };
}

/** Whether the card that is meant is there; otherwise why not. */
export function checkCard(ctx: HostContext, target: Target): Trouble | null {
  const appearance = readAppearance(ctx.root, target.address);
  if (appearance === target.appearance) {
    return null;
  }
  const what = appearance === null ? "is gone" : "is another card than the one that was decided upon";
  return failed("host.card-changed", `${target.address} ${what}; nothing was written to it`);
}

/** Writes one text to one file on behalf of a card. */
export async function writeHost(
  ctx: HostContext,
  target: Target,
  path: string,
  text: string,
): Promise<Trouble | null> {
  try {
    await ctx.announce({ path, text });
  } catch (error) {
    return failed("host.not-announced", `cannot write down the write to ${path}: ${messageOf(error)}`);
  }
  // After the announcement, which takes its time: the check belongs right before the write.
  const trouble = checkCard(ctx, target);
  return trouble ?? troubleOf(await ctx.io.write(path, text, ctx.deadlineMs), path);
}

/** What a refused or hanging read or write means to the caller. */
export function troubleOf(result: KernelIoResult, path: string): Trouble | null {
  switch (result.kind) {
    case "done":
      return null;
    case "failed":
      return failed("host.write-refused", `${path}: ${result.detail}`);
    case "stuck":
      return result;
  }
}

/** Takes the steps one after the other up to the first trouble. */
export async function inOrder(steps: readonly (() => Promise<Trouble | null>)[]): Promise<Trouble | null> {
  for (const step of steps) {
    const trouble = await step();
    if (trouble !== null) {
      return trouble;
    }
  }
  return null;
}
