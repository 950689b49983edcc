/**
 * Holds: when somebody else moved a device of ours, we do not move it back (semantics.md 5).
 */
import { addressOfQemuId, type PciAddress } from "./address.js";
import { type Device, isOnVfio } from "./device.js";
import { type Hold, isLeaseOf, type Lease } from "./lease.js";
import { addressesOf, type StepOf } from "./step.js";
import { processKey, type VmStatus } from "./vm.js";
import { pairKey, vmStatus, type World } from "./world.js";

/** The hold in force on a device for a VM. */
export function holdOn(world: Pick<World, "holds">, vm: string, address: PciAddress): Hold | undefined {
  return world.holds.find((hold) => hold.vm === vm && hold.address === address);
}

/**
 * The hold that a DEVICE_DELETED calls for: one that we did not ask for means that the guest (or the host's
 * kernel, on its behalf) ejected the device.
 */
export function holdForEjection(world: World, vm: string, id: string): Hold | null {
  const address = addressOfQemuId(id);
  const device = address === undefined ? undefined : world.devices.get(address);
  const isOurDoing =
    world.unplugs.has(pairKey(vm, id)) ||
    [...world.running.values()].some(
      (step) =>
        (step.kind === "detach" && step.vm === vm && namesOf(step).includes(id)) ||
        (step.kind === "attach" && step.vm === vm && step.placements.some((entry) => entry.id === id)),
    );
  if (device === undefined || isOurDoing || holdOn(world, vm, device.address) !== undefined) {
    return null;
  }
  return {
    address: device.address,
    vm,
    appearance: device.appearance,
    process: keyOf(vmStatus(world, vm)),
    cause: "ejected-by-guest",
    detail: `${vm} let go of ${device.address} without being asked (the guest ejected it, or the host is taking the card away)`,
    atMs: world.nowMs,
  };
}

/** What a detach takes out of the VM: a card leaves its port whole. */
function namesOf({ id, mates = [] }: StepOf<"detach">): readonly string[] {
  return [id, ...mates.map((mate) => mate.id)];
}

/** Holds for leased devices that left their vfio driver by somebody else's hand, between two looks. */
export function holdForDriverChange(before: World, after: World): readonly Hold[] {
  const busy = new Set([...after.running.values()].flatMap(addressesOf));
  return [...after.leases.values()].flatMap((lease) => {
    const now = after.devices.get(lease.address);
    const was = before.devices.get(lease.address);
    const isOurs = lease.role === "claimed" && isLeaseOf(lease, now) && !busy.has(lease.address);
    if (!isOurs || now === undefined || was === undefined || !hasLeftVfio(was, now)) {
      return [];
    }
    return holdOn(after, lease.vm, lease.address) === undefined ? [driverHold(after, lease, was, now)] : [];
  });
}

function hasLeftVfio(was: Device, now: Device): boolean {
  return was.appearance === now.appearance && isOnVfio(was) && !isOnVfio(now);
}

function driverHold(world: World, lease: Lease, was: Device, now: Device): Hold {
  return {
    address: lease.address,
    vm: lease.vm,
    appearance: now.appearance,
    process: keyOf(vmStatus(world, lease.vm)),
    cause: "driver-changed",
    detail: `the driver of ${lease.address} changed from ${was.driver} to ${now.driver ?? "none"}, not by us`,
    atMs: world.nowMs,
  };
}

/** The holds that still speak of what is there: another appearance of the card or another process ends them. */
export function endHolds(world: World, holds: readonly Hold[]): readonly Hold[] {
  const kept = holds.filter((hold) => isInForce(world, hold));
  return kept.length === world.holds.length && kept.every((hold, index) => hold === world.holds[index])
    ? world.holds
    : kept;
}

function isInForce(world: World, hold: Hold): boolean {
  if (world.isHostSeen && world.devices.get(hold.address)?.appearance !== hold.appearance) {
    return false;
  }
  const status = vmStatus(world, hold.vm);
  const process = keyOf(status);
  // A process that could not be found is not another one.
  return status.kind !== "absent" && (process === null || hold.process === null || process === hold.process);
}

function keyOf(status: VmStatus): string | null {
  return status.kind === "up" ? processKey(status.view.process) : null;
}
