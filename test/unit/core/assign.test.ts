import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { assign } from "../../../src/core/assign.js";
import { describeHeld } from "../../../src/core/held-text.js";
import { aDevice, aLease, anAddress, aPolicy, aRule, aWorld, protectedBy } from "../../support/builders.js";

const gpu = anAddress("0000:65:00.0");
const audio = anAddress("0000:65:00.1");

function heldReasons(world: ReturnType<typeof aWorld>) {
  return assign(world).held.map((held) => [held.address, held.reason.kind]);
}

describe("assign", () => {
  it("gives every match of a batch rule to its VM", () => {
    const policy = aPolicy([aRule("gpus", { vendor: "10de" }, "a")]);
    const devices = [
      aDevice("0000:65:00.0"),
      aDevice("0000:17:00.0"),
      aDevice("0000:18:00.0", { vendor: "8086" }),
    ];
    const { units } = assign(aWorld({ devices, policy }));
    expect(units.map((unit) => [unit.vm, ...unit.members])).toEqual([
      ["a", "0000:17:00.0"],
      ["a", "0000:65:00.0"],
    ]);
  });

  it("takes the functions of one IOMMU group as one unit when all are claimed for the same VM", () => {
    const policy = aPolicy([aRule("card", { address: "0000:65:00.*" }, "a")]);
    const devices = [aDevice(audio, { class: "040300" }), aDevice(gpu)];
    const { units, held } = assign(aWorld({ devices, policy }));
    expect(units).toMatchObject([{ members: [gpu, audio], companions: [], iommuGroup: 0x65 }]);
    expect(held).toEqual([]);
  });

  it("holds a device whose IOMMU group companion is on a host driver, and names the companion", () => {
    const policy = aPolicy([aRule("gpu", { address: gpu }, "a")]);
    const devices = [aDevice(gpu), aDevice(audio, { driver: "snd_hda_intel" })];
    const { units, held } = assign(aWorld({ devices, policy }));
    expect(units).toEqual([]);
    expect(held.map((entry) => describeHeld(entry.reason))).toEqual([
      "IOMMU group 101 is blocked by 0000:65:00.1 (on driver snd_hda_intel, no rule names it)",
    ]);
  });

  it("takes a device together with a driverless companion, which it only keeps from host drivers", () => {
    const policy = aPolicy([aRule("gpu", { address: gpu }, "a")]);
    const devices = [aDevice(gpu), aDevice(audio, { driver: null })];
    expect(assign(aWorld({ devices, policy })).units).toMatchObject([
      { members: [gpu], companions: [audio] },
    ]);
  });

  it("does not let a bridge in the IOMMU group stand in the way", () => {
    const policy = aPolicy([aRule("gpu", { address: gpu }, "a")]);
    const bridge = aDevice("0000:64:00.0", { class: "060400", driver: "pcieport", iommuGroup: 0x65 });
    expect(assign(aWorld({ devices: [aDevice(gpu), bridge], policy })).units).toHaveLength(1);
  });

  it("gives a device that two VMs' rules want to nobody, and both are told", () => {
    const policy = aPolicy([aRule("one", { vendor: "10de" }, "a"), aRule("two", { class: "vga" }, "b")]);
    const { units, held } = assign(aWorld({ devices: [aDevice(gpu)], policy }));
    expect(units).toEqual([]);
    expect(held).toMatchObject([{ reason: { kind: "conflict", rules: ["one", "two"], vms: ["a", "b"] } }]);
  });

  it("sees no conflict between two rules of the same VM", () => {
    const policy = aPolicy([aRule("one", { vendor: "10de" }, "a"), aRule("two", { class: "vga" }, "a")]);
    expect(assign(aWorld({ devices: [aDevice(gpu)], policy })).units).toHaveLength(1);
  });

  it("holds an IOMMU group whose members are claimed for two VMs", () => {
    const policy = aPolicy([aRule("one", { address: gpu }, "a"), aRule("two", { address: audio }, "b")]);
    const devices = [aDevice(gpu), aDevice(audio)];
    expect(heldReasons(aWorld({ devices, policy }))).toEqual([
      [gpu, "iommu-group-blocked"],
      [audio, "iommu-group-blocked"],
    ]);
  });

  it("never takes a bridge, a protected device, or one without an IOMMU group", () => {
    const policy = aPolicy([aRule("all", { address: "0000:6*:*" }, "a")]);
    const devices = [
      aDevice("0000:60:00.0", { class: "060400" }),
      aDevice("0000:61:00.0"),
      aDevice("0000:62:00.0", { iommuGroup: null }),
    ];
    const protections = new Map([[anAddress("0000:61:00.0"), protectedBy("the root file system is on it")]]);
    expect(heldReasons(aWorld({ devices, policy }, { protections }))).toEqual([
      ["0000:60:00.0", "protected"],
      ["0000:61:00.0", "protected"],
      ["0000:62:00.0", "no-iommu-group"],
    ]);
  });

  it("holds a device that shares its IOMMU group with a protected one", () => {
    const policy = aPolicy([aRule("gpu", { address: gpu }, "a")]);
    const devices = [aDevice(gpu), aDevice(audio, { driver: null })];
    const protections = new Map([[audio, protectedBy("it has the root disk")]]);
    expect(heldReasons(aWorld({ devices, policy }, { protections }))).toEqual([[gpu, "iommu-group-unfit"]]);
  });

  it("leaves storage, USB host controllers and the like alone when a rule is made of wildcards only", () => {
    const policy = aPolicy([aRule("everything", { address: "*" }, "a")]);
    const devices = [
      aDevice("0000:01:00.0", { class: "010802" }),
      aDevice("0000:02:00.0", { class: "0c0330" }),
    ];
    expect(heldReasons(aWorld({ devices, policy }))).toEqual([
      ["0000:01:00.0", "delicate-class"],
      ["0000:02:00.0", "delicate-class"],
    ]);
  });

  it("holds a device of which the rule asks a fact that is not known", () => {
    const policy = aPolicy([aRule("gpu", { vendor: "10de" }, "a")]);
    const { vendor: _, ...unknown } = aDevice(gpu);
    expect(assign(aWorld({ devices: [unknown], policy })).held).toMatchObject([
      { reason: { kind: "fact-unknown", keys: ["vendor"] } },
    ]);
  });

  it("does not count a neighbour that is still to be given back as a driverless companion", () => {
    const policy = aPolicy([aRule("gpu", { address: gpu }, "a")]);
    const leaver = aDevice(audio, { driver: null });
    const world = aWorld({ devices: [aDevice(gpu), leaver], policy, leases: [aLease(leaver, "a")] });
    expect(heldReasons(world)).toEqual([[gpu, "iommu-group-blocked"]]);
  });

  it("gives the same answer whatever the order of the inventory, and no device to two VMs", () => {
    const slot = fc.record({
      bus: fc.integer({ min: 1, max: 6 }),
      fn: fc.integer({ min: 0, max: 2 }),
      group: fc.integer({ min: 1, max: 4 }),
      vendor: fc.constantFrom("10de", "8086"),
      driver: fc.constantFrom("nouveau", null, "vfio-pci"),
      class: fc.constantFrom("030000", "020000", "060400"),
    });
    const rules = fc.array(
      fc.record({
        vm: fc.constantFrom("a", "b"),
        match: fc.constantFrom<Record<string, string>>(
          { vendor: "10de" },
          { class: "vga" },
          { address: "*:01:*" },
          { address: "*:0[2-4]:*.0" },
        ),
      }),
      { maxLength: 4 },
    );
    fc.assert(
      fc.property(
        fc.array(slot, { maxLength: 10 }),
        rules,
        fc.infiniteStream(fc.nat()),
        (slots, wanted, order) => {
          const devices = slots.map((entry) =>
            aDevice(`0000:0${entry.bus}:00.${entry.fn}`, {
              iommuGroup: entry.group,
              vendor: entry.vendor,
              driver: entry.driver,
              class: entry.class,
            }),
          );
          const unique = [...new Map(devices.map((device) => [device.address, device])).values()];
          const policy = aPolicy(wanted.map((entry, index) => aRule(`r${index}`, entry.match, entry.vm)));
          const keyed = unique.map((device) => ({ device, key: order.next().value ?? 0 }));
          const shuffled = keyed.sort((a, b) => a.key - b.key).map((entry) => entry.device);
          const first = assign(aWorld({ devices: unique, policy }));
          const second = assign(aWorld({ devices: shuffled, policy }));
          expect(JSON.stringify([second.units, second.held])).toBe(JSON.stringify([first.units, first.held]));
          const given = first.units.flatMap((unit) => unit.members);
          expect(new Set(given).size).toBe(given.length);
          expect(first.held.filter((held) => given.includes(held.address))).toEqual([]);
        },
      ),
    );
  });
});
