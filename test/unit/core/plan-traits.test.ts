/** What rules say beside what they match, carried out: ports, properties, companions, where devices go afterwards. */
import { describe, expect, it } from "vitest";
import { identityOf } from "../../../src/core/device.js";
import { NO_INTENTS, type Quarantine } from "../../../src/core/intent.js";
import { plan, planAll } from "../../../src/core/plan.js";
import type { Rule } from "../../../src/core/policy.js";
import { reduce } from "../../../src/core/reduce.js";
import type { Signal } from "../../../src/core/signal.js";
import type { VmStatus } from "../../../src/core/vm.js";
import type { World } from "../../../src/core/world.js";
import {
  aDevice,
  aLease,
  anAddress,
  aPolicy,
  aPort,
  aRule,
  aSelectRule,
  attached,
  aWorld,
  up,
} from "../../support/builders.js";
import { runToRest } from "../../support/perfect.js";

const gpu = anAddress("0000:65:00.0");
const vga = { class: "vga" };
const card = aDevice(gpu);
const bound = { ...card, driver: "vfio-pci", lent: { driver: "nouveau" } };

function steps(world: World, lane = "a") {
  return plan(world, lane).steps;
}

function kinds(world: World, lane = "a") {
  const { steps: all, held } = plan(world, lane);
  return [...all.map((step) => step.kind), ...held.map(({ reason }) => reason.kind)];
}

function withRules(
  rules: readonly Rule[],
  more: Partial<Parameters<typeof aWorld>[0]> = {},
  facts: Partial<World> = {},
) {
  return aWorld({ devices: [card], policy: aPolicy(rules), vms: { a: up(), b: up() }, ...more }, facts);
}

describe("a rule's port and properties", () => {
  it("go into the attach of its device", () => {
    const rule = aRule("r", vga, "a", { port: "rp2", properties: { "x-vga": "on" } });
    const world = withRules([rule], { devices: [bound], leases: [aLease(bound, "a")] });
    expect(steps(world)).toMatchObject([
      { kind: "attach", placements: [{ bus: "rp2", rule: "r", properties: { "x-vga": "on" } }] },
    ]);
  });

  it("hold the device while that port is taken, though others are free", () => {
    const taken = up({ ports: [aPort("rp0"), aPort("rp2", { kind: "plugged", by: ["x"] })] });
    const world = withRules([aRule("r", vga, "a", { port: "rp2" })], { vms: { a: taken } });
    expect(plan(world, "a").held).toMatchObject([
      { reason: { kind: "port-not-free", port: "rp2", why: "it holds x" } },
    ]);
  });
});

describe("companions that are bound", () => {
  it("go to vfio-pci with the unit, into no VM, and back to their driver afterwards", () => {
    const sound = aDevice("0000:65:00.1", { class: "040300", driver: "snd_hda_intel" });
    const rules = [aRule("r", vga, "a", { companions: "bind" })];
    const taken = runToRest(withRules(rules, { devices: [card, sound] }));
    expect(taken.steps.map((step) => step.kind)).toEqual(["bind", "attach"]);
    expect(taken.world.devices.get(sound.address)?.driver).toBe("vfio-pci");
    expect(planAll(taken.world).held).toEqual([]);
    const given = runToRest({ ...taken.world, policy: aPolicy([], { version: "v2" }) });
    expect(given.steps.map((step) => step.kind)).toEqual(["detach", "release", "release"]);
    expect(given.world.devices.get(sound.address)?.driver).toBe("snd_hda_intel");
    expect(given.world.leases.size).toBe(0);
  });
});

describe("a device whose VM has done with it", () => {
  const nobody = aPolicy([aRule("other", { class: "nvme" }, "b")], { version: "v2" });

  it("waits on vfio-pci for the next VM with release: vfio, which takes over what it was", () => {
    const lease = aLease(bound, "a", { release: "vfio", original: { driver: "nouveau", override: "x" } });
    const parked = aWorld({ devices: [bound], policy: nobody, vms: { a: up(), b: up() }, leases: [lease] });
    expect(kinds(parked)).toEqual([]);
    const next = { ...parked, policy: aPolicy([aRule("next", vga, "b")], { version: "v3" }) };
    expect(steps(next, "b")).toMatchObject([{ kind: "bind", vm: "b" }]);
    const { world } = runToRest(next);
    expect(world.leases.get(gpu)).toMatchObject({ vm: "b", original: { driver: "nouveau", override: "x" } });
    expect(planAll(world).steps).toEqual([]);
  });

  it("lets a neighbour that waits on vfio-pci as well be where it is, and waits for one that is still in a VM", () => {
    const sound = aDevice("0000:65:00.1", { driver: "vfio-pci" });
    const parked = (vms: Record<string, VmStatus>) =>
      aWorld({
        devices: [bound, sound],
        policy: aPolicy([aRule("next", { address: gpu }, "b")]),
        vms,
        leases: [
          aLease(bound, "a", { rule: "gone", release: "vfio" }),
          aLease(sound, "a", { rule: "gone", release: "vfio" }),
        ],
      });
    const { steps: done, world } = runToRest(parked({ a: up(), b: up() }));
    expect(done.map((step) => step.kind)).toEqual(["bind", "attach"]);
    expect(world.leases.get(sound.address)).toMatchObject({ vm: "a", role: "claimed", release: "vfio" });
    const stillIn = parked({ a: up({ attached: [attached(sound.address)] }), b: up() });
    expect(plan(stillIn, "b")).toMatchObject({
      steps: [],
      held: [{ address: gpu, reason: { kind: "iommu-group-in-vm", vm: "a", member: sound.address } }],
    });
  });

  it("is kept from everyone with release: quarantine, until it is cleared, and then goes back to the host", () => {
    const lease = aLease(bound, "a", { release: "quarantine" });
    const start = aWorld({ devices: [bound], policy: nobody, vms: { a: up(), b: up() }, leases: [lease] });
    const { world, steps: done } = runToRest(start);
    expect(done.map((step) => step.kind)).toEqual(["quarantine"]);
    expect(kinds(world)).toEqual(["quarantined"]);
    const wanted = { ...world, policy: aPolicy([aRule("r", vga, "b")], { version: "v3" }) };
    expect(planAll(wanted).steps).toEqual([]);
    const cleared = reduce(world, { kind: "quarantine-cleared", atMs: world.nowMs, address: gpu });
    const end = runToRest(cleared);
    expect(end.steps.map((step) => step.kind)).toEqual(["release"]);
    expect(end.world.intents.quarantines).toEqual([]);
  });

  it("stays where it is when its rule is gone and said onRuleGone: keep, and costs nothing of the limit", () => {
    const lease = aLease(bound, "a", { rule: "gone", isKeptWithoutRule: true });
    const world = aWorld({
      devices: [bound],
      policy: nobody,
      vms: { a: up({ attached: [attached(gpu)] }), b: up() },
      leases: [lease],
    });
    expect(kinds(world)).toEqual(["kept-without-rule"]);
  });

  it("leaves for a rule that preempts it, whatever the detach limit says", () => {
    const rules = [aRule("low", vga, "a"), aRule("high", vga, "b", { priority: 1, preempt: true })];
    const policy = aPolicy(rules, { limits: { detachPerChange: 0, keepAfterVmGoneMs: 60_000 } });
    const world = aWorld({
      devices: [bound],
      policy,
      vms: { a: up({ attached: [attached(gpu)] }), b: up() },
      leases: [aLease(bound, "a", { rule: "low" })],
    });
    expect(steps(world)).toMatchObject([{ kind: "detach", why: "rule high goes first and preempts" }]);
    expect(kinds(world, "b")).toEqual(["in-vm-elsewhere"]);
    const { world: end, steps: done } = runToRest(world);
    expect(done.map((step) => step.kind)).toEqual(["detach", "release", "bind", "attach"]);
    expect(end.leases.get(gpu)?.vm).toBe("b");
  });

  it("is detached when a select rule wants fewer, the least liked first", () => {
    const other = { ...bound, ...aDevice("0000:66:00.0"), driver: "vfio-pci", lent: { driver: "nouveau" } };
    const policy = aPolicy([aSelectRule("s", vga, "a", { min: 1, max: 1 })]);
    const world = aWorld({
      devices: [bound, other],
      policy,
      vms: { a: up({ attached: [attached(gpu), attached(other.address, "rp1")] }) },
      leases: [aLease(bound, "a", { rule: "s" }), aLease(other, "a", { rule: "s" })],
    });
    expect(steps(world)).toMatchObject([{ kind: "detach", address: other.address }]);
  });
});

describe("what the world learns", () => {
  it("is each card that a VM got by a pinned rule, once", () => {
    const rule = aRule("r", vga, "a", { isPinned: true });
    const first = runToRest(withRules([rule], { devices: [{ ...card, path: "0000:00/1c.0/00.0" }] })).world;
    expect(first.intents.pins).toMatchObject([{ rule: "r", address: gpu, path: "0000:00/1c.0/00.0" }]);
    const detached = runToRest({ ...first, policy: aPolicy([], { version: "v2" }) }).world;
    const again = runToRest({ ...detached, policy: aPolicy([rule], { version: "v3" }) }).world;
    expect(again.intents.pins).toHaveLength(1);
  });

  it("is when the inventory has come to rest, after which select rules choose for good", () => {
    const rules = [aSelectRule("s", vga, "a", { min: 1, max: 1 })];
    const see = (world: World, atMs: number, devices = [card]): World =>
      reduce(world, {
        kind: "host-seen",
        atMs,
        source: "rescan",
        devices,
        protections: new Map(),
        dma: { weaknesses: [] },
      });
    const start: Signal = {
      kind: "start",
      atMs: 1_000_000,
      bootId: "boot-1",
      mode: "act",
      isDetachConfirmed: false,
    };
    const begun = reduce({ ...withRules(rules), devices: new Map() }, start);
    const seen = see(begun, 1_000_500);
    expect(kinds(seen)).not.toContain("bind");
    const moved = see(seen, 1_002_000, [card, aDevice("0000:66:00.0")]);
    const early = reduce(moved, { kind: "tick", atMs: 1_003_000 });
    expect(steps(early)).toEqual([]);
    const settled = reduce(early, { kind: "tick", atMs: 1_004_000 });
    expect(steps(settled)).toMatchObject([{ kind: "bind" }]);
    const later = see(settled, 1_005_000, [card, aDevice("0000:66:00.0"), aDevice("0000:67:00.0")]);
    expect(later.inventoryMovedMs).toBeNull();
  });

  it("is a quarantine of one card only, which another one at the address does not inherit", () => {
    const quarantine: Quarantine = {
      address: gpu,
      identity: identityOf(card),
      why: "used",
      atMs: 1,
      isCleared: false,
    };
    const world = withRules(
      [aRule("r", vga, "a")],
      {},
      { intents: { ...NO_INTENTS, quarantines: [quarantine] } },
    );
    expect(steps(world)).toEqual([]);
    const swapped = {
      ...world,
      devices: new Map([[gpu, { ...card, device: "1eb8", appearance: "another" }]]),
    };
    expect(steps(swapped)).toMatchObject([{ kind: "bind" }]);
  });
});
