/** Pins and expectations: a rule keeps to its cards, wherever renumbering puts them, and takes no stranger instead. */
import { describe, expect, it } from "vitest";
import { type PciAddress, parseAddress } from "../../../src/core/address.js";
import { assign } from "../../../src/core/assign.js";
import { type Device, identityOf } from "../../../src/core/device.js";
import { describeHeld } from "../../../src/core/held-text.js";
import { NO_INTENTS, type Pin } from "../../../src/core/intent.js";
import type { RuleTraits } from "../../../src/core/policy.js";
import { readRecording } from "../../../src/host/recording.js";
import { aDevice, anAddress, aPolicy, aRule, aSelectRule, aWorld } from "../../support/builders.js";
import { recordingOf } from "../../support/rehearsals.js";

function pinOn(device: Device, rule = "r"): Pin {
  const { address, path = null, serial = null } = device;
  return { rule, address, path, serial, identity: identityOf(device) };
}

function outcome(
  devices: readonly Device[],
  pins: readonly Pin[],
  traits: Partial<RuleTraits>,
  address: string,
) {
  const policy = aPolicy([aRule("r", { address }, "a", { isPinned: true, ...traits })]);
  const { byDevice, held } = assign(aWorld({ devices, policy }, { intents: { ...NO_INTENTS, pins } }));
  return { given: [...byDevice.keys()], held: held.map(({ reason }) => describeHeld(reason)) };
}

const place = { path: "0000:00/1c.0/00.0" };
const card = aDevice("0000:65:00.0", { ...place, serial: "00-01" });
const stranger = aDevice("0000:65:00.0", { device: "1eb8", path: "0000:00/1d.0/00.0", serial: "00-02" });
const moved: Device = { ...card, address: anAddress("0000:66:00.0"), iommuGroup: 0x66 };

describe("a pinned rule", () => {
  it("takes the card that it has learnt, and another one in its place never", () => {
    expect(outcome([card], [pinOn(card)], {}, card.address).given).toEqual([card.address]);
    const { given, held } = outcome([stranger], [pinOn(card)], {}, card.address);
    expect(given).toEqual([]);
    expect(held).toEqual([
      "expected 10de:2204 (1458:403b), serial 00-01, found 10de:1eb8 (1458:403b), serial 00-02",
    ]);
  });

  it("says where the expected card is now, when it has moved", () => {
    const { given, held } = outcome([stranger, moved], [pinOn(card)], {}, card.address);
    expect(given).toEqual([]);
    expect(held).toEqual([expect.stringContaining("the expected card is now at 0000:66:00.0")]);
  });

  it.each(["path", "serial"] as const)(
    "follows its card by %s to the address it has now, and leaves the stranger",
    (follow) => {
      const { given, held } = outcome([stranger, moved], [pinOn(card)], { follow }, card.address);
      expect(given).toEqual([moved.address]);
      expect(held).toEqual([expect.stringContaining("expected 10de:2204")]);
    },
  );

  it("knows a twin by its serial number where the ids are the same", () => {
    const twin = { ...card, serial: "00-03" };
    expect(outcome([twin], [pinOn(card)], {}, card.address).given).toEqual([]);
    const { serial: _, ...unread } = card;
    expect(outcome([unread], [pinOn(card)], {}, card.address)).toEqual({
      given: [],
      held: ["not known on this host: serial"],
    });
  });

  it("still takes new matches that stand in nobody's place", () => {
    const other = aDevice("0000:67:00.0");
    expect(outcome([card, other], [pinOn(card)], {}, "0000:6?:00.0").given).toEqual([
      card.address,
      other.address,
    ]);
  });

  it("waits for the serial number of a card in the place of the one that it follows by its serial", () => {
    const { serial: _, ...untold } = card;
    const { given, held } = outcome([untold], [pinOn(card)], { follow: "serial" }, card.address);
    expect(given).toEqual([]);
    expect(held).toEqual([describeHeld({ kind: "fact-unknown", keys: ["serial"] })]);
  });

  it.each(["serial", "path"] as const)(
    "keeps to its card by %s where it is to choose one of several",
    (follow) => {
      const { address } = card;
      const other = aDevice(address, { path: "0000:00/1e.0/00.0", serial: "00-03" });
      const rule = aSelectRule("r", { vendor: "10de" }, "a", { min: 1, max: 1 }, { isPinned: true, follow });
      const intents = { ...NO_INTENTS, pins: [pinOn(card)] };
      const { byDevice } = assign(aWorld({ devices: [other, moved], policy: aPolicy([rule]) }, { intents }));
      expect([...byDevice.keys()]).toEqual([moved.address]);
    },
  );

  it("lets the cards of a wildcard rule change places among themselves", () => {
    const one = aDevice("0000:65:00.0", { serial: "00-01", device: "2204" });
    const two = aDevice("0000:66:00.0", { serial: "00-02", device: "1eb8" });
    const swapped = [
      { ...one, address: two.address },
      { ...two, address: one.address },
    ];
    const { given, held } = outcome(swapped, [pinOn(one), pinOn(two)], { follow: "serial" }, "0000:6?:00.0");
    expect([given.length, held]).toEqual([2, []]);
  });
});

describe("an expectation", () => {
  it("is met by the very ids and serial number, and names what differs", () => {
    const rule = (expect: RuleTraits["expect"]) => aRule("r", { address: card.address }, "a", { expect });
    const held = (expected: RuleTraits["expect"]) =>
      assign(aWorld({ devices: [card], policy: aPolicy([rule(expected)]) })).held.map(({ reason }) =>
        describeHeld(reason),
      );
    expect(held({ vendor: "10de", device: "2204", serial: "00-01" })).toEqual([]);
    expect(held({ vendor: "10de", device: "1eb8" })).toEqual(["expected device 1eb8, found device 2204"]);
  });
});

describe("a renumbered machine (made from the recorded vfio-joe-p-x570: bus 0b has become 3b)", () => {
  /** Buses below the root move; the chain of slots does not. */
  function renumber(device: Device): Device {
    const move = (address: PciAddress): PciAddress =>
      parseAddress(address.replace(/^0000:0b:/, "0000:3b:")) ?? address;
    return { ...device, address: move(device.address) };
  }

  it("gives a rule that follows paths the very same cards, and one that follows addresses none", async () => {
    const { devices: recorded } = await readRecording(recordingOf("vfio-joe-p-x570"));
    // The listing does not show the bridges of these slots: their paths are made up, and stable.
    const devices = recorded.map((device) => ({
      ...device,
      path: device.path ?? `0000:00/made-up/${device.address.slice(5)}`,
    }));
    const isGpu = (device: Device) => device.address.startsWith("0000:0b:00.");
    const pins = devices.filter(isGpu).map((device) => pinOn(device));
    expect(pins.length).toBe(2);
    const after = devices.map((device) => (isGpu(device) ? renumber(device) : device));
    const address = "0000:0b:00.*";
    expect(outcome(devices, pins, { follow: "path" }, address).given).toEqual([
      "0000:0b:00.0",
      "0000:0b:00.1",
    ]);
    expect(outcome(after, pins, { follow: "path" }, address).given).toEqual(["0000:3b:00.0", "0000:3b:00.1"]);
    expect(outcome(after, pins, { follow: "address" }, address).given).toEqual([]);
  });
});
