/**
 * Simulated time: delays are given in simulated milliseconds and pass `speed` times faster than real ones.
 *
 * Owns every timer of one simulated thing, so that disposing of it leaves none behind. Reads no clock.
 */

/** A delay that has not ended yet. */
export interface PendingDelay {
  cancel(): void;
}

/** The timers of one simulated thing. */
export class SimTimers {
  readonly #speed: number;
  readonly #pending = new Set<NodeJS.Timeout>();

  /** `speed`: simulated milliseconds per real one. */
  constructor(speed: number) {
    this.#speed = speed;
  }

  /** Runs `action` once after the given simulated time, unless cancelled or cleared before. */
  after(delayMs: number, action: () => void): PendingDelay {
    const timer = setTimeout(() => {
      this.#pending.delete(timer);
      action();
    }, delayMs / this.#speed);
    this.#pending.add(timer);
    return {
      cancel: () => {
        clearTimeout(timer);
        this.#pending.delete(timer);
      },
    };
  }

  /** Cancels everything that is under way. */
  clear(): void {
    for (const timer of this.#pending) {
      clearTimeout(timer);
    }
    this.#pending.clear();
  }
}
