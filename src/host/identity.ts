/** What a device was before we touched it, and which boot this is: the facts that a lease rests on. */
import { readFile } from "node:fs/promises";
import { messageOf } from "../base/error.js";
import type { PciAddress } from "../core/address.js";
import type { OriginalState } from "../core/lease.js";
import { HostError } from "./error.js";
import type { KernelIo, KernelIoResult } from "./kernel-io.js";
import type { HostRoot } from "./root.js";
import { readDriver } from "./sysfs-link.js";

/**
 * Reads the driver and the override, once per lease: reading driver_override blocks while the kernel waits for a VM
 * to let go of the device (facts.md 5), so it is done in a child.
 *
 * @throws {HostError} `host.stuck` when the kernel does not answer in time, `host.unreadable` when it refuses.
 */
export async function readOriginal(
  root: HostRoot,
  io: KernelIo,
  address: PciAddress,
  deadlineMs: number,
): Promise<OriginalState> {
  const result = await io.read(root.driverOverride(address), deadlineMs);
  if (result.kind !== "done") {
    const code = result.kind === "stuck" ? "host.stuck" : "host.unreadable";
    throw new HostError(code, `cannot read driver_override of ${address}: ${result.detail}`, {
      context: { address },
    });
  }
  // In this order: once the override was read, no probe of the device is under way any more (device_lock).
  return { driver: readDriver(root, address), override: parseOverride(result.text) };
}

/** What is in driver_override: `(null)` is how the kernel prints an unset one (facts.md 9). */
export function parseOverride(text: string): string | null {
  const value = text.replace(/\n$/, "");
  return value === "(null)" || value === "" ? null : value;
}

/** The override as it is now, or the reason why it cannot be told. */
export async function readOverride(
  root: HostRoot,
  io: KernelIo,
  address: PciAddress,
  deadlineMs: number,
): Promise<
  { readonly kind: "done"; readonly override: string | null } | Exclude<KernelIoResult, { kind: "done" }>
> {
  const result = await io.read(root.driverOverride(address), deadlineMs);
  return result.kind === "done" ? { kind: "done", override: parseOverride(result.text) } : result;
}

/** The kernel's id of this boot. @throws {HostError} `host.unreadable` */
export async function readBootId(root: HostRoot): Promise<string> {
  try {
    return (await readFile(root.bootId(), "latin1")).trim();
  } catch (cause) {
    throw new HostError("host.unreadable", `cannot read the boot id: ${messageOf(cause)}`, { cause });
  }
}
