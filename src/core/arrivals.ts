/**
 * What has to come into one VM: unit by unit, first to a vfio driver, then into a port.
 */
import { ok, type Result } from "../base/result.js";
import { type PciAddress, qemuIdOf } from "./address.js";
import { type Convoy, convoysOf } from "./convoy.js";
import { isOnVfio } from "./device.js";
import type { HeldReason } from "./held.js";
import { holdOn } from "./holds.js";
import { isLeaseOf, type Lease, termsOf } from "./lease.js";
import { termsNow } from "./lost.js";
import { type MemlockRaise, memlockRaise } from "./memlock.js";
import { groupObjection, isOurs, isVmTransparent } from "./occupancy.js";
import { choosePorts, type Place } from "./port-choice.js";
import { unansweredPortOf } from "./ports-in-flight.js";
import { retryHeld, vmObjection } from "./readiness.js";
import type { Move, Scene } from "./scene.js";
import { withShunned } from "./shunned-ports.js";
import { isOnItsWayBack } from "./slot-mates.js";
import type { Step } from "./step.js";
import type { Unit } from "./unit.js";
import { unplugName } from "./unplug.js";
import { portKey } from "./vm.js";
import { pairKey, vmStatus, type World } from "./world.js";

/** The bind and attach moves for one VM. */
export function planArrivals(scene: Scene, vm: string): Move[] {
  const used = new Set<string>();
  let raise = memlockRaise(scene.world, vm);
  return convoysOf(scene.assignment.byVm.get(vm) ?? []).flatMap((convoy) => {
    const { moves, places } = convoyMoves(scene, convoy, used, raise);
    // One is enough for all that wait for it.
    raise = moves.some((move) => "step" in move && move.step.kind === "raise-memlock") ? null : raise;
    if (moves.some(wantsPortSoon)) {
      for (const place of places) {
        used.add(portKey(place));
      }
    }
    return moves;
  });
}

/** A unit that moves now or after a short rest has its ports kept; one that waits for something else has not. */
function wantsPortSoon(move: Move): boolean {
  return "step" in move || move.held.reason.kind === "backing-off";
}

function convoyMoves(
  scene: Scene,
  convoy: Convoy,
  used: ReadonlySet<string>,
  raise: MemlockRaise | null,
): { readonly moves: Move[]; readonly places: readonly Place[] } {
  const { whole } = convoy;
  const missing = missingOf(scene, whole);
  const foreign = foreignMoves(scene, whole);
  if (foreign.length > 0 || missing.length === 0) {
    return { moves: foreign, places: [] };
  }
  const chosen = placesFor(scene, whole, missing, used);
  const places = chosen.ok ? chosen.value : [];
  const reason = unitObjection(scene, whole, missing) ?? (chosen.ok ? null : chosen.error);
  if (reason?.kind === "memlock" && chosen.ok && raise !== null) {
    const why = `it may lock ${reason.limitBytes} bytes of memory but needs at least ${reason.neededBytes}`;
    const step: Step = { kind: "raise-memlock", vm: whole.vm, addresses: missing, ...raise, why };
    return { moves: [{ step }], places };
  }
  const moves: Move[] =
    reason === null
      ? nextSteps(scene, convoy, places).map((step) => ({ step }))
      : missing.map((address) => ({ held: { address, vm: whole.vm, rule: whole.rule, reason } }));
  return { moves, places };
}

function missingOf(scene: Scene, unit: Unit): readonly PciAddress[] {
  return unit.members.filter((address) => scene.taken.get(address)?.vm !== unit.vm);
}

function placesFor(
  scene: Scene,
  unit: Unit,
  missing: readonly PciAddress[],
  used: ReadonlySet<string>,
): Result<readonly Place[], HeldReason> {
  const status = vmStatus(scene.world, unit.vm);
  return status.kind === "up"
    ? choosePorts(scene, unit, missing, withShunned(scene.world, unit.vm, status.view), used)
    : ok([]);
}

function foreignMoves(scene: Scene, unit: Unit): Move[] {
  return unit.members.flatMap((address): Move[] => {
    const occupant = scene.taken.get(address);
    if (occupant === undefined || isOurs(scene.world, occupant.vm, occupant.entry)) {
      return [];
    }
    const reason: HeldReason = { kind: "foreign", vm: occupant.vm, id: occupant.entry.id };
    return [{ held: { address, vm: unit.vm, rule: unit.rule, reason } }];
  });
}

/** The first thing that stands against moving the unit now, its ports left aside. */
function unitObjection(scene: Scene, unit: Unit, missing: readonly PciAddress[]): HeldReason | null {
  for (const address of missing) {
    const reason = memberObjection(scene, unit.vm, address);
    if (reason !== null) {
      return reason;
    }
  }
  return (
    groupObjection(scene.world, scene.taken, unit.iommuGroup, unit.vm) ??
    vmObjection(unit.vm, vmStatus(scene.world, unit.vm), 0) ??
    wayBackObjection(scene, unit)
  );
}

/** A card of which a part is on its way out of the VM again waits until that is over. */
function wayBackObjection({ world, taken }: Scene, unit: Unit): HeldReason | null {
  for (const address of unit.members) {
    const occupant = taken.get(address);
    const unplug =
      occupant === undefined ? undefined : world.unplugs.get(pairKey(unit.vm, unplugName(occupant.entry)));
    if (unplug !== undefined && occupant !== undefined && isOnItsWayBack(world, unit.vm, occupant.entry)) {
      const { times, firstAskedMs: sinceMs } = unplug;
      return { kind: "unplug-pending", vm: unit.vm, times, sinceMs };
    }
  }
  return null;
}

function memberObjection(scene: Scene, vm: string, address: PciAddress): HeldReason | null {
  const { world, taken } = scene;
  const occupant = taken.get(address);
  if (occupant !== undefined) {
    return { kind: "in-vm-elsewhere", vm: occupant.vm };
  }
  const lease = world.leases.get(address);
  const isParked = lease !== undefined && isFreeOnVfio(scene, lease);
  if (
    lease !== undefined &&
    !isParked &&
    (lease.vm !== vm || !isLeaseOf(lease, world.devices.get(address)))
  ) {
    return { kind: "leased-elsewhere", vm: lease.vm };
  }
  if (world.areIntentsLost) {
    return { kind: "intents-lost" };
  }
  const hold = holdOn(world, vm, address);
  if (hold !== undefined) {
    return { kind: "hold", cause: hold.cause, detail: hold.detail };
  }
  const port = unansweredPortOf(world, vm, address);
  return port === undefined ? retryHeld(world, "arrive", vm, address) : { kind: "outcome-unknown", vm, port };
}

/** Units that are not wholly leased and on vfio are bound first; then all are attached. */
function nextSteps(scene: Scene, { units, whole }: Convoy, places: readonly Place[]): readonly Step[] {
  const moving = units.filter((unit) => missingOf(scene, unit).length > 0);
  const unbound = moving.filter((unit) => !isBoundWhole(scene, unit));
  const iommuGroups = moving.map(({ iommuGroup }) => iommuGroup);
  return unbound.length === 0
    ? [attachStep(scene, whole, iommuGroups, places)]
    : unbound.map((unit) => bindStep(unit, missingOf(scene, unit)));
}

function isBoundWhole(scene: Scene, unit: Unit): boolean {
  const { world } = scene;
  return (
    missingOf(scene, unit).every((address) => isBoundForUs(world, unit.vm, address)) &&
    unit.companions.every((address) => world.leases.has(address)) &&
    unit.bystanders.every((address) => world.leases.has(address) && isOnVfioNow(world, address))
  );
}

function bindStep(unit: Unit, missing: readonly PciAddress[]): Step {
  return {
    kind: "bind",
    vm: unit.vm,
    rule: unit.rule,
    iommuGroup: unit.iommuGroup,
    members: missing,
    companions: unit.companions,
    bystanders: unit.bystanders,
    terms: Object.fromEntries(
      missing.flatMap((address) => {
        const rule = unit.rules.get(address);
        return rule === undefined ? [] : [[address, termsOf(rule)]];
      }),
    ),
  };
}

function attachStep(
  scene: Scene,
  unit: Unit,
  iommuGroups: readonly number[],
  places: readonly Place[],
): Step {
  const status = vmStatus(scene.world, unit.vm);
  const process = status.kind === "up" ? status.view.process : null;
  return {
    kind: "attach",
    vm: unit.vm,
    iommuGroups,
    placements: places.map((place) => {
      const rule = unit.rules.get(place.address);
      return {
        ...place,
        id: qemuIdOf(place.address),
        rule: rule?.name ?? unit.rule,
        properties: rule?.properties ?? {},
      };
    }),
    nodeOwner: process === null ? null : { uid: process.uid, gid: process.gid },
  };
}

/** A device that its VM has left on vfio-pci for the next one: `release: vfio`. */
function isFreeOnVfio(scene: Scene, lease: Lease): boolean {
  const { world, assignment, taken } = scene;
  return (
    lease.role === "claimed" &&
    termsNow(world, lease).release === "vfio" &&
    assignment.byDevice.get(lease.address)?.vm !== lease.vm &&
    !taken.has(lease.address) &&
    isVmTransparent(world, lease.vm) &&
    isLeaseOf(lease, world.devices.get(lease.address))
  );
}

function isOnVfioNow(world: World, address: PciAddress): boolean {
  const device = world.devices.get(address);
  return device !== undefined && isOnVfio(device);
}

function isBoundForUs(world: World, vm: string, address: PciAddress): boolean {
  const device = world.devices.get(address);
  const lease = world.leases.get(address);
  return (
    device !== undefined &&
    isOnVfio(device) &&
    lease !== undefined &&
    lease.role === "claimed" &&
    lease.vm === vm &&
    isLeaseOf(lease, device)
  );
}
