import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { assign } from "../../../src/core/assign.js";
import { backoffMs, backoffOf } from "../../../src/core/backoff.js";
import { NO_INTENTS } from "../../../src/core/intent.js";
import { plan } from "../../../src/core/plan.js";
import { reduce } from "../../../src/core/reduce.js";
import type { Signal } from "../../../src/core/signal.js";
import type { Outcome, Step } from "../../../src/core/step.js";
import { emptyWorld, type World } from "../../../src/core/world.js";
import {
  aDevice,
  aLease,
  anAddress,
  aPolicy,
  aProcess,
  aRule,
  attached,
  aWorld,
  up,
} from "../../support/builders.js";

const gpu = anAddress("0000:65:00.0");
const id = "pciplug-0000-65-00.0";
const device = aDevice(gpu, { driver: "vfio-pci" });
const policy = aPolicy([aRule("gpu", { vendor: "10de" }, "a")]);
const inVm = aWorld({
  devices: [device],
  policy,
  vms: { a: up({ attached: [attached(gpu)] }) },
  leases: [aLease(device, "a")],
});

const deleted: Signal = { kind: "device-deleted", atMs: 1_000_100, vm: "a", id };
const detach: Step = { kind: "detach", vm: "a", id, address: gpu, why: "test" };

function seen(devices: readonly (typeof device)[], atMs = 1_000_200): Signal {
  return {
    kind: "host-seen",
    atMs,
    source: "udevadm",
    devices,
    protections: new Map(),
    dma: { weaknesses: [] },
  };
}
function ended(step: Step, outcome: Outcome, atMs = 1_000_000): Signal {
  return { kind: "step-ended", atMs, lane: "a", step, outcome };
}
function told(world: World, ...signals: Signal[]): World {
  return signals.reduce(reduce, world);
}

describe("reduce: holds", () => {
  it("puts a device on hold that the guest ejected without being asked, and does not push it back in", () => {
    const world = told(inVm, deleted);
    expect(world.holds).toMatchObject([{ address: gpu, vm: "a", cause: "ejected-by-guest" }]);
    expect(plan(world, "a")).toMatchObject({ steps: [], held: [{ reason: { kind: "hold" } }] });
  });

  it.each([
    ["it was asked to leave and is pending", told(inVm, ended(detach, { kind: "pending" }))],
    ["a detach is under way", told(inVm, { kind: "step-started", atMs: 1, lane: "a", step: detach })],
  ])("makes no hold of a deletion when %s", (_, world) => {
    expect(told(world, deleted).holds).toEqual([]);
  });

  it("ends the hold when the card goes and comes back", () => {
    const held = told(inVm, deleted);
    expect(told(held, seen([])).holds).toEqual([]);
    expect(told(held, seen([{ ...device, appearance: "inode-new" }])).holds).toEqual([]);
    expect(told(held, seen([device])).holds).toHaveLength(1);
  });

  it("ends the hold with the QEMU process that it speaks of, and not because the monitor is busy", () => {
    const held = told(inVm, deleted);
    const vmSeen = (status: World["vms"] extends ReadonlyMap<string, infer S> ? S : never): Signal => ({
      kind: "vm-seen",
      atMs: 1_000_300,
      vm: "a",
      status,
    });
    expect(told(held, vmSeen(up())).holds).toHaveLength(1);
    expect(told(held, vmSeen({ kind: "unreachable", code: "x", reason: "busy" })).holds).toHaveLength(1);
    expect(told(held, vmSeen(up({ process: aProcess({ pid: 9 }) }))).holds).toEqual([]);
    expect(told(held, vmSeen({ kind: "absent", sinceMs: 1, reason: "gone" })).holds).toEqual([]);
  });

  it("puts a leased device on hold whose driver somebody else changed, but not one that we are moving", () => {
    const bound = { ...inVm, vms: new Map([["a", up()]]) };
    const taken = seen([{ ...device, driver: "nouveau" }]);
    expect(told(bound, taken).holds).toMatchObject([{ cause: "driver-changed" }]);
    const release: Step = { kind: "release", vm: "a", address: gpu, why: "test" };
    const moving = told(bound, { kind: "step-started", atMs: 1, lane: "a", step: release });
    expect(told(moving, taken).holds).toEqual([]);
  });
});

describe("reduce: back-off", () => {
  const bind: Step = {
    kind: "bind",
    vm: "a",
    rule: "gpu",
    iommuGroup: 0x65,
    members: [gpu],
    companions: [],
    bystanders: [],
    terms: {},
  };
  const fail: Outcome = { kind: "failed", code: "host.bind-failed", detail: "no" };
  const idle = aWorld({ devices: [aDevice(gpu)], policy, vms: { a: up() } });

  it("doubles from one second to five minutes", () => {
    expect([1, 2, 3, 9, 10, 40].map(backoffMs)).toEqual([1_000, 2_000, 4_000, 256_000, 300_000, 300_000]);
    let world = idle;
    for (const failures of [1, 2, 3]) {
      world = told(world, ended(bind, fail));
      expect(backoffOf(world, "arrive", "a", gpu)).toMatchObject({
        failures,
        untilMs: 1_000_000 + backoffMs(failures),
      });
    }
    expect(plan(world, "a")).toMatchObject({ steps: [], held: [{ reason: { kind: "backing-off" } }] });
    expect(plan({ ...world, nowMs: 1_004_000 }, "a").steps).toHaveLength(1);
  });

  it("is reset by a change of the device, of the VM's process or of the policy", () => {
    const world = told(idle, ended(bind, fail));
    expect(plan(world, "a").steps).toEqual([]);
    const changes: World[] = [
      told(world, seen([aDevice(gpu, { appearance: "inode-new" })])),
      { ...world, vms: new Map([["a", up({ process: aProcess({ pid: 9 }) })]]) },
      { ...world, policy: { ...policy, version: "v2" } },
    ];
    expect(changes.map((changed) => plan(changed, "a").steps.length)).toEqual([1, 1, 1]);
  });

  it("waits for such a change after a refusal that is final, and gives the card back meanwhile", () => {
    const attach: Step = { kind: "attach", vm: "a", iommuGroups: [0x65], placements: [], nodeOwner: null };
    const bound = aWorld({ devices: [device], policy, vms: { a: up() }, leases: [aLease(device, "a")] });
    const placed = {
      ...attach,
      placements: [{ address: gpu, id, bus: "rp0", addr: "0", rule: "r", properties: {} }],
    };
    const refused: Outcome = { kind: "refused", reason: "no-iommu", detail: "no" };
    const world = told(bound, ended(placed, refused));
    expect(plan(world, "a").steps).toMatchObject([{ kind: "release" }]);
    const released = { ...world, leases: new Map() };
    expect(plan(released, "a")).toMatchObject({ steps: [], held: [{ reason: { kind: "refused" } }] });
  });
});

describe("reduce: facts", () => {
  it("forgets a pending unplug once the VM does not list the device any more, or is gone", () => {
    const pending = told(inVm, ended(detach, { kind: "pending" }));
    expect(pending.unplugs.size).toBe(1);
    const gone: Signal = { kind: "vm-seen", atMs: 2, vm: "a", status: up() };
    const still: Signal = { kind: "vm-seen", atMs: 2, vm: "a", status: up({ attached: [attached(gpu)] }) };
    const busy: Signal = {
      kind: "vm-seen",
      atMs: 2,
      vm: "a",
      status: { kind: "unreachable", code: "x", reason: "busy" },
    };
    expect([gone, still, busy].map((signal) => told(pending, signal).unplugs.size)).toEqual([0, 1, 1]);
    expect(told(pending, deleted).unplugs.size).toBe(0);
  });

  it("keeps the moment at which a VM went absent", () => {
    const absent = (sinceMs: number): Signal => ({
      kind: "vm-seen",
      atMs: sinceMs,
      vm: "a",
      status: { kind: "absent", sinceMs, reason: "no socket" },
    });
    expect(told(inVm, absent(5), absent(9)).vms.get("a")).toMatchObject({ sinceMs: 5 });
  });

  it("keeps the very same map of devices when a look shows nothing new", () => {
    const once = told(inVm, seen([device]));
    expect(told(once, seen([{ ...device }])).devices).toBe(once.devices);
    expect(told(once, seen([{ ...device, driver: null }])).devices).not.toBe(once.devices);
  });

  it("never lets time run backwards", () => {
    expect(told(inVm, { kind: "tick", atMs: 5 }).nowMs).toBe(inVm.nowMs);
  });

  it("leads to the same assignment in whatever order the first facts are told", () => {
    const facts: Signal[] = [
      { kind: "start", atMs: 1, bootId: "boot-1", mode: "act", isDetachConfirmed: false },
      { kind: "policy-loaded", atMs: 2, policy },
      seen([device, aDevice("0000:17:00.0"), aDevice("0000:18:00.0", { vendor: "8086" })]),
      { kind: "vm-seen", atMs: 3, vm: "a", status: up() },
      { kind: "vm-seen", atMs: 4, vm: "b", status: { kind: "absent", sinceMs: 4, reason: "gone" } },
      { kind: "leases-written", leases: [aLease(device, "a")] },
      { kind: "intents-read", holds: [], intents: NO_INTENTS, isDamaged: false },
    ];
    const decided = (order: readonly Signal[]) => {
      const { units, held } = assign(told(emptyWorld, ...order));
      return JSON.stringify({ units, held });
    };
    const wanted = decided(facts);
    expect(JSON.parse(wanted)).toMatchObject({ units: [{ vm: "a" }, { vm: "a" }] });
    fc.assert(
      fc.property(fc.shuffledSubarray(facts, { minLength: facts.length }), (order) => {
        expect(decided(order)).toBe(wanted);
      }),
    );
  });

  it("ends in the same state when any fact is told twice", () => {
    const facts: fc.Arbitrary<Signal> = fc.oneof(
      fc.constantFrom<Signal>(
        seen([device]),
        seen([]),
        seen([{ ...device, driver: null }]),
        { kind: "vm-seen", atMs: 3, vm: "a", status: up() },
        { kind: "vm-seen", atMs: 3, vm: "a", status: up({ attached: [attached(gpu)] }) },
        { kind: "vm-seen", atMs: 3, vm: "a", status: { kind: "absent", sinceMs: 3, reason: "gone" } },
        { kind: "leases-written", leases: [] },
        { kind: "leases-written", leases: [aLease(device, "a")] },
        { kind: "tick", atMs: 2_000_000 },
        deleted,
      ),
    );
    fc.assert(
      fc.property(fc.array(facts, { maxLength: 12 }), facts, (before, fact) => {
        const world = told(inVm, ...before);
        const once = told(world, fact);
        expect(told(once, fact)).toEqual(once);
      }),
    );
  });
});
