/**
 * What a failed attempt to reach a VM says about it, and when the next one is due. Pure.
 *
 * Only two answers prove that no process holds anything any more: no socket, and a socket nobody listens on
 * (facts.md 7). Everything else is "unreachable": what the VM holds is not known, so nothing of it may be touched.
 */
import { AgentError, messageOf } from "../base/error.js";
import type { Outcome } from "../core/step.js";
import type { VmStatus } from "../core/vm.js";

/** The waits of a link, in milliseconds. */
export interface LinkTiming {
  /** How long the greeting is waited for at first: then the monitor counts as busy or silent. */
  readonly greetingMs: number;
  /** How long an attempt on a silent monitor stays in its queue: who gives up keeps its place taken (facts.md 6). */
  readonly patienceMs: number;
  /** First wait between two attempts; doubles. */
  readonly retryMs: number;
  readonly longestRetryMs: number;
  /** First wait after the socket has changed: a QEMU that starts binds its socket before it listens. */
  readonly freshRetryMs: number;
  /** How long events are gathered before the VM is looked at: one reboot is up to three RESETs. */
  readonly gatherMs: number;
  /** How long a detach waits for the guest before it is left pending. */
  readonly unplugWaitMs: number;
  /** How long the QEMU process is searched for. */
  readonly findProcessMs: number;
  /** How long after a plug the VM is looked at once more: by then a guest has given the BARs their addresses. */
  readonly guestMs: number;
  /** The longest that a visit keeps a shared monitor, device_add aside, which QEMU does not interrupt for anybody. */
  readonly visitMs: number;
  /** First wait for the next visit while news is expected; doubles up to `longestRetryMs`. */
  readonly newsMs: number;
  /** Between two looks at whether the process behind a shared monitor still runs. */
  readonly processMs: number;
}

export const DEFAULT_TIMING: LinkTiming = {
  greetingMs: 5_000,
  patienceMs: 600_000,
  retryMs: 1_000,
  longestRetryMs: 30_000,
  freshRetryMs: 25,
  gatherMs: 50,
  unplugWaitMs: 2_000,
  findProcessMs: 5_000,
  guestMs: 3_000,
  visitMs: 2_000,
  newsMs: 100,
  processMs: 2_000,
};

/** A VM that could not be spoken to. */
export type DownStatus = Extract<VmStatus, { kind: "absent" | "unreachable" }>;

/** What a shared monitor that is in use says of its VM. */
export const BUSY: DownStatus = {
  kind: "unreachable",
  code: "qmp.busy",
  reason: "busy: another client has the monitor",
};

/** What a shared monitor says that greets nobody, though nobody else has it. */
export const SILENT: DownStatus = {
  kind: "unreachable",
  code: "qmp.busy-or-silent",
  reason: "QEMU greets nobody: it is stopped or hangs",
};

const NOBODY_THERE: ReadonlySet<string> = new Set(["qmp.absent", "qmp.refused"]);
const MONITOR_BUSY = "qmp.busy-or-silent";
const QUEUE_FULL = "qmp.backlog-full";

/** What an error of connecting or looking says about the VM. @throws the error itself when it is a bug. */
export function downStatusOf(error: unknown, atMs: number): DownStatus {
  if (!(error instanceof AgentError) || error.code === "bug") {
    throw error;
  }
  const reason = messageOf(error);
  return NOBODY_THERE.has(error.code)
    ? { kind: "absent", sinceMs: atMs, reason }
    : { kind: "unreachable", code: error.code, reason };
}

/** The status to go on with: an absence keeps the moment at which it was first seen. */
export function continueStatus(before: VmStatus, next: DownStatus): DownStatus {
  return before.kind === "absent" && next.kind === "absent" ? { ...next, sinceMs: before.sinceMs } : next;
}

/** Whether two statuses tell a reader the same. A QEMU that starts binds first and listens later: absent stays absent. */
export function isSameNews(before: VmStatus, next: DownStatus): boolean {
  return next.kind === "absent"
    ? before.kind === "absent"
    : before.kind === "unreachable" && before.code === next.code;
}

/** How long the next attempt waits for a greeting. A monitor known to be silent is waited for in its queue. */
export function greetingMs(before: VmStatus, timing: LinkTiming): number {
  return before.kind === "unreachable" && before.code === MONITOR_BUSY
    ? timing.patienceMs
    : timing.greetingMs;
}

/** How long to wait after a failed attempt, given the wait that was planned. */
export function waitMs(status: DownStatus, plannedMs: number, timing: LinkTiming): number {
  // Each attempt on a full queue keeps others out of it too.
  const isFull = status.kind === "unreachable" && status.code === QUEUE_FULL;
  return isFull ? timing.longestRetryMs : plannedMs;
}

/** The wait after the next one. */
export function nextWaitMs(plannedMs: number, timing: LinkTiming): number {
  return Math.min(plannedMs * 2, timing.longestRetryMs);
}

/** Whether the peer accepted and hung up. */
export function isHangUp(status: DownStatus): boolean {
  return status.kind === "unreachable" && status.code === "qmp.hung-up";
}

/** The status of a VM whose link was cut, until the next attempt says more. */
export function lostStatus(before: VmStatus, path: string): VmStatus {
  return before.kind === "up"
    ? { kind: "unreachable", code: "qmp.disconnected", reason: `the link to ${path} was lost` }
    : before;
}

/** The outcome of an order that could not be begun, such as `attach 0000:65:00.0 to build`. */
export function notConnected(status: VmStatus, order: string): Outcome {
  const why = "reason" in status ? status.reason : "not connected yet";
  return { kind: "cancelled", detail: `cannot ${order}: ${why}` };
}
