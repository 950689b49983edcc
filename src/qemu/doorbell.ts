/**
 * A bell that ends a wait early. A ring while nobody waits is kept for the next wait: none is ever lost.
 */
import { clearTimeout, setTimeout } from "node:timers";

export class Doorbell {
  readonly #listeners = new Set<() => void>();
  #isRung = false;

  ring(): void {
    this.#isRung = true;
    for (const listener of [...this.#listeners]) {
      listener();
    }
  }

  /** Forgets the rings so far: what they called for is about to be done. */
  reset(): void {
    this.#isRung = false;
  }

  /** Resolves as soon as the bell rings, or has rung since the last reset. */
  rung(): Promise<void> {
    if (this.#isRung) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const unlisten = this.onRing(() => {
        unlisten();
        resolve();
      });
    });
  }

  /** Resolves after `ms`, or as soon as the bell rings (or has rung since the last reset). True: it has rung. */
  rungWithin(ms: number): Promise<boolean> {
    if (this.#isRung) {
      return Promise.resolve(true);
    }
    if (ms === Number.POSITIVE_INFINITY) {
      return this.rung().then(() => true);
    }
    return new Promise((resolve) => {
      const unlisten = this.onRing(() => {
        clearTimeout(timer);
        unlisten();
        resolve(true);
      });
      const timer = setTimeout(() => {
        unlisten();
        resolve(false);
      }, ms);
    });
  }

  /** Calls `listener` at each ring until the returned function is called. */
  onRing(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }
}
