/**
 * What has to come into one VM: unit by unit, first to a vfio driver, then into a port.
 */
import { type PciAddress, qemuIdOf } from "./address.js";
import { isOnVfio } from "./device.js";
import type { HeldReason } from "./held.js";
import { holdOn } from "./holds.js";
import { isLeaseOf, type Lease, termsOf } from "./lease.js";
import { termsNow } from "./lost.js";
import { isOurs, isVmTransparent } from "./occupancy.js";
import { freePorts, retryHeld, vmObjection } from "./readiness.js";
import type { Move, Scene } from "./scene.js";
import type { Step } from "./step.js";
import type { Unit } from "./unit.js";
import type { Port } from "./vm.js";
import { vmStatus, type World } from "./world.js";

/** The bind and attach moves for one VM. */
export function planArrivals(scene: Scene, vm: string): Move[] {
  let portsUsed = 0;
  return (scene.assignment.byVm.get(vm) ?? []).flatMap((unit) => {
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
  return (
    vmObjection(unit.vm, vmStatus(scene.world, unit.vm), portsUsed + missing.length) ??
    portObjection(scene, unit, missing)
  );
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
  return retryHeld(world, "arrive", vm, address);
}

/** A unit that is not wholly leased and on vfio is bound first; then it is attached. */
function nextStep(scene: Scene, unit: Unit, missing: readonly PciAddress[], portsUsed: number): Step {
  const { world } = scene;
  const isBound = missing.every((address) => isBoundForUs(world, unit.vm, address));
  const isGroupKept =
    unit.companions.every((address) => world.leases.has(address)) &&
    unit.bystanders.every((address) => world.leases.has(address) && isOnVfioNow(world, address));
  return isBound && isGroupKept ? attachStep(scene, unit, missing, portsUsed) : bindStep(unit, missing);
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

function attachStep(scene: Scene, unit: Unit, missing: readonly PciAddress[], portsUsed: number): Step {
  const status = vmStatus(scene.world, unit.vm);
  const process = status.kind === "up" ? status.view.process : null;
  const ports = status.kind === "up" ? portsFor(unit, missing, freePorts(status.view), portsUsed) : [];
  return {
    kind: "attach",
    vm: unit.vm,
    iommuGroup: unit.iommuGroup,
    placements: missing.flatMap((address, index) => {
      const port = ports[index];
      const rule = unit.rules.get(address);
      return port === undefined
        ? []
        : [
            {
              address,
              id: qemuIdOf(address),
              bus: port.bus,
              addr: port.addr,
              rule: rule?.name ?? unit.rule,
              properties: rule?.properties ?? {},
            },
          ];
    }),
    nodeOwner: process === null ? null : { uid: process.uid, gid: process.gid },
  };
}

/** One port for each device: the one its rule names, or the next that no rule names and nobody is about to use. */
function portsFor(
  unit: Unit,
  missing: readonly PciAddress[],
  free: readonly Port[],
  portsUsed: number,
): readonly (Port | undefined)[] {
  const named = new Set(missing.flatMap((address) => unit.rules.get(address)?.port ?? []));
  const others = free.filter((port) => !named.has(port.bus)).slice(portsUsed);
  const isUsed = new Set<string>();
  return missing.map((address) => {
    const wanted = unit.rules.get(address)?.port ?? null;
    const own = wanted === null ? undefined : free.find((port) => port.bus === wanted && !isUsed.has(wanted));
    const port = own ?? others.shift();
    if (port !== undefined) {
      isUsed.add(port.bus);
    }
    return port;
  });
}

/** Whether the port that a rule names is free; a second device of the unit takes any other. */
function portObjection(scene: Scene, unit: Unit, missing: readonly PciAddress[]): HeldReason | null {
  const status = vmStatus(scene.world, unit.vm);
  const ports = new Set(status.kind === "up" ? freePorts(status.view).map((port) => port.bus) : []);
  const wanted = missing.flatMap((address) => unit.rules.get(address)?.port ?? []);
  const lost = status.kind === "up" ? wanted.find((port) => !ports.has(port)) : undefined;
  return lost === undefined
    ? null
    : { kind: "no-free-port", vm: unit.vm, needed: 1, ports: `port ${lost} is not there or not free` };
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
