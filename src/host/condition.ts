/** Waiting for what the kernel does in its own time: asks again until it is so, never without limit. */
import { setTimeout } from "node:timers/promises";

const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 20;

/** Whether the condition came true within the time. Asks at once, then with growing pauses. */
export async function comesTrue(isMet: () => boolean, withinMs: number): Promise<boolean> {
  let pauseMs = FIRST_PAUSE_MS;
  let waitedMs = 0;
  while (!isMet()) {
    if (waitedMs >= withinMs) {
      return false;
    }
    await setTimeout(pauseMs);
    waitedMs += pauseMs;
    pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
  }
  return true;
}
