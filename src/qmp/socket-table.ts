/**
 * Why a monitor that took the connection does not greet, as far as anybody may see it: from /proc/net/unix.
 *
 * A QMP socket accepts one client and leaves the others in the kernel's queue (facts.md 6, 17). The table shows to every
 * user which sockets of a path were accepted (state 03) and which still wait (02), so a monitor in other hands is told
 * from a QEMU process that takes nobody at all.
 */

import { readFileSync } from "node:fs";

/**
 * `busy`: another client has been let in and holds the monitor. `not-accepting`: nobody is let in, QEMU is stopped or hangs.
 * `accepted`: we were let in, and nothing is said. `unknown`: the table does not tell (another network namespace, a path
 * that QEMU was given in another spelling).
 */
export type QmpSilence = "busy" | "not-accepting" | "accepted" | "unknown";

const TABLE = "/proc/net/unix";
/** `Num RefCount Protocol Flags Type St Inode Path` (proc(5)); the path may hold spaces. */
const ROW = /^\S+ \S+ \S+ (\S+) \S+ (\S+) +\S+ (.*)$/;
/** __SO_ACCEPTCON: a listening socket. */
const LISTENING = "00010000";
const WAITING = "02";
const ACCEPTED = "03";

/**
 * Looks, while our own connection still waits, at what holds up the monitor at `path`. Never fails.
 *
 * Synchronous on purpose: the table is always at hand, while Node's file threads may all be stuck (facts.md 5).
 */
export function lookAtSilence(path: string): QmpSilence {
  try {
    return silenceOf(readFileSync(TABLE, "utf8"), path);
  } catch {
    return "unknown";
  }
}

/** Reads the same from the text of the table. Pure. */
export function silenceOf(table: string, path: string): QmpSilence {
  const rows = table.split("\n").flatMap((line) => {
    const [, flags, state, name] = ROW.exec(line) ?? [];
    return name === path ? [{ flags, state }] : [];
  });
  const count = (state: string): number => rows.filter((row) => row.state === state).length;
  // Two listeners of one name: one of them is a leftover whose file is gone, and nobody can say which.
  if (rows.filter((row) => row.flags === LISTENING).length !== 1) {
    return "unknown";
  }
  if (count(WAITING) === 0) {
    return count(ACCEPTED) === 0 ? "unknown" : "accepted";
  }
  return count(ACCEPTED) === 0 ? "not-accepting" : "busy";
}
