/** Everything an Observable emitted, and promises for what it is yet to emit. */
import type { Observable, Subscription } from "rxjs";

const HANG_GUARD_MS = 20_000;

export class Heard<T> implements Disposable {
  readonly all: T[] = [];
  error: unknown;
  readonly #subscription: Subscription;
  readonly #looks = new Set<() => void>();

  constructor(source$: Observable<T>) {
    this.#subscription = source$.subscribe({
      next: (value) => {
        this.all.push(value);
        this.#look();
      },
      error: (error: unknown) => {
        this.error = error;
        this.#look();
      },
    });
  }

  /** The first value from position `from` on that is wanted, now or later. */
  async until(isWanted: (value: T) => boolean, from = 0): Promise<T> {
    const find = (): T | undefined => this.all.slice(from).find(isWanted);
    await new Promise<void>((resolve, reject) => {
      const settle = (end: () => void): void => {
        clearTimeout(guard);
        this.#looks.delete(look);
        end();
      };
      const look = (): void => {
        if (this.error !== undefined) {
          settle(() => reject(this.error));
        } else if (find() !== undefined) {
          settle(resolve);
        }
      };
      const guard = setTimeout(
        () => settle(() => reject(new Error(`never heard; so far ${JSON.stringify(this.all)}`))),
        HANG_GUARD_MS,
      );
      this.#looks.add(look);
      look();
    });
    return find() as T;
  }

  stop(): void {
    this.#subscription.unsubscribe();
  }

  [Symbol.dispose](): void {
    this.stop();
  }

  #look(): void {
    for (const look of [...this.#looks]) {
      look();
    }
  }
}
