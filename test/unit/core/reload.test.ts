/** What becomes of the world when another policy takes the place of the one in force. */
import { describe, expect, it } from "vitest";
import { plan, planAll } from "../../../src/core/plan.js";
import type { Policy } from "../../../src/core/policy.js";
import { reduce } from "../../../src/core/reduce.js";
import type { Signal } from "../../../src/core/signal.js";
import { emptyWorld, type World } from "../../../src/core/world.js";
import { aDevice, aLease, aPolicy, aRule, attached, aWorld, up } from "../../support/builders.js";

const gpu = aDevice("0000:17:00.0", { driver: "vfio-pci" });
const toA = aRule("r", { vendor: "10de" }, "a");
const toB = aRule("s", { vendor: "8086" }, "b");
const before = aPolicy([toA, toB], { version: "old" });

function told(world: World, ...signals: Signal[]): World {
  return signals.reduce(reduce, world);
}
const loaded = (policy: Policy): Signal => ({ kind: "policy-loaded", atMs: 5, policy });
const running = (facts: Partial<World> = {}) =>
  aWorld(
    {
      devices: [gpu],
      policy: before,
      leases: [aLease(gpu, "a")],
      vms: { a: up({ attached: [attached(gpu.address)] }), b: up() },
    },
    facts,
  );

describe("another policy", () => {
  it("leaves what is known of the VMs that stay", () => {
    const world = running();
    expect(told(world, loaded(aPolicy([toA, toB], { version: "new" }))).vms).toBe(world.vms);
  });

  it("forgets VMs that are not in it, and those at another socket", () => {
    const vms = [{ name: "a", qmp: "/run/a2.sock" }, ...before.vms.filter((vm) => vm.name === "b")];
    expect([...told(running(), loaded({ ...before, version: "new", vms })).vms.keys()]).toEqual(["b"]);
    expect([
      ...told(running(), loaded(aPolicy([toB], { version: "new", vms: vms.slice(1) }))).vms.keys(),
    ]).toEqual(["b"]);
  });

  it("knows no VM by what a step that still runs has seen of it", () => {
    const without = told(running(), loaded({ ...before, rules: [], version: "new", vms: [] }));
    const late: Signal = { kind: "vm-seen", atMs: 6, vm: "a", status: up() };
    expect(told(without, late).vms.size).toBe(0);
  });

  it("gives nothing more to do to the lane of a VM that is not in it, even where that lane still runs", () => {
    const without = told(running(), loaded(aPolicy([toB], { version: "new", vms: before.vms.slice(1) })));
    expect(plan(without, "a")).toEqual({ steps: [], held: [] });
    expect(planAll(without).steps).toEqual([]);
    expect(planAll(without).held.map(({ reason }) => reason.kind)).toEqual(["vm-missing"]);
  });

  it("is neither confirmed nor barred by a word about the one before; the very same one is", () => {
    const world = running({ isDetachConfirmed: true, detachBar: { policy: "old", count: 3 } });
    expect(told(world, loaded({ ...before }))).toMatchObject({
      isDetachConfirmed: true,
      detachBar: { policy: "old", count: 3 },
    });
    expect(told(world, loaded({ ...before, version: "new" }))).toMatchObject({
      isDetachConfirmed: false,
      detachBar: null,
    });
  });

  it("is confirmed at the start whatever its version, and later by its version only", () => {
    const start: Signal = { kind: "start", atMs: 1, bootId: "b", mode: "act", isDetachConfirmed: true };
    expect(told(emptyWorld, start, loaded(before)).isDetachConfirmed).toBe(true);
    const confirmed = (policy: string) =>
      told(running(), { kind: "detach-confirmed", policy }).isDetachConfirmed;
    expect([confirmed("old"), confirmed("new")]).toEqual([true, false]);
  });
});

describe("a file that is refused", () => {
  it("changes nothing but what is told, until a good one is loaded", () => {
    const world = running();
    const refusal: Signal = { kind: "policy-refused", atMs: world.nowMs + 7, reasons: ["no"] };
    const after = told(world, refusal);
    expect(after).toEqual({
      ...world,
      nowMs: world.nowMs + 7,
      policyRefusal: { atMs: world.nowMs + 7, reasons: ["no"] },
    });
    expect(told(after, loaded(before)).policyRefusal).toBeNull();
  });
});
