import { describe, expect, it } from "vitest";
import { reportDevices } from "../../../src/core/device-report.js";
import type { Passage } from "../../../src/core/passage.js";
import { reduce } from "../../../src/core/reduce.js";
import { reportStatus } from "../../../src/core/report.js";
import type { Outcome, StepOf } from "../../../src/core/step.js";
import type { Attached } from "../../../src/core/vm.js";
import type { World } from "../../../src/core/world.js";
import {
  aDevice,
  aLease,
  anAddress,
  anUnplug,
  aPolicy,
  aRule,
  attached,
  aWorld,
  up,
} from "../../support/builders.js";

const gpu = anAddress("0000:65:00.0");
const policy = aPolicy([aRule("gpu", { vendor: "10de" }, "a")]);
const onHost = aDevice(gpu);
const bound = aDevice(gpu, { driver: "vfio-pci" });
const nothing: Passage = { leased: false, bound: false, sent: false, taken: false, seen: null };

const attach: StepOf<"attach"> = {
  kind: "attach",
  vm: "a",
  iommuGroups: [0x65],
  placements: [{ address: gpu, id: anUnplug(gpu).id, bus: "rp0", addr: "0", rule: "gpu", properties: {} }],
  nodeOwner: null,
};

function passage(world: World): Passage | undefined {
  return reportDevices(world).find(({ address }) => address === gpu)?.passage;
}

function inVm(facts: Partial<Attached> = {}): World {
  const vms = { a: up({ attached: [attached(gpu, "rp0", facts)] }) };
  return aWorld({ devices: [bound], policy, vms, leases: [aLease(bound, "a")] });
}

describe("the way of a device into its VM", () => {
  it("is told fact by fact: leased, bound, sent, taken by QEMU, seen by the guest", () => {
    const vms = { a: up() };
    expect(passage(aWorld({ devices: [onHost], policy, vms }))).toBeUndefined();

    const leased = aWorld({ devices: [onHost], policy, vms, leases: [aLease(onHost, "a")] });
    expect(passage(leased)).toEqual({ ...nothing, leased: true });

    const ready = aWorld({ devices: [bound], policy, vms, leases: [aLease(bound, "a")] });
    expect(passage(ready)).toEqual({ ...nothing, leased: true, bound: true });

    const sent = reduce(ready, { kind: "step-started", atMs: 1, lane: "a", step: attach });
    expect(passage(sent)).toEqual({ ...nothing, leased: true, bound: true, sent: true });

    const taken = { ...nothing, leased: true, bound: true, taken: true };
    expect(passage(inVm({ isInUse: false }))).toEqual({ ...taken, seen: false });
    expect(passage(inVm({ isInUse: true }))).toEqual({ ...taken, seen: true });
    expect(passage(inVm())).toEqual({ ...taken, seen: null });
  });

  it("stays sent while nobody knows what QEMU made of it", () => {
    const ready = aWorld({ devices: [bound], policy, vms: { a: up() }, leases: [aLease(bound, "a")] });
    const sent = reduce(ready, { kind: "step-started", atMs: 1, lane: "a", step: attach });
    const end = (outcome: Outcome) =>
      reduce(sent, { kind: "step-ended", atMs: 2, lane: "a", step: attach, outcome });
    expect(passage(end({ kind: "timed-out", detail: "no answer" }))?.sent).toBe(true);
    expect(passage(end({ kind: "failed", code: "x", detail: "no" }))?.sent).toBe(false);
  });

  it("is none of ours where a VM has a device that the ledger does not know", () => {
    const foreign = aWorld({
      devices: [bound],
      policy,
      vms: { a: up({ attached: [attached(gpu, "rp0", { id: "mine", isInUse: true })] }) },
    });
    expect(passage(foreign)).toEqual({ ...nothing, bound: true, taken: true, seen: true });
  });

  it("says of what is in a VM whether its guest uses it", () => {
    const inUse = (facts: Partial<Attached>) =>
      reportStatus(inVm(facts), { ...about, now: () => 1_000_000 }).vms[0]?.attached[0]?.inUse;
    expect([inUse({ isInUse: true }), inUse({ isInUse: false }), inUse({})]).toEqual([
      true,
      false,
      undefined,
    ]);
  });
});

const about = {
  version: "1",
  pid: 1,
  startedAt: "then",
  file: "/etc/c.yaml",
  wallTimeOf: (ms: number) => `at ${ms - 1_000_000}`,
};

describe("a device on its way out", () => {
  const world: World = {
    ...inVm(),
    unplugs: new Map([["x", anUnplug(gpu, { askedMs: 1_008_000, times: 2 })]]),
    resets: new Map([["a", { atMs: 1_003_000, isByGuest: true }]]),
  };
  const leaving = (nowMs: number) => reportStatus(world, { ...about, now: () => nowMs }).vms[0]?.leaving;

  it("is pending, then overdue, with how long and how often it was asked for", () => {
    const asked = {
      address: gpu,
      id: anUnplug(gpu).id,
      mode: "acpi",
      times: 2,
      since: "at 0",
      lastAsked: "at 8000",
    };
    expect(leaving(1_007_999)).toEqual([{ ...asked, state: "pending", forMs: 7_999 }]);
    expect(leaving(1_027_000)).toEqual([{ ...asked, state: "overdue", forMs: 27_000 }]);
  });

  it("is not spoken of where there is none, and neither is a reset that nobody saw", () => {
    const [vm] = reportStatus(inVm(), { ...about, now: () => 1 }).vms;
    expect(vm).not.toHaveProperty("leaving");
    expect(vm).not.toHaveProperty("lastReset");
    expect(reportStatus(world, { ...about, now: () => 1 }).vms[0]?.lastReset).toEqual({
      at: "at 3000",
      byGuest: true,
    });
  });
});
