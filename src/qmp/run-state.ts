/**
 * Where a session stands, and which calls that refuses.
 */

import { QmpInterruptedError } from "./errors.js";

/** Only moves forward, possibly straight to `closed`. Calls are taken only while `running`. */
export type QmpRunState = "connecting" | "negotiating" | "running" | "closed";

/** Why a call cannot be taken now, before anything of it was sent; undefined when it can. */
export function refuseCall(
  what: string,
  session: { readonly path: string; readonly state: QmpRunState },
  signal: AbortSignal | undefined,
): QmpInterruptedError | undefined {
  const { path, state } = session;
  if (state !== "running") {
    const why = `the session with ${path} is ${state}, it must be running`;
    return new QmpInterruptedError("qmp.not-running", `cannot ${what}: ${why}`, {
      wasSent: false,
      context: { path, state, required: "running" },
    });
  }
  if (signal?.aborted === true) {
    return new QmpInterruptedError("qmp.aborted", `cannot ${what}: the caller gave up`, {
      wasSent: false,
      cause: signal.reason,
    });
  }
  return undefined;
}
