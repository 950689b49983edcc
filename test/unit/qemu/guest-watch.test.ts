import { describe, expect, it } from "vitest";
import { GuestWatch } from "../../../src/qemu/guest-watch.js";
import { attached, aView } from "../../support/builders.js";

const unused = aView({ attached: [attached("0000:65:00.0", "rp0", { isInUse: false })] });
const used = aView({ attached: [attached("0000:65:00.0", "rp0", { isInUse: true })] });

function aWatch(): GuestWatch {
  return new GuestWatch({ guestMs: 3_000, longestRetryMs: 30_000 });
}

/** The waits until it gives up, or so many of them. */
function waits(watch: GuestWatch, view: typeof unused, most = 8): number[] {
  const all: number[] = [];
  for (
    let ms = watch.waitMs(view);
    ms !== Number.POSITIVE_INFINITY && all.length < most;
    ms = watch.waitMs(view)
  ) {
    all.push(ms);
    watch.passed();
  }
  return all;
}

describe("the watch over what a guest does unheard", () => {
  it("looks a few times for a device that is not in use, and is at rest within a minute", () => {
    expect(waits(aWatch(), unused)).toEqual([3_000, 6_000, 12_000, 24_000]);
  });

  it("leaves alone what has nothing to tell", () => {
    expect(waits(aWatch(), used)).toEqual([]);
    expect(waits(aWatch(), aView())).toEqual([]);
    expect(waits(aWatch(), { ...unused, runState: "paused" })).toEqual([]);
    const unknown = aView({ attached: [attached("0000:65:00.0")] });
    expect(waits(aWatch(), unknown)).toEqual([]);
  });

  it("begins again with a new device or another guest", () => {
    const watch = aWatch();
    waits(watch, unused);
    watch.begin();
    expect(waits(watch, unused)).toHaveLength(4);
  });

  it("follows a migration for as long as it lasts, for its end is told by nobody", () => {
    const moving = { ...used, migration: "active" };
    expect(waits(aWatch(), moving)).toEqual([3_000, 6_000, 12_000, 24_000, 30_000, 30_000, 30_000, 30_000]);
    expect(waits(aWatch(), { ...unused, runState: "postmigrate" })).toEqual([]);
  });
});
