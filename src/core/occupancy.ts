/**
 * Where devices are right now, read from what QEMU itself listed, and whose they are (semantics.md 5).
 */
import { type PciAddress, QEMU_ID_PREFIX } from "./address.js";
import type { HeldReason } from "./held.js";
import { isLeaseOf } from "./lease.js";
import type { Attached } from "./vm.js";
import { vmStatus, type World } from "./world.js";

/** A device in a VM. */
export interface Occupant {
  readonly vm: string;
  readonly entry: Attached;
}

/**
 * Every passed-through device that a VM lists, by host address.
 *
 * A device that is leased to one VM is not in another, whatever that one says: a hostile QEMU may withhold what it was
 * given, and nothing else (semantics.md 9). If it were there all the same, the kernel would refuse the second user.
 */
export function occupants(world: World): ReadonlyMap<PciAddress, Occupant> {
  const found = new Map<PciAddress, Occupant>();
  for (const [vm, status] of world.vms) {
    for (const entry of status.kind === "up" ? status.view.attached : []) {
      if (entry.address !== null && isOpenTo(world, vm, entry.address)) {
        found.set(entry.address, { vm, entry });
      }
    }
  }
  return found;
}

function isOpenTo(world: World, vm: string, address: PciAddress): boolean {
  const lease = world.leases.get(address);
  return lease === undefined || lease.vm === vm;
}

/** Ours = in the ledger, or a QEMU id with our prefix. Anything else in a VM is foreign. */
export function isOurs(world: World, vm: string, entry: Attached): boolean {
  if (entry.id?.startsWith(QEMU_ID_PREFIX) === true) {
    return true;
  }
  const lease = entry.address === null ? undefined : world.leases.get(entry.address);
  return (
    lease !== undefined &&
    lease.vm === vm &&
    entry.address !== null &&
    isLeaseOf(lease, world.devices.get(entry.address))
  );
}

/** Whether it is certain that a VM holds nothing beyond what its view lists: it answers, or its process is gone. */
export function isVmTransparent(world: World, vm: string): boolean {
  const status = vmStatus(world, vm);
  return status.kind === "up" || status.kind === "absent";
}

/** Why an IOMMU group waits: a VM (another one than `except`) has a member of it; `null` when none has. */
export function groupObjection(
  world: World,
  taken: ReadonlyMap<PciAddress, Occupant>,
  iommuGroup: number,
  except: string | null,
): HeldReason | null {
  for (const [member, { vm }] of taken) {
    if (vm !== except && world.devices.get(member)?.iommuGroup === iommuGroup) {
      return { kind: "iommu-group-in-vm", vm, member };
    }
  }
  return null;
}
