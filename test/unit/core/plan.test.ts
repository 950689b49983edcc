import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { qemuIdOf } from "../../../src/core/address.js";
import { HOST_LANE, nextDueMs, plan, planAll } from "../../../src/core/plan.js";
import { reduce } from "../../../src/core/reduce.js";
import type { StepOf } from "../../../src/core/step.js";
import {
  aDevice,
  aLease,
  anAddress,
  aPolicy,
  aPort,
  aProcess,
  aRule,
  attached,
  aView,
  aWorld,
  up,
} from "../../support/builders.js";
import { runToRest } from "../../support/perfect.js";

const gpu = anAddress("0000:65:00.0");
const audio = anAddress("0000:65:00.1");
const nic = anAddress("0000:17:00.0");
const gpuRule = aRule("gpu", { vendor: "10de" }, "a");
const policy = aPolicy([gpuRule]);

function kinds(world: ReturnType<typeof aWorld>, lane = "a") {
  const { steps, held } = plan(world, lane);
  return { steps: steps.map((step) => step.kind), held: held.map((entry) => entry.reason.kind) };
}

describe("plan: arrivals", () => {
  it("binds first and attaches only what is leased and on vfio", () => {
    const device = aDevice(gpu);
    expect(kinds(aWorld({ devices: [device], policy, vms: { a: up() } })).steps).toEqual(["bind"]);
    const bound = { ...device, driver: "vfio-pci" };
    expect(
      plan(aWorld({ devices: [bound], policy, vms: { a: up() }, leases: [aLease(bound, "a")] }), "a").steps,
    ).toEqual([
      {
        kind: "attach",
        vm: "a",
        iommuGroups: [0x65],
        placements: [
          { address: gpu, id: "pciplug-0000-65-00.0", bus: "rp0", addr: "0", rule: "gpu", properties: {} },
        ],
        nodeOwner: { uid: 0, gid: 0 },
      },
    ]);
  });

  it("leases a device that was on vfio before we came, instead of attaching it unwritten", () => {
    const world = aWorld({ devices: [aDevice(gpu, { driver: "vfio-pci" })], policy, vms: { a: up() } });
    expect(kinds(world).steps).toEqual(["bind"]);
  });

  it.each([
    ["the VM is down", { kind: "absent", sinceMs: 0, reason: "no socket" } as const, "vm-down"],
    [
      "the VM is silent",
      { kind: "unreachable", code: "qmp.busy", reason: "busy" } as const,
      "vm-unreachable",
    ],
    ["the VM was not looked at yet", { kind: "unknown" } as const, "vm-unknown"],
    ["the VM migrates in", up({ runState: "inmigrate" }), "migrating"],
    ["no port is free", up({ ports: [aPort("rp0", { kind: "plugged", by: ["x"] })] }), "no-free-port"],
    ["its process was not found", up({ process: null }), "process-unknown"],
    [
      "its memory lock limit is too low",
      up({ process: aProcess({ canLockAnyMemory: false, memlockBytes: 8_388_608 }) }),
      "memlock",
    ],
  ])("touches no driver while %s", (_, status, reason) => {
    const world = aWorld({ devices: [aDevice(gpu)], policy, vms: { a: status } });
    expect(kinds(world)).toEqual({ steps: [], held: [reason] });
  });

  it("gives each device of one pass a port of its own and holds the one too many", () => {
    const devices = [aDevice(gpu), aDevice(nic)].map((device) => ({ ...device, driver: "vfio-pci" }));
    const leases = devices.map((device) => aLease(device, "a"));
    const two = aWorld({ devices, policy, leases, vms: { a: up() } });
    expect(plan(two, "a").steps.map((step) => step.kind === "attach" && step.placements[0]?.bus)).toEqual([
      "rp0",
      "rp1",
    ]);
    const one = aWorld({ devices, policy, leases, vms: { a: up({ ports: [aPort("rp0")] }) } });
    expect(kinds(one)).toEqual({ steps: ["attach"], held: ["no-free-port"] });
  });

  it("waits for another VM that has the device or its lease", () => {
    const device = aDevice(gpu, { driver: "vfio-pci" });
    const twoVms = aPolicy([gpuRule], {
      vms: [
        { name: "a", qmp: "/a" },
        { name: "b", qmp: "/b" },
      ],
    });
    const inB = aWorld({
      devices: [device],
      policy: twoVms,
      vms: { a: up(), b: up({ attached: [attached(gpu)] }) },
      leases: [aLease(device, "b")],
    });
    expect(kinds(inB).held).toEqual(["in-vm-elsewhere"]);
    const leasedToB = aWorld({
      devices: [device],
      policy: twoVms,
      vms: { a: up(), b: up() },
      leases: [aLease(device, "b")],
    });
    expect(kinds(leasedToB).held).toEqual(["leased-elsewhere"]);
    expect(kinds(leasedToB, "b").steps).toEqual(["release"]);
  });

  it("shows a device that stands on the VM's own command line as foreign and never ejects it", () => {
    const entry = attached(gpu, "rp0", { id: "hostgpu" });
    const world = aWorld({
      devices: [aDevice(gpu, { driver: "vfio-pci" })],
      policy,
      vms: { a: up({ attached: [entry] }) },
    });
    expect(kinds(world)).toEqual({ steps: [], held: ["foreign"] });
    const noRule = { ...world, policy: aPolicy([]) };
    expect(kinds(noRule)).toEqual({ steps: [], held: [] });
  });
});

describe("plan: departures", () => {
  const device = aDevice(gpu, { driver: "vfio-pci" });
  const inVm = {
    devices: [device],
    vms: { a: up({ attached: [attached(gpu)] }) },
    leases: [aLease(device, "a")],
  };

  it("detaches what no rule of its VM claims any more, then releases it", () => {
    expect(kinds(aWorld({ ...inVm, policy: aPolicy([]) })).steps).toEqual(["detach"]);
    expect(kinds(aWorld({ ...inVm, vms: { a: up() }, policy: aPolicy([]) })).steps).toEqual(["release"]);
  });

  it("never releases a device that QEMU still lists, whatever its driver link shows", () => {
    const leaving = { ...device, driver: null };
    const world = aWorld({ ...inVm, devices: [leaving], policy });
    expect(kinds(world)).toEqual({ steps: [], held: [] });
  });

  it("detaches a card that is gone from the host, and closes its lease once the VM has let go", () => {
    expect(kinds(aWorld({ ...inVm, devices: [], policy })).steps).toEqual(["detach"]);
    expect(kinds(aWorld({ ...inVm, devices: [], vms: { a: up() }, policy })).steps).toEqual(["forget"]);
  });

  it("writes nothing on the word of a lease when another card stands at the address", () => {
    const other = aDevice(gpu, { appearance: "inode-new", device: "1eb8" });
    const world = aWorld({
      devices: [other],
      policy: aPolicy([]),
      vms: { a: up() },
      leases: [aLease(device, "a")],
    });
    expect(plan(world, "a").steps).toMatchObject([{ kind: "forget", address: gpu }]);
  });

  it("keeps a vanished VM's cards bound for its return, and gives them back after the grace", () => {
    const absent = { kind: "absent", sinceMs: 1_000_000, reason: "gone" } as const;
    const world = aWorld({ ...inVm, vms: { a: absent }, policy });
    expect(kinds(world)).toEqual({ steps: [], held: ["vm-down"] });
    expect(nextDueMs(world)).toBe(1_060_000);
    expect(kinds({ ...world, nowMs: 1_060_000 }).steps).toEqual(["release"]);
  });

  it("touches nothing of a VM that cannot be spoken to", () => {
    const silent = { kind: "unreachable", code: "qmp.busy-or-silent", reason: "no greeting" } as const;
    const world = aWorld({ ...inVm, vms: { a: silent }, policy: aPolicy([]) });
    expect(kinds(world)).toEqual({ steps: [], held: ["vm-unreachable"] });
  });

  it("stays when a change of the policy would detach more than the limit, until that is confirmed", () => {
    const second = aDevice(nic, { driver: "vfio-pci" });
    const world = aWorld({
      devices: [device, second],
      vms: { a: up({ attached: [attached(gpu), attached(nic, "rp1")] }) },
      leases: [aLease(device, "a"), aLease(second, "a")],
      policy: aPolicy([]),
    });
    expect(kinds(world)).toEqual({ steps: [], held: ["detach-limit", "detach-limit"] });
    expect(kinds({ ...world, isDetachConfirmed: true }).steps).toEqual(["detach", "detach"]);
  });

  it("counts what is on its way into a VM towards the detach limit", () => {
    const second = aDevice(nic, { driver: "vfio-pci" });
    const vms = [
      { name: "a", qmp: "/a" },
      { name: "b", qmp: "/b" },
    ];
    const inFlight: StepOf<"attach"> = {
      kind: "attach",
      vm: "b",
      iommuGroups: [second.iommuGroup as number],
      placements: [
        {
          address: second.address,
          id: qemuIdOf(second.address),
          bus: "rp0",
          addr: "0",
          rule: "r",
          properties: {},
        },
      ],
      nodeOwner: null,
    };
    const world = aWorld(
      {
        devices: [device, second],
        vms: { a: up({ attached: [attached(gpu)] }), b: up() },
        leases: [aLease(device, "a"), aLease(second, "b")],
        policy: aPolicy([], { vms }),
      },
      { running: new Map([["b", inFlight]]) },
    );
    expect(plan(world, "a").held).toMatchObject([{ reason: { kind: "detach-limit", count: 2 } }]);
  });

  it("counts what a silent VM holds towards the detach limit", () => {
    const second = aDevice(nic, { driver: "vfio-pci" });
    const world = aWorld({
      devices: [device, second],
      vms: { a: up({ attached: [attached(gpu)] }), b: { kind: "unknown" } },
      leases: [aLease(device, "a"), aLease(second, "b")],
      policy: aPolicy([], {
        vms: [
          { name: "a", qmp: "/a" },
          { name: "b", qmp: "/b" },
        ],
      }),
    });
    expect(kinds(world).held).toEqual(["detach-limit"]);
  });

  it("leaves the devices of a VM that is gone from the file alone", () => {
    const world = aWorld({
      ...inVm,
      policy: aPolicy([], { vms: [{ name: "b", qmp: "/b" }] }),
      vms: { b: up() },
    });
    expect(kinds(world, HOST_LANE)).toEqual({ steps: [], held: ["vm-missing"] });
    expect(planAll(world).steps).toEqual([]);
  });

  it("asks again for an unplug only when it is due, by the kind of hot-plug", () => {
    const base = aWorld({ ...inVm, policy: aPolicy([]) });
    const step = plan(base, "a").steps[0];
    if (step?.kind !== "detach") {
      throw new Error("expected a detach");
    }
    const asked = reduce(base, {
      kind: "step-ended",
      atMs: base.nowMs,
      lane: "a",
      step,
      outcome: { kind: "pending" },
    });
    expect(kinds(asked)).toEqual({ steps: [], held: ["unplug-pending"] });
    const due = nextDueMs(asked) ?? 0;
    expect(due - base.nowMs).toBe(8_000);
    expect(kinds({ ...asked, nowMs: due - 1 }).steps).toEqual([]);
    expect(kinds({ ...asked, nowMs: due }).steps).toEqual(["detach"]);
  });

  it("adopts a device of ours that the ledger does not know before anything else is done with it", () => {
    const world = aWorld({ ...inVm, leases: [], policy: aPolicy([]) });
    expect(kinds(world).steps).toEqual(["adopt"]);
  });

  it("does not give a device back to the host while a VM has another member of its IOMMU group", () => {
    const both = [aDevice(gpu, { driver: "vfio-pci" }), aDevice(audio, { driver: "vfio-pci" })];
    const world = aWorld({
      devices: both,
      vms: { a: up({ attached: [attached(gpu)] }) },
      leases: both.map((entry) => aLease(entry, "a")),
      policy: aPolicy([aRule("gpu", { address: gpu }, "a")]),
    });
    expect(plan(world, "a").steps).toEqual([]);
  });

  it("frees a companion's override when the last claimed member of its IOMMU group is back", () => {
    const companion = aDevice(audio, { driver: null });
    const lease = aLease(companion, "a", { role: "companion", original: { driver: null, override: null } });
    const world = aWorld({
      devices: [aDevice(gpu), companion],
      vms: { a: up() },
      leases: [lease],
      policy: aPolicy([]),
    });
    expect(plan(world, "a").steps).toMatchObject([{ kind: "release", address: audio }]);
  });
});

describe("plan: whole runs with a perfect executor", () => {
  it("comes to rest, with an empty plan, and stays there when everything is seen again", () => {
    const shape = fc.record({
      present: fc.array(
        fc.record({
          bus: fc.integer({ min: 1, max: 5 }),
          fn: fc.integer({ min: 0, max: 1 }),
          driver: fc.constantFrom("nouveau", null),
        }),
        { maxLength: 6 },
      ),
      rules: fc.array(
        fc.record({ vm: fc.constantFrom("a", "b"), bus: fc.constantFrom("01", "02", "0[1-3]", "*") }),
        { maxLength: 3 },
      ),
      later: fc.array(
        fc.record({ vm: fc.constantFrom("a", "b"), bus: fc.constantFrom("01", "02", "0[1-3]", "*") }),
        { maxLength: 3 },
      ),
      ports: fc.integer({ min: 0, max: 4 }),
    });
    fc.assert(
      fc.property(shape, ({ present, rules, later, ports }) => {
        const devices = [
          ...new Map(
            present.map((entry) => {
              const device = aDevice(`0000:0${entry.bus}:00.${entry.fn}`, { driver: entry.driver });
              return [device.address, device] as const;
            }),
          ).values(),
        ];
        const make = (list: typeof rules, version: string) =>
          aPolicy(
            list.map((rule, index) => aRule(`r${index}`, { address: `0000:${rule.bus}:*` }, rule.vm)),
            {
              version,
              vms: [
                { name: "a", qmp: "/a" },
                { name: "b", qmp: "/b" },
              ],
              limits: { detachPerChange: 99, keepAfterVmGoneMs: 1 },
            },
          );
        const view = aView({ ports: Array.from({ length: ports }, (_, index) => aPort(`rp${index}`)) });
        const start = aWorld({
          devices,
          policy: make(rules, "v1"),
          vms: { a: { kind: "up", view }, b: { kind: "up", view } },
        });
        const first = runToRest(start);
        expect(planAll(first.world).steps).toEqual([]);
        const owners = [...first.world.vms.values()].flatMap((status) =>
          status.kind === "up" ? status.view.attached.map((entry) => entry.address) : [],
        );
        expect(new Set(owners).size).toBe(owners.length);
        const second = runToRest({ ...first.world, policy: make(later, "v2") });
        expect(planAll(second.world).steps).toEqual([]);
        const third = runToRest({ ...second.world, policy: make([], "v3") });
        expect(third.world.leases.size).toBe(0);
        expect([...third.world.devices.values()]).toEqual(devices);
      }),
      { numRuns: 300 },
    );
  });
});
