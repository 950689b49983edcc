/**
 * What has to come into one VM: unit by unit, first to a vfio driver, then into a port.
 */
import { type PciAddress, qemuIdOf } from "./address.js";
import { isOnVfio } from "./device.js";
import type { HeldReason } from "./held.js";
import { holdOn } from "./holds.js";
import { isLeaseOf } from "./lease.js";
import { isOurs } from "./occupancy.js";
import { freePorts, retryHeld, vmObjection } from "./readiness.js";
import type { Move, Scene } from "./scene.js";
import type { Step } from "./step.js";
import type { Unit } from "./unit.js";
import { vmStatus, type World } from "./world.js";

/** The bind and attach moves for one VM. */
export function planArrivals(scene: Scene, vm: string): Move[] {
  let portsUsed = 0;
  return scene.assignment.units
    .filter((unit) => unit.vm === vm)
    .flatMap((unit) => {
      const missing = unit.members.filter((address) => scene.taken.get(address)?.vm !== vm);
      const moves = unitMoves(scene, unit, missing, portsUsed);
      portsUsed += moves.some(wantsPortSoon) ? missing.length : 0;
      return moves;
    });
}

/** A unit that moves now or after a short rest has its ports kept; one that waits for something else has not. */
function wantsPortSoon(move: Move): boolean {
  return "step" in move || move.held.reason.kind === "backing-off";
}

function unitMoves(scene: Scene, unit: Unit, missing: readonly PciAddress[], portsUsed: number): Move[] {
  const held = (addresses: readonly PciAddress[], reason: HeldReason): Move[] =>
    addresses.map((address) => ({ held: { address, vm: unit.vm, rule: unit.rule, reason } }));
  const foreign = foreignMoves(scene, unit);
  if (foreign.length > 0) {
    return foreign;
  }
  if (missing.length === 0) {
    return [];
  }
  const reason = unitObjection(scene, unit, missing, portsUsed);
  return reason === null ? [{ step: nextStep(scene, unit, missing, portsUsed) }] : held(missing, reason);
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

/** The first thing that stands against moving the unit now. */
function unitObjection(
  scene: Scene,
  unit: Unit,
  missing: readonly PciAddress[],
  portsUsed: number,
): HeldReason | null {
  for (const address of missing) {
    const reason = memberObjection(scene, unit.vm, address);
    if (reason !== null) {
      return reason;
    }
  }
  return vmObjection(unit.vm, vmStatus(scene.world, unit.vm), portsUsed + missing.length);
}

function memberObjection(scene: Scene, vm: string, address: PciAddress): HeldReason | null {
  const { world, taken } = scene;
  const occupant = taken.get(address);
  if (occupant !== undefined) {
    return { kind: "in-vm-elsewhere", vm: occupant.vm };
  }
  const lease = world.leases.get(address);
  if (lease !== undefined && (lease.vm !== vm || !isLeaseOf(lease, world.devices.get(address)))) {
    return { kind: "leased-elsewhere", vm: lease.vm };
  }
  if (world.areIntentsLost) {
    return { kind: "intents-lost" };
  }
  const hold = holdOn(world, vm, address);
  if (hold !== undefined) {
    return { kind: "hold", cause: hold.cause, detail: hold.detail };
  }
  return retryHeld(world, "arrive", vm, address);
}

/** A unit that is not wholly leased and on vfio is bound first; then it is attached. */
function nextStep(scene: Scene, unit: Unit, missing: readonly PciAddress[], portsUsed: number): Step {
  const { world } = scene;
  const isBound = missing.every((address) => isBoundForUs(world, address));
  const isGroupKept = unit.companions.every((address) => world.leases.has(address));
  if (!isBound || !isGroupKept) {
    return {
      kind: "bind",
      vm: unit.vm,
      rule: unit.rule,
      iommuGroup: unit.iommuGroup,
      members: missing,
      companions: unit.companions,
    };
  }
  const status = vmStatus(world, unit.vm);
  const ports = status.kind === "up" ? freePorts(status.view).slice(portsUsed) : [];
  const process = status.kind === "up" ? status.view.process : null;
  return {
    kind: "attach",
    vm: unit.vm,
    iommuGroup: unit.iommuGroup,
    placements: missing.flatMap((address, index) => {
      const port = ports[index];
      return port === undefined ? [] : [{ address, id: qemuIdOf(address), bus: port.bus, addr: port.addr }];
    }),
    nodeOwner: process === null ? null : { uid: process.uid, gid: process.gid },
  };
}

function isBoundForUs(world: World, address: PciAddress): boolean {
  const device = world.devices.get(address);
  const lease = world.leases.get(address);
  return (
    device !== undefined &&
    isOnVfio(device) &&
    lease !== undefined &&
    lease.role === "claimed" &&
    isLeaseOf(lease, device)
  );
}
