import { concat, NEVER, of, throwError } from "rxjs";
import { TestScheduler } from "rxjs/testing";
import { describe, expect, it } from "vitest";
import { isMissing, isUp, type SourceEvent, supervised, WAKE } from "../../../src/host/watch-source.js";

const backoff = { firstMs: 10, longestMs: 40 };
const values: Readonly<Record<string, SourceEvent>> = {
  m: isMissing("not there"),
  e: isMissing("boom"),
  u: isUp("watching"),
  w: WAKE,
};

function marbles(): TestScheduler {
  return new TestScheduler((actual, expected) => expect(actual).toEqual(expected));
}

describe("a supervised source", () => {
  it("is started again with growing pauses while it is missing, and says so once", () => {
    marbles().run(({ expectObservable }) => {
      const starts: number[] = [];
      const source = supervised(() => {
        starts.push(starts.length);
        return of(starts.length < 5 ? isMissing("not there") : isUp("watching"));
      }, backoff);
      // Pauses of 10, 20, 40 and 40 ms, the longest.
      expectObservable(source, "115ms !").toBe("m 109ms (uw)", values);
    });
  });

  it("turns an error into its state and comes back after the first pause once it was up", () => {
    marbles().run(({ expectObservable }) => {
      let starts = 0;
      const source = supervised(() => {
        starts += 1;
        return starts === 1
          ? concat(
              of(isUp("watching")),
              throwError(() => new Error("boom")),
            )
          : concat(of(isUp("watching")), NEVER);
      }, backoff);
      expectObservable(source, "50ms !").toBe("(uwe) 5ms (uw)", values);
    });
  });

  it("passes wakes on as they come", () => {
    marbles().run(({ cold, expectObservable }) => {
      const source = supervised(() => cold("--w--w-", values), backoff);
      expectObservable(source, "10ms !").toBe("--w--w-", values);
    });
  });
});
