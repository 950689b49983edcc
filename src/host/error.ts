/**
 * What can break between us and the host's kernel and disk. The code is what a caller branches on;
 * a device that may not or will not move is a value (host-write.ts), never thrown.
 */
import { AgentError } from "../base/error.js";

export type HostErrorCode =
  /** No PCI bus below this root: not a Linux host, or sysfs is not mounted. */
  | "host.no-sysfs"
  /** A fact that must be there cannot be read. */
  | "host.unreadable"
  /** A read or write did not come back in time; its child was left behind (facts.md 5). */
  | "host.stuck"
  /** A text that would not make a safe path segment. */
  | "host.bad-name"
  /** Another agent has the state folder. */
  | "host.state-locked"
  /** The kernel does not let this user do it. */
  | "host.not-permitted"
  /** Somebody else could read or change the state folder, or a file in it. */
  | "host.state-unsafe"
  /** A state file was written by a newer version of this program. */
  | "host.state-newer"
  /** A recording of a host that is not what it should be. */
  | "host.bad-recording"
  /** No vfio node for the IOMMU group. */
  | "host.no-vfio-node";

/** A broken promise of the host. */
export class HostError extends AgentError<HostErrorCode> {}

/** The errno name of a failed system call; `undefined` for anything else. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
