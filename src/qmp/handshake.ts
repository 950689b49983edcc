/**
 * Why a connected socket did not become a session: one clear sentence for each way. Pure.
 */

import { messageOf } from "../base/error.js";
import type { GiveUp, WaitLimits } from "./deadline.js";
import { QmpConnectError, QmpInterruptedError, QmpProtocolError, QmpTimeoutError } from "./errors.js";
import type { QmpSilence } from "./socket-table.js";
import { describeClose, type QmpCloseReason } from "./wire.js";

const USE_A_QMP_SOCKET = "name the path of a -qmp option";
const USE_OWN_MONITOR = "give this program a monitor of its own (a second -qmp)";

/** What each silence means, and what to do about it. */
const SILENCES: Readonly<Record<QmpSilence, string>> = {
  busy: `another client has this monitor; ${USE_OWN_MONITOR}`,
  "not-accepting": "its QEMU process takes no client: it is stopped (SIGSTOP) or hangs",
  accepted: `it let us in and says nothing: QEMU hangs, another client has it behind a proxy, or it is no QMP monitor; ${USE_A_QMP_SOCKET}`,
  unknown: `another client holds this monitor, or QEMU is stopped; ${USE_OWN_MONITOR}`,
};

/** The greeting did not come. `unfinishedLine`: what came without ever ending a line. */
export function explainNoGreeting(
  path: string,
  why: GiveUp,
  limits: WaitLimits,
  { unfinishedLine, silence }: { readonly unfinishedLine: string; readonly silence: QmpSilence },
): QmpConnectError {
  if (why === "aborted") {
    return new QmpConnectError("qmp.aborted", path, "the caller gave up", { cause: limits.signal?.reason });
  }
  if (unfinishedLine !== "") {
    return notQmp(path, `what listens there said "${unfinishedLine}" instead of a QMP greeting`);
  }
  return new QmpConnectError(
    "qmp.busy-or-silent",
    path,
    `connected, but no greeting within ${limits.timeoutMs} ms; ${SILENCES[silence]}`,
    { silence, context: { stage: "greeting", silence } },
  );
}

/**
 * The link ended before the session stood.
 *
 * A pretty-printing monitor keeps its own QmpProtocolError: it is QMP, only not usable.
 */
export function explainNoSession(path: string, reason: QmpCloseReason): QmpConnectError | QmpProtocolError {
  switch (reason.kind) {
    case "protocol":
      return reason.error.code === "qmp.pretty"
        ? pretty(path, reason.error)
        : notQmp(path, `what listens there is not a QMP server: ${reason.error.message}`, reason.error);
    case "peer":
      return reason.cutOffBytes > 0
        ? notQmp(path, "what listens there hung up in the middle of its first line")
        : new QmpConnectError(
            "qmp.hung-up",
            path,
            "QEMU hung up before the session stood; it may be starting or ending",
          );
    case "socket":
      return new QmpConnectError("qmp.hung-up", path, describeClose(reason), { cause: reason.error });
    case "local":
      return new QmpConnectError("qmp.aborted", path, describeClose(reason));
  }
}

/** The greeting came, but qmp_capabilities failed with `error`. */
export function explainNoNegotiation(path: string, error: unknown): QmpConnectError {
  if (error instanceof QmpTimeoutError) {
    return new QmpConnectError(
      "qmp.busy-or-silent",
      path,
      "QEMU greeted but does not answer; it is stopped, or busy with a command of another client",
      { cause: error, context: { stage: "negotiation" } },
    );
  }
  if (error instanceof QmpInterruptedError && !(error.cause instanceof QmpProtocolError)) {
    const code = error.code === "qmp.aborted" ? "qmp.aborted" : "qmp.hung-up";
    return new QmpConnectError(code, path, error.message, { cause: error });
  }
  return new QmpConnectError("qmp.negotiation-failed", path, messageOf(error), { cause: error });
}

function notQmp(path: string, what: string, cause?: unknown): QmpConnectError {
  return new QmpConnectError("qmp.not-qmp", path, `${what}; ${USE_A_QMP_SOCKET}`, { cause });
}

function pretty(path: string, cause: QmpProtocolError): QmpProtocolError {
  return new QmpProtocolError("qmp.pretty", `${cause.message} (socket ${path})`, {
    cause,
    context: { path },
  });
}
