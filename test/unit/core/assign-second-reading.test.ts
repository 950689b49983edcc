/** What a second reader of the modes found, each as the law wants it (semantics.md 2 to 8). */
import { describe, expect, it } from "vitest";
import { assign } from "../../../src/core/assign.js";
import { type Device, identityOf } from "../../../src/core/device.js";
import { NO_INTENTS, type Pin, type Quarantine } from "../../../src/core/intent.js";
import { planAll } from "../../../src/core/plan.js";
import type { Policy } from "../../../src/core/policy.js";
import { reduce } from "../../../src/core/reduce.js";
import type { World } from "../../../src/core/world.js";
import {
  aDevice,
  aGroupRule,
  aLease,
  aPolicy,
  aRule,
  aSelectRule,
  attached,
  aWorld,
  protectedBy,
  spreadOver,
  up,
} from "../../support/builders.js";

const card = aDevice("0000:01:00.0", { driver: "vfio-pci" });
const other = aDevice("0000:02:00.0", { driver: "nouveau" });
const bySerial = { serial: "00-11-22-33-44-55-66-77" };

/** A VM that has these devices by a rule. */
function running(policy: Policy, devices: readonly Device[] = [card], rule = "r"): World {
  return aWorld({
    devices: [...devices, other],
    policy,
    vms: {
      a: up({ attached: devices.map(({ address }, index) => attached(address, `rp${index}`)) }),
      b: up(),
    },
    leases: devices.map((device) => aLease(device, "a", { rule })),
  });
}

function moves(world: World): string[] {
  return planAll(world).steps.map((step) => step.kind);
}

describe("a fact that is not read yet takes nothing out of a VM", () => {
  const rule = aRule("r", { address: card.address }, "a");
  const selector = (raw: Parameters<typeof aRule>[1]) => aRule("x", raw, "a").match;

  it.each([
    ["never", { never: [selector(bySerial)] }],
    ["allow", { allow: [selector({ udev: { ID_X: "*" } })] }],
  ])("when a new %s asks for it", (_, facts) => {
    const world = running(aPolicy([rule]));
    const policy = aPolicy([rule], { version: "v2", ...facts });
    expect(moves(reduce(world, { kind: "policy-loaded", atMs: world.nowMs, policy }))).toEqual([]);
  });

  it("when a select rule's alternative or a group rule's class asks for it", () => {
    const alternatives = [{ match: selector(bySerial), count: { min: 1, max: 1 } }];
    const select = aSelectRule("r", { address: card.address }, "a", { min: 1, max: 1 }, { alternatives });
    expect(moves(running(aPolicy([select])))).toEqual([]);
    const classes = [{ name: "x", match: selector(bySerial) }];
    const to = { kind: "map" as const, vms: new Map([["x", "a"]]) };
    const group = aGroupRule("r", { address: card.address }, { classify: { kind: "named", classes }, to });
    expect(moves(running(aPolicy([group])))).toEqual([]);
  });
});

describe("what a VM has", () => {
  it("is not swapped for another card because a neighbour came into its IOMMU group", () => {
    const rule = aSelectRule("r", { device: "2204" }, "a", { min: 1, max: 1 });
    const neighbour = aDevice("0000:01:00.1", { device: "9999", driver: "e1000" });
    const world = running(aPolicy([rule]));
    expect(moves({ ...world, devices: new Map(world.devices).set(neighbour.address, neighbour) })).toEqual(
      [],
    );
  });

  it("leaves within the limits of a change when its own rule is gone, though another one preempts", () => {
    const devices = [card, aDevice("0000:03:00.0", { driver: "vfio-pci" })];
    const taker = aRule("p", { address: "0000:0[13]:*" }, "b", { preempt: true });
    expect(moves(running(aPolicy([taker]), devices, "gone"))).toEqual([]);
  });

  it("stays when a rule of equal priority turns up that wants it too", () => {
    const rules = [aRule("r", { vendor: "10de" }, "a"), aRule("s", { address: card.address }, "b")];
    const { byDevice } = assign(running(aPolicy(rules)));
    expect(byDevice.get(card.address)?.vm).toBe("a");
  });
});

describe("what must not be taken", () => {
  it("is a protected companion that is not the card its override expects", () => {
    const expected = { vendor: "10de", device: "2204", subsystemVendor: "1458", subsystemDevice: "403b" };
    const [named, along] = [
      aDevice("0000:01:00.0", { serial: null }),
      aDevice("0000:01:00.1", { device: "ffff", serial: null }),
    ];
    const rule = aRule("r", { address: [named.address, along.address] }, "a", {
      unit: "iommu-group",
      isOverride: true,
      expect: expected,
    });
    const protections = new Map([[along.address, protectedBy("it carries the default route")]]);
    const world = aWorld({ devices: [named, along], policy: aPolicy([rule]) }, { protections });
    expect(assign(world).byDevice.size).toBe(0);
  });

  const gpu = aDevice("0000:01:00.0");
  const sound = aDevice("0000:01:00.1", { class: "040300", driver: "snd_hda_intel" });
  const binding = aRule("r", { address: gpu.address }, "a", { companions: "bind" });
  const quarantine: Quarantine = {
    address: sound.address,
    identity: identityOf(sound),
    why: "used",
    atMs: 1,
    isCleared: false,
  };
  it.each<[string, Partial<Policy>, Partial<World>, Device]>([
    ["is under never", { never: [aRule("x", { address: sound.address }, "a").match] }, {}, sound],
    [
      "is reserved for another VM",
      {},
      {
        intents: {
          ...NO_INTENTS,
          reservations: [{ address: sound.address, vm: "b", untilMs: null, detail: "" }],
        },
      },
      sound,
    ],
    ["is in quarantine", {}, { intents: { ...NO_INTENTS, quarantines: [quarantine] } }, sound],
    [
      "is in quarantine since an earlier boot",
      {},
      { intents: { ...NO_INTENTS, quarantines: [quarantine] } },
      { ...sound, appearance: "inode-of-this-boot" },
    ],
    [
      "belongs to a VM that is gone from the file",
      {},
      { leases: new Map([[sound.address, aLease(sound, "gone")]]) },
      sound,
    ],
  ])("is a neighbour that %s, though the rule binds companions", (_, policy, facts, neighbour) => {
    const world = aWorld({ devices: [gpu, neighbour], policy: aPolicy([binding], policy) }, facts);
    expect(assign(world).byDevice.size).toBe(0);
  });

  it("is a card of a pinned model whose serial number is not read, nor is it learnt in the other's place", () => {
    const rule = aRule("r", { address: card.address }, "a", { isPinned: true });
    const pin: Pin = {
      rule: "r",
      address: card.address,
      path: null,
      serial: "S1",
      identity: identityOf(card),
    };
    const world = aWorld(
      { devices: [card], policy: aPolicy([rule]) },
      { intents: { ...NO_INTENTS, pins: [pin] } },
    );
    expect(assign(world).byDevice.size).toBe(0);
    const edited = aPolicy([aRule("r", { address: other.address }, "a", { isPinned: true })]);
    const devices = new Map([card, other].map((device) => [device.address, device] as const));
    expect([...assign({ ...world, devices, policy: edited }).byDevice.keys()]).toEqual([other.address]);
  });
});

describe("a unit that grows by a function which is another VM's", () => {
  it("leaves what its VM has of it there, though the whole of it cannot be had any more", () => {
    const has = (address: string, iommuGroup: number) =>
      aDevice(address, { iommuGroup, driver: "vfio-pci", lent: { driver: "nouveau" } });
    const [first, theirs] = [has("0000:01:00.0", 1), has("0000:02:00.1", 6)];
    const added = aDevice("0000:01:00.1", { iommuGroup: 6 });
    const traits = { unit: "card", companions: "attach" } as const;
    const rules = [
      aGroupRule("r0", { vendor: "10de" }, spreadOver("address", ["b"]), traits),
      aSelectRule("r1", { address: "*:00.1" }, "a", { min: 0, max: 2 }, { unit: "card", priority: 1 }),
    ];
    const leases = [aLease(first, "b", { rule: "r0" }), aLease(theirs, "a", { rule: "r1" })];
    const { staying, byDevice } = assign(
      aWorld({ devices: [first, added, theirs], policy: aPolicy(rules), leases }),
    );
    expect([staying.get(first.address)?.has("b"), staying.get(theirs.address)?.has("a")]).toEqual([
      true,
      true,
    ]);
    expect(byDevice.get(first.address)?.vm).not.toBe("a");
  });
});
