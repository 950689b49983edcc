import { TestScheduler } from "rxjs/testing";
import { describe, expect, it } from "vitest";
import { coalesce } from "../../../src/host/watch-burst.js";

function marbles(): TestScheduler {
  return new TestScheduler((actual, expected) => expect(actual).toEqual(expected));
}

describe("a burst", () => {
  it("gives its first value at once and the rest as one, which is the first of the rest", () => {
    marbles().run(({ hot, expectObservable }) => {
      const values = hot("  -abcd---------------|");
      const expected = "    -a---------b--------|";
      expectObservable(coalesce(values, 10)).toBe(expected);
    });
  });

  it("does not delay what comes alone", () => {
    marbles().run(({ hot, expectObservable }) => {
      const values = hot("  -a--------------b---|");
      const expected = "    -a--------------b---|";
      expectObservable(coalesce(values, 10)).toBe(expected);
    });
  });

  it("never holds anything back for longer than its time, however long the burst", () => {
    marbles().run(({ hot, expectObservable }) => {
      const values = hot("  -ab--c--d--e--f--g--h----------|");
      const expected = "    -a----b----d----f----g---------|";
      expectObservable(coalesce(values, 5)).toBe(expected);
    });
  });
});
