/** Modes, priorities and what is kept: who gets what when rules choose, spread and compete (semantics.md 4). */
import { describe, expect, it } from "vitest";
import { assign } from "../../../src/core/assign.js";
import { type Device, identityOf } from "../../../src/core/device.js";
import type { Lease } from "../../../src/core/lease.js";
import type { Policy, Rule } from "../../../src/core/policy.js";
import type { World } from "../../../src/core/world.js";
import {
  aDevice,
  aGroupRule,
  aLease,
  aPolicy,
  aRule,
  aSelectRule,
  aWorld,
  spreadOver,
} from "../../support/builders.js";

const [g1, g2, g3] = ["0000:01:00.0", "0000:02:00.0", "0000:03:00.0"].map((address) => aDevice(address)) as [
  Device,
  Device,
  Device,
];
const one = { min: 1, max: 1 };
const vga = { class: "vga" };

/** What is assigned, as `address vm`. */
function given(
  devices: readonly Device[],
  rules: readonly Rule[],
  more: Partial<World> = {},
  leases: readonly Lease[] = [],
  policy: Partial<Policy> = {},
): string[] {
  const world = aWorld({ devices, policy: aPolicy(rules, policy), leases }, more);
  return [...assign(world).byDevice].map(([address, unit]) => `${address.slice(5, 7)} ${unit.vm}`).sort();
}

function reasons(devices: readonly Device[], rules: readonly Rule[], more: Partial<World> = {}) {
  const { held } = assign(aWorld({ devices, policy: aPolicy(rules) }, more));
  return held.map(({ address, reason }) => `${address.slice(5, 7)} ${reason.kind}`);
}

/** On vfio-pci, by a lease of this boot. */
function had(device: Device, vm: string, rule: string): Lease {
  return aLease(device, vm, { rule });
}

describe("select", () => {
  it("takes as many as it may, the lowest addresses first, and holds nothing that is merely spare", () => {
    const rules = [aSelectRule("r", vga, "a", { min: 1, max: 2 })];
    expect(given([g3, g1, g2], rules)).toEqual(["01 a", "02 a"]);
    expect(reasons([g1, g2, g3], rules)).toEqual([]);
  });

  it("takes nothing when short of its minimum, and says how many it needs and who has the others", () => {
    const rules = [aRule("b", { address: g1.address }, "b"), aSelectRule("r", vga, "a", { min: 3, max: 3 })];
    const world = aWorld({ devices: [g1, g2, g3], policy: aPolicy(rules) });
    expect(given([g1, g2, g3], rules)).toEqual(["01 b"]);
    expect(assign(world).shortages).toEqual([
      { rule: "r", vm: "a", needed: 3, found: 2, holders: ["b (rule b)"] },
    ]);
    expect(reasons([g1, g2, g3], rules)).toEqual(["02 short", "03 short"]);
  });

  it("is named among the holders by another select rule that comes too late", () => {
    const rules = [
      aSelectRule("first", vga, "a", { min: 1, max: 1 }),
      aSelectRule("late", vga, "b", { min: 1, max: 1 }),
    ];
    expect(assign(aWorld({ devices: [g1], policy: aPolicy(rules) })).shortages).toMatchObject([
      { rule: "late", holders: ["a (rule first)"] },
    ]);
  });

  it("leaves an earlier rule's second choice so that a later rule gets its only one", () => {
    const rules = [aSelectRule("any", vga, "a", one), aSelectRule("only", { address: g1.address }, "b", one)];
    expect(given([g1, g2], rules)).toEqual(["01 b", "02 a"]);
  });

  it("falls back to its next alternative: two of these, else one of those", () => {
    const nvidia = { match: aRule("x", { vendor: "10de" }, "a").match, count: { min: 2, max: 2 } };
    const amd = { match: aRule("x", { vendor: "1002" }, "a").match, count: { min: 1, max: 1 } };
    const rules = [aSelectRule("r", vga, "a", one, { alternatives: [nvidia, amd] })];
    const radeon = aDevice("0000:04:00.0", { vendor: "1002" });
    expect(given([g1, radeon], rules)).toEqual(["04 a"]);
    expect(given([g1, g2, radeon], rules)).toEqual(["01 a", "02 a"]);
  });

  it("prefers the VM's NUMA node, then another, then what names none", () => {
    const rules = [aSelectRule("r", vga, "a", { min: 1, max: 2 }, { prefer: [{ by: "numa" }] })];
    const devices = [g1, aDevice(g2.address, { numaNode: 0 }), aDevice(g3.address, { numaNode: 1 })];
    const vms = [{ name: "a", qmp: "/run/a.sock", numaNode: 1 }];
    expect(given(devices, rules, {}, [], { vms })).toEqual(["02 a", "03 a"]);
  });

  it("prefers what is below the root port of another rule's device, large memory, or high addresses", () => {
    const [near, far] = ["0000:00:01.0", "0000:00:02.0"].map((address) => aDevice(address).address);
    const place = (device: Device, root = near) => (root === undefined ? device : { ...device, root });
    const nic = aDevice("0000:05:00.0", { class: "020000" });
    const devices = [
      place(g1, far),
      place({ ...g2, memory: 2 ** 30 }),
      place({ ...g3, memory: 2 ** 34 }, far),
      place(nic),
    ];
    const pick = (prefer: Parameters<typeof aSelectRule>[4]) =>
      given(devices, [
        aRule("nic", { class: "ethernet" }, "a"),
        aSelectRule("r", vga, "a", one, prefer ?? {}),
      ]).filter((entry) => !entry.startsWith("05"));
    expect(pick({ prefer: [{ by: "sameRootAs", rule: "nic" }] })).toEqual(["02 a"]);
    expect(pick({ prefer: [{ by: "memory", order: "largest" }] })).toEqual(["03 a"]);
    expect(pick({ prefer: [{ by: "memory", order: "smallest" }] })).toEqual(["02 a"]);
    expect(pick({ prefer: [{ by: "address", order: "highest" }] })).toEqual(["03 a"]);
  });

  it("passes over a card whose IOMMU group is blocked, and says so of that card only when it is short", () => {
    const sound = aDevice("0000:01:00.1", { class: "040300", driver: "snd_hda_intel", iommuGroup: 1 });
    const rules = [aSelectRule("r", vga, "a", one)];
    expect(given([g1, sound, g2], rules)).toEqual(["02 a"]);
    expect(reasons([g1, sound], rules)).toEqual(["01 iommu-group-blocked"]);
  });

  it("counts what its VM has already by a batch rule", () => {
    const rules = [
      aRule("fixed", { address: g2.address }, "a"),
      aSelectRule("r", vga, "a", { min: 2, max: 2 }),
    ];
    expect(given([g1, g2, g3], rules)).toEqual(["01 a", "02 a"]);
  });

  it("chooses nothing new before the inventory has settled, but keeps what it had", () => {
    const rules = [aSelectRule("r", vga, "a", { min: 1, max: 2 })];
    const settling = { inventoryMovedMs: 999_000 };
    expect(given([g1, g2], rules, settling)).toEqual([]);
    expect(reasons([g1, g2], rules, settling)).toEqual(["01 settling", "02 settling"]);
    expect(given([g1, g2], rules, settling, [had(g2, "a", "r")])).toEqual(["02 a"]);
  });

  it("does not choose anew a device that its VM has let go of", () => {
    const hold = {
      address: g1.address,
      vm: "a",
      appearance: g1.appearance,
      process: null,
      detail: "ejected",
      atMs: 1,
    };
    const rules = [aSelectRule("r", vga, "a", one)];
    const holds = [{ ...hold, cause: "ejected-by-guest" as const }];
    expect(given([g1, g2], rules, { holds })).toEqual(["02 a"]);
  });
});

describe("group", () => {
  it("sends each class to its own VM, and holds what has none", () => {
    const to = {
      kind: "map" as const,
      vms: new Map([
        ["0", "a"],
        ["1", "b"],
      ]),
    };
    const rules = [aGroupRule("r", vga, { classify: { kind: "key", key: "numaNode" }, to })];
    const devices = [aDevice(g1.address, { numaNode: 0 }), aDevice(g2.address, { numaNode: 1 }), g3];
    expect(given(devices, rules)).toEqual(["01 a", "02 b"]);
    expect(reasons(devices, rules)).toEqual(["03 no-class"]);
  });

  it("classifies by the first of its named selectors that matches", () => {
    const nvidia = { name: "nvidia", match: aRule("x", { vendor: "10de" }, "a").match };
    const rest = { name: "rest", match: aRule("x", { class: "vga" }, "a").match };
    const to = {
      kind: "map" as const,
      vms: new Map([
        ["nvidia", "a"],
        ["rest", "b"],
      ]),
    };
    const rules = [aGroupRule("r", vga, { classify: { kind: "named", classes: [nvidia, rest] }, to })];
    expect(given([g1, aDevice(g2.address, { vendor: "1002" })], rules)).toEqual(["01 a", "02 b"]);
  });

  it("spreads in turns, packs one VM full before the next, or shares by weight", () => {
    const vfs = Array.from({ length: 6 }, (_, index) => aDevice(`0000:0${index + 1}:00.0`));
    const count = (rules: readonly Rule[]) => {
      const vms = given(vfs, rules).map((entry) => entry.slice(3));
      return ["a", "b", "c"].map((vm) => vms.filter((entry) => entry === vm).length);
    };
    const spread = (sorting: Parameters<typeof aGroupRule>[2]) => [aGroupRule("r", vga, sorting)];
    expect(count(spread(spreadOver("address", ["a", "b", "c"])))).toEqual([2, 2, 2]);
    expect(count(spread(spreadOver("address", ["a", "b", "c"], "pack", { max: 4 })))).toEqual([4, 2, 0]);
    const weighted = spreadOver("address", ["a", "b"], "weight");
    const targets = [
      { vm: "a", weight: 2, max: 9 },
      { vm: "b", weight: 1, max: 9 },
    ];
    expect(count(spread({ ...weighted, to: { kind: "spread", how: "weight", targets } }))).toEqual([4, 2, 0]);
  });

  it("leaves what is spread where it is when another card comes in front", () => {
    const rules = [aGroupRule("r", vga, spreadOver("address", ["a", "b"]))];
    expect(given([g2, g3], rules)).toEqual(["02 a", "03 b"]);
    expect(given([g1, g2, g3], rules, {}, [had(g2, "a", "r"), had(g3, "b", "r")])).toEqual([
      "01 a",
      "02 a",
      "03 b",
    ]);
  });
});

describe("priority", () => {
  it("decides between exact claims; equal ones conflict unless both say onConflict: first", () => {
    const low = aRule("low", vga, "a");
    expect(given([g1], [low, aRule("high", vga, "b", { priority: 1 })])).toEqual(["01 b"]);
    expect(reasons([g1], [low, aRule("same", vga, "b")])).toEqual(["01 conflict"]);
    const first = { onConflict: "first" } as const;
    expect(given([g1], [aRule("x", vga, "a", first), aRule("y", vga, "b", first)])).toEqual(["01 a"]);
    expect(reasons([g1], [aRule("x", vga, "a", first), aRule("y", vga, "b")])).toEqual(["01 conflict"]);
  });

  it("lets a select rule take only from exact claims of a lower priority", () => {
    const all = aRule("all", vga, "b");
    expect(given([g1, g2], [aSelectRule("s", vga, "a", one), all])).toEqual(["01 b", "02 b"]);
    expect(given([g1, g2], [aSelectRule("s", vga, "a", one, { priority: 1 }), all])).toEqual([
      "01 a",
      "02 b",
    ]);
  });

  it("takes from a VM what it has only with preempt, and only from below", () => {
    const low = aRule("low", vga, "a");
    const leases = [had(g1, "a", "low")];
    const high = (traits: object) => aRule("high", vga, "b", { priority: 1, ...traits });
    expect(given([g1], [low, high({})], {}, leases)).toEqual(["01 a"]);
    expect(given([g1], [low, high({ preempt: true })], {}, leases)).toEqual(["01 b"]);
    const select = aSelectRule("s", vga, "a", one);
    expect(given([g1], [select, high({})], {}, [had(g1, "a", "s")])).toEqual(["01 a"]);
    expect(given([g1], [select, high({ preempt: true })], {}, [had(g1, "a", "s")])).toEqual(["01 b"]);
  });

  it("holds a device that a higher rule of another VM asks an unknown fact of, and no lower one does", () => {
    const serial = aRule("serial", { serial: "00-11*" }, "b", { priority: 1 });
    expect(reasons([g1], [aRule("low", vga, "a"), serial])).toEqual(["01 fact-unknown"]);
    expect(given([g1], [aRule("low", vga, "a"), { ...serial, priority: -1 }])).toEqual(["01 a"]);
  });

  it("puts an operator's attach above all rules", () => {
    const intents = {
      pins: [],
      reservations: [],
      quarantines: [],
      ports: [],
      orders: [{ address: g1.address, vm: "b", atMs: 1 }],
    };
    const rules = [aRule("r", vga, "a", { priority: 9 }), aRule("other", { class: "nvme" }, "b")];
    expect(given([g1, g2], rules, { intents })).toEqual(["01 b", "02 a"]);
  });
});

describe("what keeps a device from a VM", () => {
  const rule = aRule("r", vga, "a");
  const none = { pins: [], reservations: [], quarantines: [], orders: [], ports: [] };

  it("is a reservation for another VM, until it ends", () => {
    const reserve = (untilMs: number | null, vm = "b") => ({
      intents: { ...none, reservations: [{ address: g1.address, vm, untilMs, detail: "for a demo" }] },
    });
    expect(reasons([g1], [rule], reserve(null))).toEqual(["01 reserved"]);
    expect(given([g1], [rule], reserve(999_999))).toEqual(["01 a"]);
    expect(given([g1], [rule], reserve(null, "a"))).toEqual(["01 a"]);
    expect(given([g1], [aRule("other", { class: "nvme" }, "b")], reserve(null))).toEqual([]);
  });

  it("is a quarantine of this very card, until it is cleared", () => {
    const put = (facts: object) => ({
      intents: {
        ...none,
        quarantines: [
          {
            address: g1.address,
            identity: identityOf(g1),
            why: "used",
            atMs: 1,
            isCleared: false,
            ...facts,
          },
        ],
      },
    });
    expect(reasons([g1], [rule], put({}))).toEqual(["01 quarantined"]);
    expect(given([g1], [rule], put({ isCleared: true }))).toEqual(["01 a"]);
    expect(
      given([g1], [rule], put({ identity: identityOf(aDevice(g1.address, { device: "1eb8" })) })),
    ).toEqual(["01 a"]);
  });

  it("is never: before any priority; and allow: when the device is not in it", () => {
    const policy = (facts: Partial<Policy>) => aWorld({ devices: [g1, g2], policy: aPolicy([rule], facts) });
    const selector = aRule("x", { address: g1.address }, "a").match;
    const kinds = (world: World) =>
      assign(world).held.map(({ address, reason }) => `${address.slice(5, 7)} ${reason.kind}`);
    expect(kinds(policy({ never: [selector] }))).toEqual(["01 never"]);
    expect(kinds(policy({ allow: [selector] }))).toEqual(["02 not-allowed"]);
  });

  it("is a host that does not keep DMA apart, unless the rule accepts that", () => {
    const dma = { weaknesses: ["allow_unsafe_interrupts is on"] };
    expect(reasons([g1], [rule], { dma })).toEqual(["01 unsafe"]);
    expect(given([g1], [aRule("r", vga, "a", { acceptUnsafe: true })], { dma })).toEqual(["01 a"]);
  });

  it("is its own VM being down, when the rule says whenDown: next: then the next rule goes", () => {
    const rules = [aRule("r", vga, "a", { priority: 1, whenDown: "next" }), aRule("s", vga, "b")];
    const vms = new Map([["a", { kind: "absent" as const, sinceMs: 900_000, reason: "no socket" }]]);
    expect(given([g1], rules)).toEqual(["01 a"]);
    expect(given([g1], rules, { vms })).toEqual(["01 b"]);
    const justGone = new Map([["a", { kind: "absent" as const, sinceMs: 999_000, reason: "no socket" }]]);
    expect(given([g1], rules, { vms: justGone }, [had(g1, "a", "r")])).toEqual(["01 a"]);
    expect(given([g1], rules, { vms }, [had(g1, "a", "r")])).toEqual(["01 b"]);
  });
});

describe("units and companions", () => {
  const sound = aDevice("0000:01:00.1", { class: "040300", driver: "snd_hda_intel", iommuGroup: 1 });
  const members = (rule: Rule, devices = [g1, sound]) =>
    assign(aWorld({ devices, policy: aPolicy([rule]) })).units.map(
      ({ members: all, companions, bystanders }) => ({
        members: all,
        companions,
        bystanders,
      }),
    );

  it("take a whole card, or a whole IOMMU group, by the function that matches", () => {
    const both = [{ members: [g1.address, sound.address], companions: [], bystanders: [] }];
    expect(members(aRule("r", vga, "a", { unit: "card" }))).toEqual(both);
    expect(members(aRule("r", vga, "a", { unit: "iommu-group" }))).toEqual(both);
    expect(members(aRule("r", vga, "a", { companions: "attach" }))).toEqual(both);
  });

  it("leave a companion on a host driver in the way, or bind it and give it to nobody", () => {
    expect(members(aRule("r", vga, "a"))).toEqual([]);
    expect(members(aRule("r", vga, "a", { companions: "bind" }))).toEqual([
      { members: [g1.address], companions: [], bystanders: [sound.address] },
    ]);
  });

  it("hold a card over several IOMMU groups whole when one of them cannot be taken", () => {
    const apart = { ...sound, iommuGroup: 7 };
    const disk = aDevice("0000:09:00.0", { class: "010802", driver: "nvme", iommuGroup: 7 });
    const rule = aRule("r", vga, "a", { unit: "card" });
    expect(members(rule, [g1, apart])).toHaveLength(2);
    expect(members(rule, [g1, apart, disk])).toEqual([]);
    expect(reasons([g1, apart, disk], [rule])).toEqual(["01 unit-incomplete", "01 iommu-group-blocked"]);
  });
});
