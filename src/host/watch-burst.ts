/** Coalescing at the edge: one plug is five events from three sources, and each look is a whole one. */
import { asyncScheduler, buffer, connect, mergeMap, type Observable, throttleTime } from "rxjs";

/**
 * The first value of a burst at once; all that follow within the time as one, which is the first of them. What follows
 * that begins the next burst.
 */
export function coalesce<T>(values$: Observable<T>, burstMs: number): Observable<T> {
  const ends = { leading: true, trailing: true };
  return values$.pipe(
    connect((shared$) => shared$.pipe(buffer(shared$.pipe(throttleTime(burstMs, asyncScheduler, ends))))),
    mergeMap((values) => values.slice(0, 1)),
  );
}
