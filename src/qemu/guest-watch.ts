/**
 * When a VM is looked at again although no event came of it: nobody tells that the guest has taken a device into use, or
 * that a migration has ended. Pure but for its own counters; a VM at rest is left alone (semantics.md 6).
 */
import { migrationPhase, type VmView } from "../core/vm.js";
import type { LinkTiming } from "./dialling.js";

/** After the fourth look 45 s have passed: a guest that has not taken a device by then has no driver for it. */
const LOOKS = 4;

export class GuestWatch {
  readonly #timing: Pick<LinkTiming, "guestMs" | "longestRetryMs">;
  #looksLeft = LOOKS;
  #waitMs: number;

  constructor(timing: Pick<LinkTiming, "guestMs" | "longestRetryMs">) {
    this.#timing = timing;
    this.#waitMs = timing.guestMs;
  }

  /** The guest has something new to take note of, or is another one. */
  begin(): void {
    this.#looksLeft = LOOKS;
    this.#waitMs = this.#timing.guestMs;
  }

  /** How long to wait for an event before the next look; infinite for a VM that has nothing to tell. */
  waitMs(view: VmView): number {
    if (view.migration !== undefined) {
      return this.#waitMs;
    }
    return this.#looksLeft > 0 && isAwaited(view) ? this.#waitMs : Number.POSITIVE_INFINITY;
  }

  /** It was waited for so long, and a look follows. */
  passed(): void {
    this.#looksLeft = Math.max(0, this.#looksLeft - 1);
    this.#waitMs = Math.min(this.#waitMs * 2, this.#timing.longestRetryMs);
  }
}

/** Whether the guest that runs may yet take a device into use. */
function isAwaited(view: VmView): boolean {
  return (
    view.runState === "running" &&
    migrationPhase(view) === null &&
    view.attached.some(({ isInUse }) => isInUse === false)
  );
}
