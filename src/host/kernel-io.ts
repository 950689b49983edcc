/**
 * Reads and writes of kernel files that may hang without limit: driver, override, probe, sriov and remove files, and
 * reading driver_override, config or uevent (facts.md 5).
 *
 * Each is done in a child of its own with a deadline; one that hangs costs that child and nothing else. The simulation
 * has another implementation that imitates the kernel. Texts are Latin-1 here: byte for byte what the kernel has.
 */
import { lchown, lstat } from "node:fs/promises";
import { messageOf } from "../base/error.js";
import { runChild } from "./child.js";

/** What came of one read or write. */
export type KernelIoResult =
  /** `text`: what was read; empty after a write. */
  | { readonly kind: "done"; readonly text: string }
  /** The kernel refused; the detail is for people. */
  | { readonly kind: "failed"; readonly detail: string }
  /** Not back at the deadline: whether it will still happen is not known. `pid`: the child that hangs. */
  | { readonly kind: "stuck"; readonly pid: number; readonly detail: string };

/** The seam between this room and the kernel. */
export interface KernelIo {
  /** One read(2) from the start of the file, at most 64 KiB. */
  read(path: string, deadlineMs: number): Promise<KernelIoResult>;
  /** One write(2) to a file that exists; never creates or truncates. An empty text is refused: it would do nothing. */
  write(path: string, text: string, deadlineMs: number): Promise<KernelIoResult>;
  /** Changes the owner of a node; never follows a link. Does not block. */
  chown(path: string, uid: number, gid: number): Promise<KernelIoResult>;
  /** Sets RLIMIT_MEMLOCK of a process, in bytes; a hard limit of `null` stays as it is. */
  limitMemlock(
    pid: number,
    limit: { readonly softBytes: number; readonly hardBytes: number | null },
    deadlineMs: number,
  ): Promise<KernelIoResult>;
}

/** The real kernel. */
export function childKernelIo(): KernelIo {
  return {
    read: (path, deadlineMs) => transfer(path, [`if=${path}`, "bs=65536", "count=1"], "", deadlineMs),
    write: (path, text, deadlineMs) =>
      // A write(2) of no bytes never reaches the kernel's store function and looks like success (facts.md 9).
      text === ""
        ? Promise.resolve({ kind: "failed", detail: "nothing to write" })
        : transfer(path, [`of=${path}`, "bs=65536", "conv=notrunc"], text, deadlineMs),
    chown: changeOwner,
    limitMemlock: (pid, { softBytes, hardBytes }, deadlineMs) =>
      setLimit(pid, hardBytes === null ? `${softBytes}:` : `${softBytes}:${hardBytes}`, deadlineMs),
  };
}

async function transfer(
  path: string,
  args: readonly string[],
  input: string,
  deadlineMs: number,
): Promise<KernelIoResult> {
  const obstacle = await obstacleAt(path);
  if (obstacle !== null) {
    return { kind: "failed", detail: obstacle };
  }
  const end = await runChild("dd", [...args, "status=none"], input, deadlineMs);
  switch (end.kind) {
    case "missing":
      return { kind: "failed", detail: `cannot start dd: ${end.detail}` };
    case "stuck":
      return { kind: "stuck", pid: end.pid, detail: `no answer from ${path} within ${deadlineMs} ms` };
    case "ended":
      return end.code === 0
        ? { kind: "done", text: end.stdout }
        : { kind: "failed", detail: complaintOf(end.stderr) };
  }
}

/** dd would create a missing file; on a copy of a host that would be a lasting lie. */
async function obstacleAt(path: string): Promise<string | null> {
  try {
    return (await lstat(path)).isSymbolicLink() ? `${path} is a link` : null;
  } catch (error) {
    return messageOf(error);
  }
}

function complaintOf(stderr: string): string {
  const [line = ""] = stderr.split("\n", 1);
  return line.replace(/^dd: /, "") || "dd failed without a word";
}

async function setLimit(pid: number, limit: string, deadlineMs: number): Promise<KernelIoResult> {
  const end = await runChild("prlimit", ["--pid", String(pid), `--memlock=${limit}`], "", deadlineMs);
  switch (end.kind) {
    case "missing":
      return { kind: "failed", detail: `cannot start prlimit (util-linux): ${end.detail}` };
    case "stuck":
      return { kind: "stuck", pid: end.pid, detail: `prlimit did not end within ${deadlineMs} ms` };
    case "ended":
      return end.code === 0
        ? { kind: "done", text: "" }
        : { kind: "failed", detail: end.stderr.trim().split("\n", 1)[0] || "prlimit failed without a word" };
  }
}

async function changeOwner(path: string, uid: number, gid: number): Promise<KernelIoResult> {
  try {
    await lchown(path, uid, gid);
    return { kind: "done", text: "" };
  } catch (error) {
    return { kind: "failed", detail: messageOf(error) };
  }
}
