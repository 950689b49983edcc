/**
 * One lane per key, one pass at a time in each.
 *
 * Invariants:
 *  - two passes of one lane never overlap; lanes never wait for one another;
 *  - a wake during a pass is never lost: the lane runs once more, from the newest world;
 *  - after stop() no new pass begins; a running one sees `isStopping` and ends after its present step.
 */

/** One look-and-act of a lane. It must not throw: what it throws ends the process by way of `onError`. */
export type Pass = (lane: string) => Promise<void>;

type LaneState = "running" | "dirty";

export class Workqueue {
  readonly #pass: Pass;
  readonly #onError: (error: unknown) => void;
  readonly #lanes = new Map<string, LaneState>();
  #idleWaiters: (() => void)[] = [];
  #isStopping = false;

  constructor(pass: Pass, onError: (error: unknown) => void) {
    this.#pass = pass;
    this.#onError = onError;
  }

  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** Asks for a pass of the lane: now, or again once the present one has ended. */
  wake(lane: string): void {
    if (this.#isStopping) {
      return;
    }
    if (this.#lanes.has(lane)) {
      this.#lanes.set(lane, "dirty");
      return;
    }
    this.#lanes.set(lane, "running");
    void this.#run(lane);
  }

  /** Begins no new pass from now on. */
  stop(): void {
    this.#isStopping = true;
  }

  /** Resolves when no pass runs. */
  idle(): Promise<void> {
    if (this.#lanes.size === 0) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#idleWaiters.push(resolve);
    });
  }

  async #run(lane: string): Promise<void> {
    // A wake often comes from within a turn: the pass begins when that turn is over, with the world it has made.
    await Promise.resolve();
    try {
      do {
        this.#lanes.set(lane, "running");
        await this.#pass(lane);
      } while (this.#lanes.get(lane) === "dirty" && !this.#isStopping);
    } catch (error) {
      this.#onError(error);
    } finally {
      this.#lanes.delete(lane);
      if (this.#lanes.size === 0) {
        const waiters = this.#idleWaiters;
        this.#idleWaiters = [];
        for (const resolve of waiters) {
          resolve();
        }
      }
    }
  }
}
