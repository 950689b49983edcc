/**
 * The simulated /proc: boot id, command line, and for each simulated QEMU what leads from its socket to its process
 * and tells what that process may do (facts.md 7 and 8; proc(5)).
 */
import type { Tree } from "./tree.js";

/** A process as /proc shows it. */
export interface SimProcess {
  readonly pid: number;
  /** Field 22 of stat. */
  readonly startTicks: number;
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly isPrivileged: boolean;
  /** RLIMIT_MEMLOCK in bytes; `null` for unlimited. */
  readonly memlockBytes: number | null;
  readonly sockets: readonly string[];
}

const COMM = "qemu-system-x86";
const EXECUTABLE = "/usr/bin/qemu-system-x86_64";
const ALL_CAPABILITIES = "000001ffffffffff";
const NO_CAPABILITIES = "0000000000000000";
const FIRST_PID = 4001;
const FIRST_INODE = 90001;
const FIRST_SOCKET_FD = 10;
const FIRST_GROUP_FD = 1000;
const SOCKET_HEADER = "Num       RefCount Protocol Flags    Type St Inode Path\n";

export class ProcTree {
  readonly #tree: Tree;
  /** Socket path -> inode, of every listening socket. */
  readonly #sockets = new Map<string, number>();
  readonly #memlocks = new Map<number, number | null>();
  readonly #groupFds = new Map<number, readonly number[]>();
  #pids = FIRST_PID;
  #inodes = FIRST_INODE;
  #boots = 0;

  constructor(tree: Tree) {
    this.#tree = tree;
    tree.write("/proc/cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro intel_iommu=on iommu=pt\n");
    tree.write("/proc/modules", "");
    this.boot();
    this.#writeSockets();
  }

  /** A new boot: another boot id. */
  boot(): string {
    this.#boots += 1;
    const id = `5eed0000-0000-4000-8000-${String(this.#boots).padStart(12, "0")}`;
    this.#tree.write("/proc/sys/kernel/random/boot_id", `${id}\n`);
    return id;
  }

  /** A process id that no process of this host has had. */
  nextPid(): number {
    return this.#pids++;
  }

  add(process: SimProcess): void {
    const folder = `/proc/${process.pid}`;
    this.#tree.write(`${folder}/comm`, `${COMM}\n`);
    this.#tree.write(`${folder}/cmdline`, `${EXECUTABLE}\0-name\0${process.name}\0`);
    this.#tree.write(`${folder}/stat`, statLine(process));
    this.#tree.write(`${folder}/status`, statusText(process));
    this.#tree.write(`${folder}/limits`, limitsText(process.memlockBytes));
    this.#memlocks.set(process.pid, process.memlockBytes);
    this.#tree.rawLink(`${folder}/exe`, EXECUTABLE);
    this.#tree.folder(`${folder}/fd`);
    for (const path of process.sockets) {
      this.addSocket(process.pid, path);
    }
  }

  /** Another RLIMIT_MEMLOCK for a running process, as by prlimit. False when there is no such process. */
  limitMemlock(pid: number, bytes: number): boolean {
    if (!this.#memlocks.has(pid)) {
      return false;
    }
    this.#memlocks.set(pid, bytes);
    this.#tree.replace(`/proc/${pid}/limits`, limitsText(bytes));
    return true;
  }

  /** RLIMIT_MEMLOCK of a process; `null` when unlimited. */
  memlockOf(pid: number): number | null {
    return this.#memlocks.get(pid) ?? null;
  }

  addSocket(pid: number, path: string): void {
    const inode = this.#inodes++;
    this.#sockets.set(path, inode);
    this.#tree.rawLink(`/proc/${pid}/fd/${FIRST_SOCKET_FD + inode - FIRST_INODE}`, `socket:[${inode}]`);
    this.#writeSockets();
  }

  /** Shows the vfio groups that a process has open among its descriptors. */
  showGroups(pid: number, groups: readonly number[]): void {
    for (const fd of this.#groupFds.get(pid) ?? []) {
      this.#tree.remove(`/proc/${pid}/fd/${fd}`);
    }
    const fds = groups.map((group) => FIRST_GROUP_FD + group);
    this.#groupFds.set(pid, fds);
    for (const group of groups) {
      this.#tree.rawLink(`/proc/${pid}/fd/${FIRST_GROUP_FD + group}`, `/dev/vfio/${group}`);
    }
  }

  remove(process: SimProcess): void {
    this.#tree.remove(`/proc/${process.pid}`);
    this.#groupFds.delete(process.pid);
    this.#memlocks.delete(process.pid);
    for (const path of process.sockets) {
      this.#sockets.delete(path);
    }
    this.#writeSockets();
  }

  #writeSockets(): void {
    const lines = [...this.#sockets].map(
      ([path, inode]) => `0000000000000000: 00000002 00000000 00010000 0001 01 ${inode} ${path}\n`,
    );
    this.#tree.replace("/proc/net/unix", SOCKET_HEADER + lines.join(""));
  }
}

function statLine(process: SimProcess): string {
  const before = `${process.pid} (${COMM}) S 1 ${process.pid} ${process.pid} 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 4 0`;
  return `${before} ${process.startTicks} 0 0 18446744073709551615\n`;
}

function statusText(process: SimProcess): string {
  const four = (id: number): string => [id, id, id, id].join("\t");
  const capabilities = process.isPrivileged ? ALL_CAPABILITIES : NO_CAPABILITIES;
  return [
    `Name:\t${COMM}`,
    "State:\tS (sleeping)",
    `Tgid:\t${process.pid}`,
    `Pid:\t${process.pid}`,
    "PPid:\t1",
    `Uid:\t${four(process.uid)}`,
    `Gid:\t${four(process.gid)}`,
    `CapPrm:\t${capabilities}`,
    `CapEff:\t${capabilities}`,
    "",
  ].join("\n");
}

function limitsText(memlockBytes: number | null): string {
  const value = (memlockBytes === null ? "unlimited" : String(memlockBytes)).padEnd(21);
  return [
    "Limit                     Soft Limit           Hard Limit           Units     ",
    "Max open files            1024                 524288               files     ",
    `Max locked memory         ${value}${value}bytes     `,
    "",
  ].join("\n");
}
