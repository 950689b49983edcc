import { describe, expect, it } from "vitest";
import { narrate } from "../../../src/agent/narrator.js";
import type { Turn } from "../../../src/agent/pipeline.js";
import { type Intents, NO_INTENTS } from "../../../src/core/intent.js";
import { pinOf } from "../../../src/core/pinning.js";
import { aDevice, aWorld } from "../../support/builders.js";

const card = aDevice("0000:65:00.0");
const quarantine = {
  address: card.address,
  appearance: card.appearance,
  why: "used",
  atMs: 1,
  isCleared: false,
};

function told(before: Partial<Intents>, after: Partial<Intents>, signals: Turn["signals"] = []) {
  const world = (intents: Partial<Intents>) => aWorld({}, { intents: { ...NO_INTENTS, ...intents } });
  return narrate({ before: world(before), world: world(after), signals }).map(({ event }) => event);
}

describe("the audit", () => {
  it("has a line for each card that a pinned rule has learnt, and none at the start of the next life", () => {
    const pins = [pinOf("gpus", card, null)];
    expect(told({}, { pins })).toEqual(["pin-learnt"]);
    const read = {
      kind: "intents-read",
      holds: [],
      intents: { ...NO_INTENTS, pins },
      isDamaged: false,
    } as const;
    expect(told({}, { pins }, [read])).toEqual([]);
  });

  it("has a line when a device goes into quarantine and one when it is cleared", () => {
    expect(told({}, { quarantines: [quarantine] })).toEqual(["quarantine-made"]);
    const cleared = { ...quarantine, isCleared: true };
    expect(told({ quarantines: [quarantine] }, { quarantines: [cleared] })).toEqual(["quarantine-ended"]);
    expect(told({ quarantines: [cleared] }, { quarantines: [] })).toEqual([]);
  });
});
