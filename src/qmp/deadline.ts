/**
 * One deadline and one AbortSignal around one wait. Owns the timer and the listener; both are gone once disarmed.
 */

import { clearTimeout, setTimeout } from "node:timers";

/** How long a caller waits, and how it gives up earlier. */
export interface WaitLimits {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export type GiveUp = "timeout" | "aborted";

/** Node fires longer timers at once instead of late. */
const MAX_TIMER_MS = 2_147_483_647;

/** Calls `giveUp` at most once and never synchronously; the returned function takes it back. */
export function armLimits(limits: WaitLimits, giveUp: (why: GiveUp) => void): () => void {
  const { signal } = limits;
  let isArmed = true;
  const disarm = (): void => {
    isArmed = false;
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  };
  const fire = (why: GiveUp): void => {
    if (isArmed) {
      disarm();
      giveUp(why);
    }
  };
  const onAbort = (): void => fire("aborted");
  const timer = setTimeout(() => fire("timeout"), Math.min(limits.timeoutMs, MAX_TIMER_MS));
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted === true) {
    // No abort event will come any more.
    queueMicrotask(onAbort);
  }
  return disarm;
}
