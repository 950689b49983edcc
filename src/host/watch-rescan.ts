/** The slow look below all other sources: whatever they miss is found at the next turn. */
import { concat, interval, map, type Observable, of } from "rxjs";
import { isUp, type SourceEvent, WAKE } from "./watch-source.js";

/** Wakes at a fixed period. */
export function watchRescan(periodMs: number): Observable<SourceEvent> {
  return concat(of(isUp(`a full look every ${periodMs} ms`)), interval(periodMs).pipe(map(() => WAKE)));
}
