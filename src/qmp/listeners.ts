/**
 * Who hears events: listeners, for as long as they like, and waiters, for one event.
 *
 * Invariants:
 * - events are delivered in the order of the wire, before any later answer;
 * - keeps no history; a waiter hears only what comes after it was armed;
 * - every waiter settles: by its event, its deadline, its signal, or the end of the link;
 * - a listener that throws never disturbs the link or the other listeners.
 */

import { quiet, runStranger } from "./containment.js";
import { armLimits, type WaitLimits } from "./deadline.js";
import { blameCaller, type CallOrigin, QmpInterruptedError, QmpTimeoutError } from "./errors.js";
import { isQmpEvent, type QmpEvent, type QmpEventName, type QmpEventOf, type QmpEvents } from "./events.js";

export type QmpEventListener = (event: QmpEvent) => void;

interface Waiter {
  readonly offer: (event: QmpEvent) => void;
  readonly interrupt: (why: string, cause: unknown) => void;
}

/** The listeners and waiters of one link. */
export class EventListeners {
  readonly #listeners = new Set<{ readonly hear: QmpEventListener }>();
  readonly #waiters = new Set<Waiter>();

  /** Adds a listener; the returned function removes it. */
  add(listener: QmpEventListener): () => void {
    // One entry per call: the same function added twice is heard twice and removed one at a time.
    const entry = { hear: listener };
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
    };
  }

  /** Arms a waiter for the first event of that name which satisfies `predicate`. */
  waitFor<K extends QmpEventName>(
    name: K,
    predicate: (data: QmpEvents[K]) => boolean,
    limits: WaitLimits,
    origin: CallOrigin,
  ): Promise<QmpEventOf<K>> {
    const promise = new Promise<QmpEventOf<K>>((resolve, reject) => {
      const settle = (finish: () => void): void => {
        disarm();
        this.#waiters.delete(waiter);
        finish();
      };
      const fail = (error: Error): void => settle(() => reject(blameCaller(error, origin)));
      const disarm = armLimits(limits, (why) =>
        fail(
          why === "timeout"
            ? missed(name, limits.timeoutMs)
            : interrupted("qmp.aborted", name, "the caller gave up", limits.signal?.reason),
        ),
      );
      const waiter: Waiter = {
        offer: (event) => {
          try {
            if (isQmpEvent(event, name) && predicate(event.data)) {
              settle(() => resolve(event));
            }
          } catch (error) {
            settle(() => reject(error));
          }
        },
        interrupt: (why, cause) => fail(interrupted("qmp.disconnected", name, why, cause)),
      };
      this.#waiters.add(waiter);
    });
    return quiet(promise);
  }

  /** Gives one event to everybody. */
  dispatch(event: QmpEvent): void {
    for (const waiter of [...this.#waiters]) {
      waiter.offer(event);
    }
    for (const { hear } of [...this.#listeners]) {
      runStranger(() => hear(event));
    }
  }

  /** Rejects every waiter because the link ended, and forgets the listeners. */
  interruptAll(why: string, cause: unknown): void {
    this.#listeners.clear();
    for (const waiter of [...this.#waiters]) {
      waiter.interrupt(why, cause);
    }
  }
}

function missed(name: string, timeoutMs: number): QmpTimeoutError {
  return new QmpTimeoutError(`cannot wait for ${name} any longer: it did not come within ${timeoutMs} ms`, {
    wasSent: true,
    context: { event: name, timeoutMs },
  });
}

function interrupted(
  code: "qmp.aborted" | "qmp.disconnected",
  name: string,
  why: string,
  cause: unknown,
): QmpInterruptedError {
  return new QmpInterruptedError(code, `cannot wait for ${name} any longer: ${why}`, {
    wasSent: true,
    cause,
    context: { event: name },
  });
}
