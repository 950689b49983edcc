/**
 * Processes behind sockets and vfio nodes, from /proc (facts.md 7 and 8). Never reads cmdline or environ, which wait
 * for a lock that a hung process may hold.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { setImmediate } from "node:timers/promises";
import type { VmProcess } from "../core/vm.js";
import type { HostRoot } from "./root.js";

/** Between two turns of the event loop. */
const SLICE = 16;
/** In the `Flags` column of /proc/net/unix: the socket listens (kernel: __SO_ACCEPTCON). */
const LISTENING = 0x10000;
/** capability(7): CAP_IPC_LOCK. */
const IPC_LOCK = 1n << 14n;

/**
 * The process that listens on a unix socket: exactly the QEMU behind a QMP socket.
 *
 * `null` when there is none, or more than one: then nobody can tell which of them answers.
 */
export async function findSocketOwner(root: HostRoot, socketPath: string): Promise<VmProcess | null> {
  const sockets = listeningSockets(root, basename(socketPath));
  if (sockets.size === 0) {
    return null;
  }
  const pids = new Set<number>();
  await eachOpenFile(root, (pid, target) => {
    const inode = inodeOf(target);
    const path = inode === undefined ? undefined : sockets.get(inode);
    // PID 1 keeps a copy of the sockets that it hands out.
    if (path !== undefined && pid !== 1 && isSamePath(root, pid, path, socketPath)) {
      pids.add(pid);
    }
  });
  const [pid, ...others] = pids;
  return pid === undefined || others.length > 0 ? null : readProcess(root, pid);
}

/** The same process as it is now: its limits may have changed. As it was, where it is gone. */
export function rereadProcess(root: HostRoot, process: VmProcess): VmProcess {
  const now = readProcess(root, process.pid);
  return now?.startTicks === process.startTicks ? now : process;
}

/** Whether the process is still the one that was found: the same id, begun at the same moment. Reads one small file. */
export function isRunning(
  root: HostRoot,
  { pid, startTicks }: Pick<VmProcess, "pid" | "startTicks">,
): boolean {
  return startTicksOf(textOf(root.proc(pid, "stat"))) === startTicks;
}

/** Whether this very process listens on the socket. Looks at no other process. */
export function isListening(root: HostRoot, process: VmProcess, socketPath: string): boolean {
  const sockets = listeningSockets(root, basename(socketPath));
  const { pid } = process;
  return (
    isRunning(root, process) &&
    namesIn(root.proc(pid, "fd")).some((fd) => {
      const path = sockets.get(inodeOf(linkOf(root.proc(pid, "fd", fd))) ?? "");
      return path !== undefined && isSamePath(root, pid, path, socketPath);
    })
  );
}

/** Ids of the processes that have the node of an IOMMU group open, in order. */
export async function findVfioHolders(root: HostRoot, group: number): Promise<number[]> {
  const pids = new Set<number>();
  // Inside a process's links the path is as the process sees it, whatever our root is.
  const node = `/dev/vfio/${group}`;
  await eachOpenFile(root, (pid, target) => {
    if (target === node) {
      pids.add(pid);
    }
  });
  return [...pids].sort((a, b) => a - b);
}

/** Inode -> path, as it was given to bind(2), of the listening sockets with this file name. */
function listeningSockets(root: HostRoot, name: string): ReadonlyMap<string, string> {
  const sockets = new Map<string, string>();
  for (const line of textOf(root.procNetUnix()).split("\n")) {
    const match = /^\S+: \S+ \S+ ([0-9A-F]+) \S+ \S+ +(\d+) (.+)$/.exec(line);
    const [, flags = "0", inode = "", path = ""] = match ?? [];
    if ((Number.parseInt(flags, 16) & LISTENING) !== 0 && basename(path) === name) {
      sockets.set(inode, path);
    }
  }
  return sockets;
}

/** The socket behind a descriptor. */
function inodeOf(target: string): string | undefined {
  return /^socket:\[(\d+)\]$/.exec(target)?.[1];
}

function isSamePath(root: HostRoot, pid: number, path: string, wanted: string): boolean {
  const full = resolve(path.startsWith("/") ? "/" : linkOf(root.proc(pid, "cwd")), path);
  return root.isLive ? isSameFile(join(root.proc(pid, "root"), full), wanted) : full === resolve(wanted);
}

/**
 * Whether both paths are one and the same file. In a mount namespace of its own any user can have a socket at any path:
 * what counts is the file that we would connect to.
 */
function isSameFile(a: string, b: string): boolean {
  try {
    const [one, other] = [statSync(a), statSync(b)];
    return one.dev === other.dev && one.ino === other.ino;
  } catch {
    return false;
  }
}

async function eachOpenFile(root: HostRoot, see: (pid: number, target: string) => void): Promise<void> {
  const pids = namesIn(root.processes()).filter((name) => /^\d+$/.test(name));
  for (const [at, pid] of pids.map(Number).entries()) {
    if (at % SLICE === SLICE - 1) {
      await setImmediate();
    }
    for (const fd of namesIn(root.proc(pid, "fd"))) {
      see(pid, linkOf(root.proc(pid, "fd", fd)));
    }
  }
}

function readProcess(root: HostRoot, pid: number): VmProcess | null {
  const status = textOf(root.proc(pid, "status"));
  const startTicks = startTicksOf(textOf(root.proc(pid, "stat")));
  // The fourth id is the one that the kernel checks when the process opens a file.
  const uid = /^Uid:(?:\s+\d+){3}\s+(\d+)$/m.exec(status)?.[1];
  const gid = /^Gid:(?:\s+\d+){3}\s+(\d+)$/m.exec(status)?.[1];
  if (startTicks === undefined || uid === undefined || gid === undefined) {
    return null;
  }
  const capabilities = /^CapEff:\s+([0-9a-f]+)$/m.exec(status)?.[1] ?? "0";
  const memlock = /^Max locked memory\s+(\d+|unlimited)/m.exec(textOf(root.proc(pid, "limits")))?.[1] ?? "0";
  return {
    pid,
    startTicks,
    uid: Number(uid),
    gid: Number(gid),
    memlockBytes: memlock === "unlimited" ? null : Number(memlock),
    canLockAnyMemory: (BigInt(`0x${capabilities}`) & IPC_LOCK) !== 0n,
    // The kernel's word for a program that an upgrade has replaced meanwhile (proc_pid_exe(5)).
    executable: linkOf(root.proc(pid, "exe")).replace(/ \(deleted\)$/, "") || null,
    cgroup: /^0::(.+)$/m.exec(textOf(root.proc(pid, "cgroup")))?.[1] ?? null,
  };
}

/** Field 22 of proc_pid_stat(5). The name in field 2 may hold spaces and parentheses: count from its last one. */
function startTicksOf(stat: string): string | undefined {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[22 - 3];
}

// A process may end at any moment: what is gone has no files, no links and no text.

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}
