/** What a good file may still mean otherwise than it says, on one host. */
import { describe, expect, it } from "vitest";
import { lint } from "../../../src/core/lint.js";
import type { Policy, Rule } from "../../../src/core/policy.js";
import { setScene } from "../../../src/core/scene.js";
import type { World } from "../../../src/core/world.js";
import { aDevice, aPolicy, aRule, aSelectRule, aWorld, protectedBy } from "../../support/builders.js";

const gpu = aDevice("0000:65:00.0");
const nic = aDevice("0000:17:00.0", { vendor: "8086", class: "020000" });

function warnings(rules: readonly Rule[], more: Partial<World> = {}, facts: Partial<Policy> = {}) {
  const world = aWorld({ devices: [gpu, nic], policy: aPolicy(rules, facts) }, more);
  return lint(setScene(world)).map(({ kind, message }) => [kind, message]);
}

describe("strict checks", () => {
  it("have nothing to say about rules that each get something", () => {
    expect(
      warnings([aRule("gpus", { vendor: "10de" }, "a"), aRule("nics", { class: "ethernet" }, "b")]),
    ).toEqual([]);
  });

  it("name the keys on which no device of this host can match", () => {
    expect(
      warnings([
        aRule("ghost", { vendor: ["dead", "beef"], class: "vga" }, "a"),
        aRule("cross", { vendor: "8086", class: "vga" }, "a"),
      ]),
    ).toEqual([
      ["no-match", "rule ghost matches nothing on this host: no device has vendor dead or beef"],
      [
        "no-match",
        "rule cross matches nothing on this host: each of its keys matches something, but no device matches all of them",
      ],
    ]);
  });

  it("do not call never what a fact that is not known keeps open, and say which fact", () => {
    const { vendor: _, ...bare } = gpu;
    const policy = aPolicy([aRule("r", { vendor: "10de" }, "a")]);
    expect(lint(setScene(aWorld({ devices: [bare], policy })))).toEqual([
      {
        kind: "not-judged",
        rules: ["r"],
        addresses: [gpu.address],
        message:
          "rule r matches nothing for certain on this host: 1 device could not be judged: vendor id unreadable",
      },
    ]);
    expect(lint(setScene(aWorld({ devices: [bare, aDevice("0000:66:00.0")], policy })))).toEqual([]);
  });

  describe("about a rule of which every match is held", () => {
    const rule = aRule("gpus", { vendor: "10de" }, "a");
    const beside = aDevice("0000:65:00.1", { vendor: "8086", driver: "xhci_hcd" });
    const gets = "gets nothing on this host: the one device that it matches is held, 0000:65:00.0:";

    it.each<[string, readonly Rule[], Partial<World>, string]>([
      [
        "by a neighbour in its IOMMU group",
        [rule],
        {},
        `rule gpus ${gets} IOMMU group 101 is blocked by 0000:65:00.1 (on driver xhci_hcd, no rule names it)`,
      ],
      [
        "by what the host needs",
        [rule],
        { protections: new Map([[gpu.address, protectedBy("it is the console")]]) },
        `rule gpus ${gets} protected: it is the console`,
      ],
      [
        "by what the card was expected to be",
        [aRule("gpus", { vendor: "10de" }, "a", { expect: { device: "1234" } })],
        {},
        `rule gpus ${gets} expected device 1234, found device 2204`,
      ],
    ])("%s: name one device and its reason", (_what, rules, more, message) => {
      const world = aWorld({ devices: [gpu, beside], policy: aPolicy(rules) }, more);
      expect(lint(setScene(world))).toEqual([
        { kind: "held", rules: ["gpus"], addresses: [gpu.address], message },
      ]);
    });

    it("for want of a fact of the host: name that", () => {
      const { iommuGroup: _, ...bare } = gpu;
      const world = aWorld({ devices: [bare], policy: aPolicy([rule]) });
      expect(lint(setScene(world)).map(({ message }) => message)).toEqual([
        `rule gpus ${gets} not known on this host: iommuGroup`,
      ]);
    });

    it("name none that a sweeping rule leaves alone anyway, where there is another", () => {
      const bridge = aDevice("0000:00:01.0", { class: "060400" });
      const disk = aDevice("0000:02:00.0", { class: "010802" });
      const world = aWorld({
        devices: [bridge, disk, gpu, beside],
        policy: aPolicy([aRule("all", { address: "*:*.0" }, "a")]),
      });
      const [warning, ...others] = lint(setScene(world));
      expect([warning?.kind, others]).toEqual(["held", []]);
      expect(warning?.message).toMatch(
        /^rule all gets nothing on this host: each of the 3 devices that it matches is held, 0000:65:00\.0 for one: IOMMU group 101/,
      );
    });

    it("have nothing to say while it gets one of them", () => {
      const free = aDevice("0000:66:00.0");
      const world = aWorld({ devices: [gpu, beside, free], policy: aPolicy([rule]) });
      expect(lint(setScene(world))).toEqual([]);
    });
  });

  it("name the rules that stand before one which gets nothing, for another VM and for the same", () => {
    const high = aRule("high", { vendor: "10de" }, "a", { priority: 1 });
    const takes = "gets nothing on this host: high stands before it and takes all that it matches";
    expect(
      warnings([high, aRule("other", { class: "vga" }, "b"), aRule("same", { address: gpu.address }, "a")]),
    ).toEqual([
      ["shadowed", `rule other ${takes}`],
      ["shadowed", `rule same ${takes}`],
    ]);
    expect(warnings([high, aRule("wider", { address: ["*:65:*", "*:17:*"] }, "b")])).toEqual([]);
  });

  it("name a rule of which never or allow leaves nothing", () => {
    const rule = aRule("gpus", { vendor: "10de" }, "a");
    expect(warnings([rule], {}, { never: [rule.match] })).toEqual([
      ["excluded", "rule gpus gets nothing: never or allow keeps everything that it matches from every VM"],
    ]);
  });

  it("put the devices of one conflict into one warning", () => {
    const two = aDevice("0000:66:00.0");
    const rules = [aRule("one", { vendor: "10de" }, "a"), aRule("two", { class: "vga" }, "b")];
    const found = lint(setScene(aWorld({ devices: [gpu, two], policy: aPolicy(rules) })));
    expect(found).toMatchObject([
      { kind: "conflict", rules: ["one", "two"], addresses: [gpu.address, two.address] },
    ]);
  });

  it("say that a rule matches something and is short all the same", () => {
    expect(warnings([aSelectRule("two", { vendor: "10de" }, "a", { min: 2, max: 2 })])).toEqual([
      ["short", "rule two is short on this host: the rule needs 2 and can have 1"],
    ]);
  });

  it("say that a start is the same every time only if a NIC in use is bound by udev", () => {
    const protections = new Map([[nic.address, protectedBy("eth0 is up", { level: "soft" })]]);
    const rules = [aRule("nics", { vendor: "8086" }, "a", { takeConfigured: true })];
    const [first] = warnings(rules, { protections });
    expect(first?.[0]).toBe("start-race");
    expect(first?.[1]).toMatch(/^rule nics: 0000:17:00\.0 .*bind it to vfio-pci by a udev rule/);
    const hard = new Map([[nic.address, protectedBy("default route")]]);
    expect(warnings(rules, { protections: hard }).map(([kind]) => kind)).toEqual(["held"]);
  });
});
