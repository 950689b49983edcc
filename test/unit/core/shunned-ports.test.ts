import { describe, expect, it } from "vitest";
import type { RefusalReason } from "../../../src/core/next-move.js";
import { reduce } from "../../../src/core/reduce.js";
import { reportVm } from "../../../src/core/report.js";
import type { Outcome, StepOf } from "../../../src/core/step.js";
import type { World } from "../../../src/core/world.js";
import { anAddress, aPort, aProcess, aWorld, up } from "../../support/builders.js";

const gpu = anAddress("0000:65:00.0");
const view = { ports: [aPort("rp0"), aPort("rp1")], process: aProcess() };
const world = aWorld({ vms: { a: up(view) } });

function attach(addr = "0"): StepOf<"attach"> {
  const placement = { address: gpu, id: "x", bus: "rp0", addr, rule: "r", properties: {} };
  return { kind: "attach", vm: "a", iommuGroups: [1], placements: [placement], nodeOwner: null };
}

function refused(before: World, reason: RefusalReason, step = attach()): World {
  const outcome: Outcome = { kind: "refused", reason, detail: "QEMU's words", at: gpu };
  return reduce(before, { kind: "step-ended", atMs: 1, lane: "a", step, outcome });
}

function seen(before: World, facts: Parameters<typeof up>[0]): World {
  return reduce(before, { kind: "vm-seen", atMs: 2, vm: "a", status: up(facts) });
}

const ports = (of: World) => reportVm(of, "a").ports;

describe("a port that QEMU has refused", () => {
  it.each(["port-unusable", "port-occupied"] as const)(
    "(%s) costs no rest and counts as unusable",
    (reason) => {
      const next = refused(world, reason);
      expect(next.backoffs.size).toBe(0);
      expect(ports(next)).toEqual({ free: 1, plugged: 0, unusable: 1 });
    },
  );

  it("that is refused again although it was avoided is rested from", () => {
    expect(refused(refused(world, "port-unusable"), "port-unusable").backoffs.size).toBe(1);
  });

  it("and that is seen occupied right after needs no mark", () => {
    const full = seen(world, {
      ...view,
      ports: [aPort("rp0", { kind: "plugged", by: ["x"] }), aPort("rp1")],
    });
    const next = refused(full, "port-occupied");
    expect([next.shunnedPorts.size, next.backoffs.size]).toEqual([0, 0]);
    expect(refused(full, "port-occupied", attach("0.1")).backoffs.size).toBe(1);
  });

  it("is as any other for the next process", () => {
    const next = seen(refused(world, "port-unusable"), {
      ...view,
      process: aProcess({ startTicks: "other" }),
    });
    expect([next.shunnedPorts.size, ports(next)?.free]).toEqual([0, 2]);
  });

  it("as occupied is free again once something has left the VM; an unusable one is not", () => {
    const left = (of: World) =>
      reduce(of, { kind: "device-deleted", atMs: 3, vm: "a", id: "theirs" }).shunnedPorts.size;
    expect(left(refused(world, "port-occupied"))).toBe(0);
    expect(left(refused(world, "port-unusable"))).toBe(1);
  });
});
