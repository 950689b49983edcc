/** What the host needs, and the rules that may take it all the same (semantics.md 8). */
import { describe, expect, it } from "vitest";
import { assign } from "../../../src/core/assign.js";
import type { RuleTraits } from "../../../src/core/policy.js";
import type { Protection } from "../../../src/core/protection.js";
import type { RawSelector } from "../../../src/core/selector.js";
import { aDevice, anAddress, aPolicy, aRule, aWorld, protectedBy } from "../../support/builders.js";

const nic = aDevice("0000:05:00.0", {
  class: "020000",
  driver: "igb",
  path: "0000:00/1c.5/00.0",
  serial: null,
});
const expected = { vendor: "10de", device: "2204", subsystemVendor: "1458", subsystemDevice: "403b" };

function verdict(
  protection: Protection,
  traits: Partial<RuleTraits> = {},
  match: RawSelector = { address: nic.address },
) {
  const policy = aPolicy([aRule("r", match, "a", traits)]);
  const world = aWorld({ devices: [nic], policy }, { protections: new Map([[nic.address, protection]]) });
  const { byDevice, held } = assign(world);
  return byDevice.has(nic.address) ? "taken" : held[0]?.reason.kind;
}

const hard = protectedBy("it carries the default route");
const soft = protectedBy("eth0 is up", { level: "soft" });

describe("a protected device", () => {
  it("is taken only by a rule that names it exactly, expects what it is, and says override", () => {
    expect(verdict(hard)).toBe("protected");
    expect(verdict(hard, { isOverride: true, expect: expected })).toBe("taken");
    expect(verdict(hard, { isOverride: true, expect: expected }, { path: "0000:00/1c.5/00.0" })).toBe(
      "taken",
    );
  });

  it("is not taken by an override that names it by a wildcard, or expects nothing", () => {
    expect(verdict(hard, { isOverride: true, expect: expected }, { address: "*:05:00.0" })).toBe("protected");
    expect(verdict(hard, { isOverride: true })).toBe("protected");
  });

  it("voids an override whose expectation it does not meet: another card is there now", () => {
    expect(verdict(hard, { isOverride: true, expect: { ...expected, device: "1533" } })).toBe("drifted");
  });

  it("is never taken where nothing lifts it", () => {
    const root = protectedBy("it carries /", { isLiftable: false });
    expect(verdict(root, { isOverride: true, expect: expected })).toBe("protected");
  });

  it("that is only in use is taken with takeConfigured, which lifts nothing harder", () => {
    expect(verdict(soft)).toBe("in-use");
    expect(verdict(soft, { takeConfigured: true })).toBe("taken");
    expect(verdict(hard, { takeConfigured: true })).toBe("protected");
  });

  it("must be named as well when it only shares the IOMMU group of one that is", () => {
    const other = aDevice("0000:05:00.1", { class: "020000", driver: null, serial: null });
    const protections = new Map([
      [nic.address, hard],
      [other.address, hard],
    ]);
    const override = { isOverride: true, expect: expected };
    const rules = (addresses: string[]) => aPolicy([aRule("r", { address: addresses }, "a", override)]);
    const given = (addresses: string[]) =>
      assign(aWorld({ devices: [nic, other], policy: rules(addresses) }, { protections })).byDevice.size;
    expect(given([nic.address])).toBe(0);
    expect(given([nic.address, other.address])).toBe(2);
  });

  it("is no matter for a rule of wildcards only, which leaves bridges and storage alone by itself", () => {
    const devices = [
      aDevice("0000:00:01.0", { class: "060400" }),
      aDevice("0000:01:00.0", { class: "010802" }),
    ];
    const protections = new Map(devices.map(({ address }) => [address, hard]));
    const policy = aPolicy([aRule("r", { address: "*" }, "a")]);
    expect(
      assign(aWorld({ devices, policy }, { protections })).held.map(({ reason }) => reason.kind),
    ).toEqual(["delicate-class", "delicate-class"]);
  });
});

describe("a device whose IOMMU group is not known", () => {
  it("is held as not known, unlike one that has none", () => {
    const kinds = (iommuGroup: null | undefined) => {
      const { iommuGroup: _, ...bare } = aDevice("0000:01:00.0");
      const device = iommuGroup === undefined ? bare : { ...bare, iommuGroup };
      const policy = aPolicy([aRule("r", { vendor: "10de" }, "a")]);
      return assign(aWorld({ devices: [device], policy })).held.map(({ reason }) => reason.kind);
    };
    expect([kinds(undefined), kinds(null)]).toEqual([["fact-unknown"], ["no-iommu-group"]]);
  });
});

describe("a rule about a driver", () => {
  it("keeps the device that it has taken from that driver", () => {
    const policy = aPolicy([aRule("r", { driver: "nouveau" }, "a")]);
    const bound = aDevice("0000:01:00.0", { driver: "vfio-pci" });
    const lent = { ...bound, lent: { driver: "nouveau" } };
    expect(assign(aWorld({ devices: [bound], policy })).byDevice.size).toBe(0);
    expect(assign(aWorld({ devices: [lent], policy })).byDevice.has(anAddress("0000:01:00.0"))).toBe(true);
    const adopted = { ...bound, lent: {} };
    expect(assign(aWorld({ devices: [adopted], policy })).held.map(({ reason }) => reason.kind)).toEqual([
      "fact-unknown",
    ]);
  });
});
