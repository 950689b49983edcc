import { describe, expect, it } from "vitest";
import { describeHeld } from "../../../src/core/held-text.js";
import { nextDueMs, plan } from "../../../src/core/plan.js";
import { reduce } from "../../../src/core/reduce.js";
import type { Signal } from "../../../src/core/signal.js";
import type { Outcome, Step } from "../../../src/core/step.js";
import { isUnplugDue, overdueMs, resetDueMs, unplugDueMs } from "../../../src/core/unplug.js";
import type { PlugMode, VmView } from "../../../src/core/vm.js";
import { pairKey, type Unplug, type World } from "../../../src/core/world.js";
import {
  aDevice,
  aLease,
  anAddress,
  anUnplug,
  aPolicy,
  aProcess,
  attached,
  aWorld,
  up,
} from "../../support/builders.js";

const gpu = anAddress("0000:65:00.0");
const device = aDevice(gpu, { driver: "vfio-pci" });
const START = 1_000_000;
const NOBODY = aPolicy([]);

/** VM `a` has a card that no rule names any more. */
function leaving(unplug: Partial<Unplug> | null, view: Partial<VmView> = {}, policy = NOBODY): World {
  const world = aWorld({
    devices: [device],
    policy,
    vms: { a: up({ attached: [attached(gpu, "rp0", { mode: unplug?.mode ?? "acpi" })], ...view }) },
    leases: [aLease(device, "a")],
  });
  const asked = anUnplug(gpu, unplug ?? {});
  return unplug === null ? world : { ...world, unplugs: new Map([[pairKey("a", asked.id), asked]]) };
}

function at(world: World, afterMs: number): World {
  return { ...world, nowMs: START + afterMs };
}

function seconds(ms: number): number {
  return (ms - START) / 1000;
}

describe("when a pending unplug is asked for again", () => {
  const due = (mode: PlugMode, facts: Partial<Unplug> = {}): number =>
    seconds(unplugDueMs(anUnplug(gpu, { mode, ...facts })));

  it("is told by how the slot is told: ACPI loses requests, a native one has its five seconds", () => {
    expect([due("acpi"), due("native"), due("unknown")]).toEqual([8, 10, 10]);
    expect([due("acpi", { timesSinceReset: 2 }), due("native", { timesSinceReset: 2 })]).toEqual([8, 6]);
  });

  it("is only now and then once the guest plainly does not co-operate", () => {
    expect([due("acpi", { timesSinceReset: 10 }), due("native", { timesSinceReset: 10 })]).toEqual([60, 60]);
  });

  it("is soon where its slot was only busy blinking", () => {
    expect(due("native", { isBusy: true })).toBe(1);
    expect(isUnplugDue(anUnplug(gpu, { isBusy: true }), START + 999)).toBe(false);
    expect(isUnplugDue(anUnplug(gpu, { isBusy: true }), START + 1_000)).toBe(true);
  });
});

describe("the states of an unplug", () => {
  const detach: Step = {
    kind: "detach",
    vm: "a",
    id: anUnplug(gpu).id,
    address: gpu,
    why: "no rule claims it any more",
  };
  const ended = (outcome: Outcome): Signal => ({
    kind: "step-ended",
    atMs: START,
    lane: "a",
    step: detach,
    outcome,
  });
  const state = (world: World): string =>
    [
      ...plan(world, "a").steps.map(({ kind }) => kind),
      ...plan(world, "a").held.map(({ reason }) => reason.kind),
    ].join();

  it("follow one another: asked, pending, asked again, overdue, gone", () => {
    const asking = leaving(null);
    expect(state(asking)).toBe("detach");
    const pending = reduce(asking, ended({ kind: "pending" }));
    expect(state(pending)).toBe("unplug-pending");
    const due = at(pending, 8_000);
    expect(state(due)).toBe("detach");
    const again = reduce(due, { ...ended({ kind: "pending" }), atMs: START + 8_000 } as Signal);
    expect(state(again)).toBe("unplug-overdue");
    expect(describeHeld(plan(again, "a").held[0]!.reason)).toBe(
      "overdue: a was asked 2 times in 8 s to let go and has not yet",
    );
    const gone = reduce(at(again, 9_000), {
      kind: "device-deleted",
      atMs: START + 9_000,
      vm: "a",
      id: detach.id,
    });
    expect(gone.unplugs.size).toBe(0);
    expect(gone.holds).toEqual([]);
    expect(state(gone)).toBe("release");
  });

  it("has the plan made again when it becomes overdue", () => {
    const pending = leaving({ mode: "native", askedMs: START + 4_000 });
    expect(nextDueMs(at(pending, 5_000))).toBe(overdueMs(anUnplug(gpu, { mode: "native" })));
  });

  it("takes a slot that blinks for a request: the device may be on its way out by an earlier one", () => {
    const busy: Outcome = {
      kind: "refused",
      reason: "guest-busy",
      detail: "guest is busy (power indicator blinking)",
    };
    const asked = reduce(leaving(null), ended(busy));
    expect(state(asked)).toBe("unplug-pending");
    expect(asked.backoffs.size).toBe(0);
    const deleted: Signal = { kind: "device-deleted", atMs: START, vm: "a", id: detach.id };
    expect(reduce(asked, deleted).holds).toEqual([]);
    expect(state(at(asked, 1_000))).toBe("detach");
  });

  it("says why a guest cannot answer: it stands still", () => {
    const paused = at(leaving({}, { runState: "paused" }), 7_000);
    expect(state(paused)).toBe("unplug-pending");
    const overdue = at(leaving({ times: 3, askedMs: START + 20_000 }, { runState: "paused" }), 21_000);
    expect(describeHeld(plan(overdue, "a").held[0]!.reason)).toBe(
      "overdue: a was asked 3 times in 20 s to let go and has not yet (its guest does not run: paused)",
    );
  });

  it("is nothing of a new process: the one that was asked has ended, whatever the new one lists", () => {
    const pending = leaving({});
    const restarted: Signal = {
      kind: "vm-seen",
      atMs: START,
      vm: "a",
      status: up({ attached: [attached(gpu)], process: aProcess({ pid: 4712 }) }),
    };
    expect(reduce(pending, restarted).unplugs.size).toBe(0);
    const unfound = { ...restarted, status: up({ attached: [attached(gpu)], process: null }) } as Signal;
    expect(reduce(pending, unfound).unplugs.size).toBe(1);
  });
});

describe("the run state of a VM", () => {
  const may = (view: Partial<VmView>): string => {
    const { steps, held } = plan(leaving(null, view), "a");
    return [...steps.map(({ kind }) => kind), ...held.map(({ reason }) => reason.kind)].join();
  };

  it.each([
    ["running", "detach"],
    ["paused", "detach"],
    ["prelaunch", "detach"],
    ["shutdown", "vm-not-ready"],
    ["internal-error", "vm-not-ready"],
    ["guest-panicked", "vm-not-ready"],
    ["inmigrate", "migrating"],
    ["finish-migrate", "migrating"],
    ["postmigrate", "migrating"],
  ])("%s: a device that is to leave: %s", (runState, wanted) => {
    expect(may({ runState })).toBe(wanted);
  });

  it.each([
    "setup",
    "active",
    "postcopy-active",
    "postcopy-paused",
    "pre-switchover",
    "device",
    "cancelling",
  ])("running, with a migration in the state %s: hands off", (migration) => {
    expect(may({ migration })).toBe("migrating");
    const { held } = plan(leaving({}, { migration }), "a");
    expect(describeHeld(held[0]!.reason)).toBe(`hands off a: its guest is being migrated (${migration})`);
  });
});

describe("a reset of the machine", () => {
  const reset: Signal = { kind: "vm-reset", atMs: START, vm: "a", isByGuest: true };

  it("is one, though a reboot is up to three RESETs", () => {
    const world = reduce(leaving(null), reset);
    expect(world.resets.get("a")).toEqual({ atMs: START, isByGuest: true });
    const burst = [40, 41, 900].reduce(
      (now, ms) => reduce(now, { ...reset, atMs: START + ms } as Signal),
      world,
    );
    expect(burst.resets).toBe(world.resets);
    expect(reduce(burst, { ...reset, atMs: START + 2_000 } as Signal).resets).not.toBe(world.resets);
  });

  it("makes another guest of it, which is asked eagerly again; what was asked before still counts", () => {
    const stubborn = leaving({ mode: "native", times: 12, timesSinceReset: 12 });
    expect(seconds(nextDueMs(at(stubborn, 11_000)) ?? 0)).toBe(60);
    const rebooted = reduce(at(stubborn, 5_000), { ...reset, atMs: START + 5_000 } as Signal);
    expect(seconds(nextDueMs(rebooted) ?? 0)).toBe(10);
    expect([...rebooted.unplugs.values()][0]?.times).toBe(12);
  });

  it("of a VM that the file does not name is not remembered", () => {
    expect(reduce(leaving(null), { ...reset, vm: "stranger" } as Signal).resets.size).toBe(0);
  });
});

describe("resetToComplete", () => {
  const patient = aPolicy([], { vms: [{ name: "a", qmp: "/run/a.sock", resetToCompleteMs: 60_000 }] });
  const next = (unplug: Partial<Unplug>, afterMs: number, view: Partial<VmView> = {}, policy = patient) =>
    plan(at(leaving({ times: 9, askedMs: START + afterMs, ...unplug }, view, policy), afterMs), "a").steps;

  it("resets the machine once the unplug has been overdue for so long, and says why", () => {
    expect(next({}, 67_999)).toEqual([]);
    expect(next({}, 68_000)).toEqual([
      {
        kind: "reset",
        vm: "a",
        addresses: [gpu],
        why: `resetToComplete: its guest has not let go of ${gpu} after 9 requests in 68 s`,
      },
    ]);
    expect(seconds(resetDueMs({ policy: patient }, anUnplug(gpu)) ?? 0)).toBe(68);
  });

  it("is off unless the file says so", () => {
    expect(next({}, 3_600_000, {}, NOBODY)).toEqual([]);
  });

  it("does nothing where a reset does not help: a native slot, a guest that is off or being moved", () => {
    expect(next({ mode: "native" }, 3_600_000)).toEqual([]);
    expect(next({ mode: "unknown" }, 3_600_000)).toEqual([]);
    expect(next({}, 3_600_000, { runState: "shutdown" })).toEqual([]);
    expect(next({}, 3_600_000, { runState: "inmigrate" })).toEqual([]);
    expect(next({}, 3_600_000, { migration: "active" })).toEqual([]);
    expect(next({}, 3_600_000, { runState: "guest-panicked" })).toMatchObject([{ kind: "reset" }]);
  });

  it("is done once for an unplug, whatever comes of it", () => {
    const world = at(leaving({ times: 9, askedMs: START + 68_000 }, {}, patient), 68_000);
    const [step] = plan(world, "a").steps;
    const signal: Signal = {
      kind: "step-ended",
      atMs: START + 68_000,
      lane: "a",
      step: step!,
      outcome: { kind: "done" },
    };
    const done = reduce(world, signal);
    expect(plan(done, "a")).toMatchObject({ steps: [], held: [{ reason: { kind: "unplug-overdue" } }] });
    const later = { ...done, nowMs: START + 75_000 };
    expect(plan(later, "a").steps).toEqual([]);
    expect([...later.unplugs.values()][0]?.resetMs).toBe(START + 68_000);
  });

  it("rests after a failure like every step", () => {
    const world = at(leaving({ times: 9, askedMs: START + 68_000 }, {}, patient), 68_000);
    const [step] = plan(world, "a").steps;
    const failed: Outcome = { kind: "timed-out", detail: "no answer" };
    const after = reduce(world, {
      kind: "step-ended",
      atMs: START + 68_000,
      lane: "a",
      step: step!,
      outcome: failed,
    });
    expect(plan(after, "a").steps).toEqual([]);
    expect(plan({ ...after, nowMs: after.nowMs + 1_000 }, "a").steps).toMatchObject([{ kind: "reset" }]);
  });

  it("leaves a VM alone whose device a rule wants again", () => {
    const claimed = aPolicy([], { ...patient });
    const world = at(leaving({ times: 9, askedMs: START + 68_000 }, {}, claimed), 68_000);
    const unled = { ...world, vms: new Map([["a", up({ attached: [] })]]) };
    expect(plan(unled, "a").steps.map(({ kind }) => kind)).toEqual(["release"]);
  });
});
