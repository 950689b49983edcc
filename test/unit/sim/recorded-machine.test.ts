import { describe, expect, it } from "vitest";
import type { Device } from "../../../src/core/device.js";
import { machineOf } from "../../../src/sim/recorded-machine.js";
import { aDevice } from "../../support/builders.js";

const isAssumingGroups = false;

function cardOf(facts: Partial<Device>) {
  const [card] = machineOf([aDevice("0000:65:00.0", facts)], { isAssumingGroups }).cards;
  return card;
}

describe("the cards of a recorded machine", () => {
  it("carry six digits of class, and a note says for how many the last two are assumed", () => {
    const devices = [aDevice("0000:65:00.0", { class: "0300" }), aDevice("0000:66:00.0")];
    const { cards, notes } = machineOf(devices, { isAssumingGroups });
    expect(cards.map((card) => card.class)).toEqual(["030000", "030000"]);
    expect(notes).toEqual([
      "1 of 2 devices: the programming interface of the class was not recorded: it stays unknown",
    ]);
  });

  it.each([
    ["a driver's name that climbs", { driver: "../../x" }, "driver"],
    ["a slot's name that climbs", { slot: ".." }, "slot"],
    ["a root bus that is a path", { rootBus: "0000:00/.." }, "rootBus"],
    ["a serial number that is none", { serial: "x" }, "serial"],
    ["a bridge that is not there", { parent: aDevice("0000:00:01.0").address }, "parent"],
    [
      "attributes that mean something to the kernel",
      { attributes: { "driver/x": "1", "../x": "1" } },
      "attributes",
    ],
  ])("leave out %s", (_what, facts, key) => {
    expect(cardOf(facts)).not.toHaveProperty(key);
  });

  it("are the same in whatever order the devices come, bridges first, also when two claim to be above each other", () => {
    const [a, b] = [aDevice("0000:01:00.0"), aDevice("0000:02:00.0")];
    const knot = [
      { ...a, parent: b.address },
      { ...b, parent: a.address },
    ];
    const bridge = aDevice("0000:80:00.0");
    const below = aDevice("0000:03:00.0", { parent: bridge.address });
    const devices = [...knot, below, bridge];
    const { cards } = machineOf(devices, { isAssumingGroups });
    expect(cards.map(({ address, parent }) => [address, parent ?? null])).toEqual([
      ["0000:02:00.0", null],
      ["0000:01:00.0", "0000:02:00.0"],
      ["0000:80:00.0", null],
      ["0000:03:00.0", "0000:80:00.0"],
    ]);
    expect(machineOf([...devices].reverse(), { isAssumingGroups }).cards).toEqual(cards);
  });
});
