/**
 * Who hears events: listeners, for as long as they like, and waiters, for one event.
 *
 * Each event is heard twice over: raw, as it stands on the wire, by those who asked for that; and, where this room knows
 * its name and shape, as a QmpEvent.
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
import type { QmpEvent, RawQmpEvent } from "./events.js";

export type QmpEventListener = (event: QmpEvent) => void;
export type RawQmpEventListener = (event: RawQmpEvent) => void;

/** What a waiter waits for; for its messages and to pick its event out of all. */
export interface WaitRequest<E> extends WaitLimits {
  readonly name: string;
  /** The event as the waiter wants it, or undefined when it is not the one. */
  readonly pick: (raw: RawQmpEvent, known: QmpEvent | undefined) => E | undefined;
  readonly origin: CallOrigin;
}

interface Waiter {
  readonly offer: (raw: RawQmpEvent, known: QmpEvent | undefined) => void;
  readonly interrupt: (why: string, cause: unknown) => void;
}

/** One entry per call: the same function added twice is heard twice and removed one at a time. */
interface Listening<E> {
  readonly hear: (event: E) => void;
  readonly end: (() => void) | undefined;
}

/** The listeners and waiters of one link. */
export class EventListeners {
  readonly #listeners = new Set<Listening<QmpEvent>>();
  readonly #rawListeners = new Set<Listening<RawQmpEvent>>();
  readonly #waiters = new Set<Waiter>();

  /** Adds a listener; the returned function removes it. `end` is called when the link ends first. */
  add(hear: QmpEventListener, end?: () => void): () => void {
    return enlist(this.#listeners, { hear, end });
  }

  /** The same for events as they stand on the wire. */
  addRaw(hear: RawQmpEventListener, end?: () => void): () => void {
    return enlist(this.#rawListeners, { hear, end });
  }

  /** Arms a waiter for the first event that `pick` takes. */
  waitFor<E>(request: WaitRequest<E>): Promise<E> {
    const { name, pick, origin } = request;
    const promise = new Promise<E>((resolve, reject) => {
      const settle = (finish: () => void): void => {
        disarm();
        this.#waiters.delete(waiter);
        finish();
      };
      const fail = (error: Error): void => settle(() => reject(blameCaller(error, origin)));
      const disarm = armLimits(request, (why) =>
        fail(
          why === "timeout"
            ? missed(name, request.timeoutMs)
            : interrupted("qmp.aborted", name, "the caller gave up", request.signal?.reason),
        ),
      );
      const waiter: Waiter = {
        offer: (raw, known) => {
          try {
            const event = pick(raw, known);
            if (event !== undefined) {
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

  /** Gives one event to everybody. `known`: the same, where it is one of the closed union. */
  dispatch(raw: RawQmpEvent, known: QmpEvent | undefined): void {
    for (const waiter of [...this.#waiters]) {
      waiter.offer(raw, known);
    }
    for (const { hear } of [...this.#rawListeners]) {
      runStranger(() => hear(raw));
    }
    if (known !== undefined) {
      for (const { hear } of [...this.#listeners]) {
        runStranger(() => hear(known));
      }
    }
  }

  /** Rejects every waiter because the link ended, and dismisses the listeners. */
  interruptAll(why: string, cause: unknown): void {
    const dismissed = [...this.#listeners, ...this.#rawListeners];
    this.#listeners.clear();
    this.#rawListeners.clear();
    for (const { end } of dismissed) {
      end?.();
    }
    for (const waiter of [...this.#waiters]) {
      waiter.interrupt(why, cause);
    }
  }
}

function enlist<T>(set: Set<T>, entry: T): () => void {
  set.add(entry);
  return () => {
    set.delete(entry);
  };
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
