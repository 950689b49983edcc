/**
 * What one lane needs next: a plan is data, made afresh from the newest world each time.
 *
 * After perfect execution of all lanes the plan is empty. Only the first step of a lane is ever executed before the
 * lane is planned again.
 */
import { compareAddresses } from "./address.js";
import { planArrivals } from "./arrivals.js";
import { planDetaches, planReleases } from "./departures.js";
import type { Held } from "./held.js";
import { type Move, type Scene, setScene } from "./scene.js";
import type { Step } from "./step.js";
import { overdueMs, resetDueMs, unplugDueMs } from "./unplug.js";
import type { World } from "./world.js";

/** The lane of what belongs to no configured VM. No VM can have this name. */
export const HOST_LANE = "@host";

export interface Plan {
  readonly steps: readonly Step[];
  readonly held: readonly Held[];
}

const idle: Plan = { steps: [], held: [] };

/** Every lane of the present policy: one per VM, and the host's. */
export function lanesOf(world: World): readonly string[] {
  return [...(world.policy?.vms.map((vm) => vm.name) ?? []), HOST_LANE];
}

/** The plan of one lane. */
export function plan(world: World, lane: string, scene: Scene = setScene(world)): Plan {
  // A lane may still run for a VM that is not in the file any more: its devices are orphaned (semantics.md 6).
  if (world.policy === null || !world.isHostSeen || !lanesOf(world).includes(lane)) {
    return idle;
  }
  return sorted(lane === HOST_LANE ? planHost(scene) : planVm(scene, lane));
}

function planVm(scene: Scene, vm: string): Move[] {
  return [...planDetaches(scene, vm), ...planReleases(scene, vm), ...planArrivals(scene, vm)];
}

/** What no VM of the file speaks for: orphans stay as they are; only notes about vanished cards are closed. */
function planHost(scene: Scene): Move[] {
  const known = new Set(scene.world.policy?.vms.map((vm) => vm.name));
  const orphans = [...scene.world.leases.values()].filter((lease) => !known.has(lease.vm));
  const vms = new Set(orphans.map((lease) => lease.vm));
  const moves = [...vms].flatMap((vm) => planReleases(scene, vm, true));
  const leaving = new Set(moves.flatMap((move) => ("step" in move ? [stepAddress(move.step)] : [])));
  const held: Move[] = orphans
    .filter((lease) => !leaving.has(lease.address))
    .map((lease) => ({
      held: {
        address: lease.address,
        vm: lease.vm,
        rule: lease.rule,
        reason: { kind: "vm-missing", vm: lease.vm },
      },
    }));
  const undecided: Move[] = scene.assignment.held.map((entry) => ({ held: entry }));
  return [...moves, ...held, ...undecided];
}

function stepAddress(step: Step): string {
  return "address" in step ? step.address : "";
}

function sorted(moves: readonly Move[]): Plan {
  const held = moves.flatMap((move) => ("held" in move ? [move.held] : []));
  return {
    steps: moves.flatMap((move) => ("step" in move ? [move.step] : [])),
    held: held.sort((a, b) => compareAddresses(a.address, b.address)),
  };
}

/** All lanes at once, for people: what would happen now, and what waits. */
export function planAll(world: World, scene: Scene = setScene(world)): Plan {
  const plans = lanesOf(world).map((lane) => plan(world, lane, scene));
  return {
    steps: plans.flatMap((entry) => entry.steps),
    held: plans.flatMap((entry) => entry.held).sort((a, b) => compareAddresses(a.address, b.address)),
  };
}

/**
 * When, in the clock of the world, time alone will change a plan: the end of a rest, an unplug to ask for again,
 * a vanished VM's grace, a reservation, the settling of the inventory. `null`: nothing is waiting for time.
 */
export function nextDueMs(world: World): number | null {
  const times: number[] = [];
  for (const unplug of world.unplugs.values()) {
    times.push(unplugDueMs(unplug), overdueMs(unplug), resetDueMs(world, unplug) ?? 0);
  }
  for (const backoff of world.backoffs.values()) {
    if (backoff.untilMs !== null) {
      times.push(backoff.untilMs);
    }
  }
  const keepMs = world.policy?.limits.keepAfterVmGoneMs;
  const leasing = new Set([...world.leases.values()].map((lease) => lease.vm));
  for (const [vm, status] of world.vms) {
    if (status.kind === "absent" && keepMs !== undefined && leasing.has(vm)) {
      times.push(status.sinceMs + keepMs);
    }
  }
  for (const { untilMs } of world.intents.reservations) {
    if (untilMs !== null) {
      times.push(untilMs);
    }
  }
  if (world.inventoryMovedMs !== null && world.policy !== null) {
    times.push(world.inventoryMovedMs + world.policy.settleMs);
  }
  const ahead = times.filter((time) => time > world.nowMs);
  return ahead.length === 0 ? null : Math.min(...ahead);
}
