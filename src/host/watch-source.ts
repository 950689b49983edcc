/**
 * What every watch source is made of: wakes, a state, and coming back after trouble. An event only means "look again"
 * (facts.md 10); no source carries facts.
 */
import { catchError, defer, filter, from, mergeMap, type Observable, of, repeat, timer } from "rxjs";
import { messageOf } from "../base/error.js";
import type { SourceState } from "../core/signal.js";

/** What one source says. */
export type SourceEvent = { readonly kind: "wake" } | { readonly kind: "state"; readonly state: SourceState };

export const WAKE: SourceEvent = { kind: "wake" };

export function isUp(detail: string): SourceEvent {
  return { kind: "state", state: { kind: "up", detail } };
}

export function isMissing(detail: string): SourceEvent {
  return { kind: "state", state: { kind: "missing", detail } };
}

export function isOff(detail: string): SourceEvent {
  return { kind: "state", state: { kind: "off", detail } };
}

/** Pauses before a source is started again. */
export interface Backoff {
  readonly firstMs: number;
  readonly longestMs: number;
}

/**
 * Runs a source again whenever it ends: with growing pauses while it does not come up, after the first pause once it
 * was up. An error in it becomes its state; the same state twice is told once. Each time it comes up there is a wake,
 * for what nobody saw before.
 */
export function supervised(run: () => Observable<SourceEvent>, backoff: Backoff): Observable<SourceEvent> {
  return defer(() => {
    const progress = new Progress(backoff);
    return defer(run).pipe(
      catchError((error: unknown) => of(isMissing(messageOf(error)))),
      filter((event) => progress.isNews(event)),
      mergeMap((event) =>
        from(event.kind === "state" && event.state.kind === "up" ? [event, WAKE] : [event]),
      ),
      repeat({ delay: () => timer(progress.nextPauseMs()) }),
    );
  });
}

/** How one source has fared since it was subscribed to. */
class Progress {
  readonly #backoff: Backoff;
  #failures = 0;
  #last = "";

  constructor(backoff: Backoff) {
    this.#backoff = backoff;
  }

  isNews(event: SourceEvent): boolean {
    if (event.kind === "wake") {
      return true;
    }
    this.#failures = event.state.kind === "up" ? 0 : this.#failures;
    const text = `${event.state.kind} ${event.state.detail}`;
    const isNew = text !== this.#last;
    this.#last = text;
    return isNew;
  }

  nextPauseMs(): number {
    const pauseMs = Math.min(this.#backoff.firstMs * 2 ** this.#failures, this.#backoff.longestMs);
    this.#failures += 1;
    return pauseMs;
  }
}
