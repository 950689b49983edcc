/**
 * Raising RLIMIT_MEMLOCK of a running QEMU, with prlimit of util-linux: the next device_add of the same process then
 * works (facts.md 8). Never lowers a limit, and is never undone: it ends with the process.
 */
import { readFileSync } from "node:fs";
import { messageOf } from "../base/error.js";
import type { VmProcess } from "../core/vm.js";
import { failed, type HostContext, type Trouble } from "./host-write.js";
import type { KernelIoResult } from "./kernel-io.js";
import { isRunning } from "./process.js";
import type { HostRoot } from "./root.js";

/** A limit of a process in bytes; infinite when there is none. */
interface Limit {
  readonly soft: number;
  readonly hard: number;
}

/** Lets a process lock that much memory, and reads it back. Writes nothing when it may already. */
export async function raiseMemlock(
  ctx: HostContext,
  process: Pick<VmProcess, "pid" | "startTicks">,
  bytes: number,
): Promise<Trouble | null> {
  const { pid } = process;
  const path = ctx.root.proc(pid, "limits");
  const gone = failed("host.process-gone", `process ${pid} has ended, or is another one now`);
  const before = isRunning(ctx.root, process) ? readLimit(ctx.root, pid) : null;
  if (before === null) {
    return gone;
  }
  if (before.soft >= bytes) {
    return null;
  }
  try {
    await ctx.announce({ path, text: `Max locked memory ${bytes}` });
  } catch (error) {
    return failed(
      "host.not-announced",
      `cannot write down the new limit of process ${pid}: ${messageOf(error)}`,
    );
  }
  // After the announcement, which takes its time: the check belongs right before the change.
  if (!isRunning(ctx.root, process)) {
    return gone;
  }
  const hardBytes = before.hard >= bytes ? null : bytes;
  const result = await ctx.io.limitMemlock(pid, { softBytes: bytes, hardBytes }, ctx.deadlineMs);
  const trouble = troubleOf(result, pid);
  if (trouble !== null) {
    return trouble;
  }
  return (readLimit(ctx.root, pid)?.soft ?? 0) >= bytes
    ? null
    : failed("host.read-back", `process ${pid} may not lock ${bytes} bytes after prlimit`);
}

function troubleOf(result: KernelIoResult, pid: number): Trouble | null {
  switch (result.kind) {
    case "done":
      return null;
    case "failed":
      return failed("host.write-refused", `memory limit of process ${pid}: ${result.detail}`);
    case "stuck":
      return result;
  }
}

/** `null`: there is no such process. */
function readLimit(root: HostRoot, pid: number): Limit | null {
  const match = /^Max locked memory\s+(\d+|unlimited)\s+(\d+|unlimited)/m.exec(limitsOf(root, pid));
  return match === null ? null : { soft: bytesOf(match[1]), hard: bytesOf(match[2]) };
}

function bytesOf(text = "0"): number {
  return text === "unlimited" ? Number.POSITIVE_INFINITY : Number(text);
}

function limitsOf(root: HostRoot, pid: number): string {
  try {
    return readFileSync(root.proc(pid, "limits"), "latin1");
  } catch {
    return "";
  }
}
