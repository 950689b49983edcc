/** What a second reader of the decisions found: each a way in which something could have been lost, taken or repeated. */
import { describe, expect, it } from "vitest";
import { assign } from "../../../src/core/assign.js";
import { plan } from "../../../src/core/plan.js";
import { reduce } from "../../../src/core/reduce.js";
import type { Signal } from "../../../src/core/signal.js";
import type { Step } from "../../../src/core/step.js";
import type { World } from "../../../src/core/world.js";
import {
  aDevice,
  aLease,
  anAddress,
  aPolicy,
  aPort,
  aProcess,
  aRule,
  attached,
  aWorld,
  up,
} from "../../support/builders.js";

const gpu = anAddress("0000:65:00.0");
const audio = anAddress("0000:65:00.1");
const nic = anAddress("0000:17:00.0");
const bound = aDevice(gpu, { driver: "vfio-pci" });
const gpus = aPolicy([aRule("gpu", { vendor: "10de" }, "a")]);
const twoVms = aPolicy([], {
  vms: [
    { name: "a", qmp: "/a" },
    { name: "b", qmp: "/b" },
  ],
});
const kindsOf = (world: World, lane = "a") => plan(world, lane).steps.map((step) => step.kind);
const fails = (world: World, step: Step): World =>
  reduce(world, {
    kind: "step-ended",
    atMs: world.nowMs,
    lane: "a",
    step,
    outcome: { kind: "failed", code: "audit.write-failed", detail: "disk full" },
  });

describe("notes in the ledger", () => {
  it.each([
    ["forget", aWorld({ policy: gpus, vms: { a: up() }, leases: [aLease(bound, "a")] })],
    ["adopt", aWorld({ policy: gpus, devices: [bound], vms: { a: up({ attached: [attached(gpu)] }) } })],
  ])("rest after a failure as every other step does (%s)", (kind, world) => {
    const step = plan(world, "a").steps[0];
    expect(step?.kind).toBe(kind);
    if (step !== undefined) {
      const after = fails(world, step);
      expect(kindsOf(after)).toEqual([]);
      expect(kindsOf({ ...after, nowMs: after.nowMs + 1_000 })).toEqual([kind]);
    }
  });
});

describe("a hostile QEMU", () => {
  it("cannot keep a device from the VM that it is leased to, nor from being given back", () => {
    const liar = up({ attached: [attached(gpu)] });
    const world = aWorld({
      devices: [bound],
      policy: { ...twoVms, rules: gpus.rules },
      vms: { a: up(), b: liar },
      leases: [aLease(bound, "a")],
    });
    expect(kindsOf(world)).toEqual(["attach"]);
    expect(kindsOf({ ...world, policy: twoVms })).toEqual(["release"]);
  });
});

describe("the detach limit", () => {
  it("does not wear away when the lost devices go one by one", () => {
    const second = aDevice(nic, { driver: "vfio-pci" });
    const world = aWorld({
      devices: [bound, second],
      policy: twoVms,
      vms: { a: up({ attached: [attached(gpu)] }), b: up({ attached: [attached(nic)] }) },
      leases: [aLease(bound, "a"), aLease(second, "b")],
    });
    const barred = reduce(world, { kind: "detach-barred", policy: "v1", count: 2 });
    const oneGone = reduce(barred, {
      kind: "vm-seen",
      atMs: 2,
      vm: "a",
      status: { kind: "absent", sinceMs: 2, reason: "gone" },
    });
    expect(plan(oneGone, "b")).toMatchObject({
      steps: [],
      held: [{ reason: { kind: "detach-limit", count: 2 } }],
    });
    expect(kindsOf({ ...oneGone, policy: { ...twoVms, version: "v2" } }, "b")).toEqual(["detach"]);
  });
});

describe("a process that could not be found", () => {
  const deleted: Signal = { kind: "device-deleted", atMs: 1, vm: "a", id: "pciplug-0000-65-00.0" };
  const seen = (process: ReturnType<typeof aProcess> | null): Signal => ({
    kind: "vm-seen",
    atMs: 2,
    vm: "a",
    status: up({ process }),
  });
  const inVm = aWorld({
    devices: [bound],
    policy: gpus,
    vms: { a: up({ attached: [attached(gpu)] }) },
    leases: [aLease(bound, "a")],
  });

  it("does not end a hold", () => {
    const world = [deleted, seen(null)].reduce(reduce, inVm);
    expect(world.holds).toHaveLength(1);
    expect(reduce(world, seen(aProcess({ pid: 9 }))).holds).toEqual([]);
  });

  it("does not end a rest", () => {
    const idle = aWorld({ devices: [aDevice(gpu)], policy: gpus, vms: { a: up({ process: null }) } });
    const step: Step = {
      kind: "bind",
      vm: "a",
      rule: "gpu",
      iommuGroup: 0x65,
      members: [gpu],
      companions: [],
      bystanders: [],
      terms: {},
    };
    expect(kindsOf(reduce(fails(idle, step), seen(aProcess())))).toEqual([]);
  });
});

describe("a device without a QEMU id", () => {
  it("has its pending unplug remembered by its QOM path", () => {
    const path = "/machine/peripheral-anon/device[0]";
    const world = aWorld({
      devices: [bound],
      policy: aPolicy([]),
      vms: { a: up({ attached: [attached(gpu, "rp0", { id: null, path })] }) },
      leases: [aLease(bound, "a")],
    });
    const step = plan(world, "a").steps[0];
    expect(step).toMatchObject({ kind: "detach", id: path });
    if (step !== undefined) {
      const outcome = { kind: "pending" } as const;
      const asked = reduce(world, { kind: "step-ended", atMs: world.nowMs, lane: "a", step, outcome });
      expect(plan(asked, "a")).toMatchObject({ steps: [], held: [{ reason: { kind: "unplug-pending" } }] });
    }
  });
});

describe("an unplug whose answer was lost", () => {
  it("is still our own doing when the device then leaves", () => {
    const world = aWorld({
      devices: [bound],
      policy: aPolicy([]),
      vms: { a: up({ attached: [attached(gpu)] }) },
      leases: [aLease(bound, "a")],
    });
    const id = "pciplug-0000-65-00.0";
    const step: Step = { kind: "detach", vm: "a", id, address: gpu, why: "test" };
    const outcome = { kind: "timed-out", detail: "no answer" } as const;
    const lost = reduce(world, { kind: "step-ended", atMs: 1, lane: "a", step, outcome });
    expect(reduce(lost, { kind: "device-deleted", atMs: 2, vm: "a", id }).holds).toEqual([]);
  });
});

describe("a companion", () => {
  const policy = aPolicy([aRule("gpu", { address: gpu }, "a")]);
  const original = { driver: null, override: null };

  it("that a vfio driver picked up by its override does not block its own IOMMU group", () => {
    const companion = aDevice(audio, { driver: "vfio-pci" });
    const lease = aLease(companion, "a", { role: "companion", original });
    expect(
      assign(aWorld({ devices: [aDevice(gpu), companion], policy, leases: [lease] })).units,
    ).toHaveLength(1);
    expect(assign(aWorld({ devices: [aDevice(gpu), companion], policy })).units).toEqual([]);
  });

  it("is overridden again when its unit is bound again, as a crash may have come between lease and write", () => {
    const companion = aDevice(audio, { driver: null });
    const lease = aLease(companion, "a", { role: "companion", original });
    const leases = [lease, aLease(aDevice(gpu), "a")];
    const world = aWorld({ devices: [aDevice(gpu), companion], policy, vms: { a: up() }, leases });
    expect(plan(world, "a").steps).toMatchObject([{ kind: "bind", companions: [audio] }]);
  });
});

describe("ports", () => {
  it("are not kept for a device that waits for something else", () => {
    const refused = aDevice(nic, { driver: "vfio-pci" });
    const world = aWorld(
      {
        devices: [refused, bound],
        policy: gpus,
        vms: { a: up({ ports: [aPort("rp0")] }) },
        leases: [aLease(refused, "a"), aLease(bound, "a")],
      },
      {
        holds: [
          {
            address: nic,
            vm: "a",
            appearance: refused.appearance,
            process: "4711:100",
            cause: "ejected-by-guest",
            detail: "test",
            atMs: 0,
          },
        ],
      },
    );
    expect(plan(world, "a").steps).toMatchObject([
      { kind: "attach", placements: [{ address: gpu, bus: "rp0" }] },
    ]);
  });
});

describe("a fact that could not be read", () => {
  it("does not make a card another one", () => {
    const { subsystemVendor: _, ...partly } = bound;
    const world = aWorld({
      devices: [partly],
      policy: gpus,
      vms: { a: up({ attached: [attached(gpu)] }) },
      leases: [aLease(bound, "a")],
    });
    expect(kindsOf(world)).toEqual([]);
  });
});
