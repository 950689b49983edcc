import { describe, expect, it } from "vitest";
import { assign } from "../../../src/core/assign.js";
import type { Device } from "../../../src/core/device.js";
import { describeHeld } from "../../../src/core/held-text.js";
import type { RuleTraits } from "../../../src/core/policy.js";
import type { Protection } from "../../../src/core/protection.js";
import { wishesOf } from "../../../src/core/wishes.js";
import { aDevice, aPolicy, aRule, aWorld } from "../../support/builders.js";

const ADDRESS = "0000:65:00.0";
const because = "it carries /srv through nvme0n1";
const needed: Protection = { because, level: "hard", isLiftable: true };
const ids = { vendor: "10de", device: "2204", subsystemVendor: "1458", subsystemDevice: "403b" };
const meant: Partial<RuleTraits> = { isOverride: true, expect: ids };

/** Who gets each device, or why nobody does. */
function outcome(
  devices: readonly Device[],
  protection: Protection,
  traits: Partial<RuleTraits> = meant,
  match = ADDRESS,
) {
  const world = aWorld({ devices, policy: aPolicy([aRule("anyway", { address: match }, "a", traits)]) });
  const protections = new Map(devices.map(({ address }) => [address, protection]));
  const { byDevice, held } = assign({ ...world, protections });
  return [
    ...[...byDevice].map(([address, { vm }]) => `${address} -> ${vm}`),
    ...held.map(({ reason }) => describeHeld(reason)),
  ];
}

const card = aDevice(ADDRESS, { serial: null });

describe("override: protected", () => {
  it("takes the named card that is the expected one, also where it is merely in use", () => {
    expect(outcome([card], needed)).toEqual([`${ADDRESS} -> a`]);
    expect(outcome([card], { ...needed, level: "soft" })).toEqual([`${ADDRESS} -> a`]);
  });

  it("lifts nothing that is never liftable, and nothing for a pattern", () => {
    expect(outcome([card], { ...needed, isLiftable: false })).toEqual([`protected: ${because}`]);
    expect(outcome([card], needed, meant, "0000:65:00.*")).toEqual([`protected: ${because}`]);
  });

  it("is void for another card in that place", () => {
    const other = { ...card, device: "2206" };
    expect(outcome([other], needed)).toEqual(["expected device 2204, found device 2206"]);
  });

  it("must expect the serial number of a card that has one, and waits where that is not known", () => {
    const numbered = aDevice(ADDRESS, { serial: "00-11-22" });
    expect(outcome([numbered], needed)).toEqual([
      `protected: ${because}; an override must expect its serial number too: 00-11-22`,
    ]);
    expect(outcome([aDevice(ADDRESS)], needed)).toEqual(["not known on this host: serial"]);
    const stated = (serial: string) => ({ ...meant, expect: { ...ids, serial } });
    expect(outcome([numbered], needed, stated("00-11-22"))).toEqual([`${ADDRESS} -> a`]);
    expect(outcome([numbered], needed, stated("00-11-33"))).toEqual([
      "expected serial 00-11-33, found serial 00-11-22",
    ]);
  });

  it("asks for the serial number by itself", () => {
    expect(wishesOf(aPolicy([aRule("anyway", { address: ADDRESS }, "a", meant)])).serial).toBe(true);
  });

  it("does not reach a protected neighbour in the IOMMU group that no rule names", () => {
    const neighbour = aDevice("0000:65:00.1", { iommuGroup: card.iommuGroup as number, serial: null });
    expect(outcome([card, neighbour], needed)).toEqual([
      `IOMMU group ${card.iommuGroup}: ${neighbour.address} may not be taken (protected: ${because})`,
    ]);
  });
});
