/**
 * How far a device is on its way into its VM, and how long it has been asked to leave: each a fact of its own. That QEMU
 * took a device says nothing about the guest, and that the guest was asked says nothing about its answer (facts.md 1, 3).
 */
import type { PciAddress } from "./address.js";
import { isOnVfio } from "./device.js";
import { isLeaseOf } from "./lease.js";
import type { Occupant } from "./occupancy.js";
import { overdueMs } from "./unplug.js";
import type { PlugMode } from "./vm.js";
import type { World } from "./world.js";

/** What is so now, in the order in which it comes about. */
export interface Passage {
  /** The ledger says that it belongs to a VM. */
  readonly leased: boolean;
  /** It is on a vfio driver. */
  readonly bound: boolean;
  /** QEMU was told to take it, and has not answered yet, or nobody knows what it answered. */
  readonly sent: boolean;
  /** QEMU lists it. */
  readonly taken: boolean;
  /** The guest has given it addresses. False: not (yet), which is no failure; `null`: it cannot be told. */
  readonly seen: boolean | null;
}

/** Where a device stands; `undefined` for one that no VM has and none is to have by the ledger. */
export function passageOf(
  world: World,
  taken: ReadonlyMap<PciAddress, Occupant>,
  address: PciAddress,
): Passage | undefined {
  const device = world.devices.get(address);
  const lease = world.leases.get(address);
  const occupant = taken.get(address);
  const isLeased = lease !== undefined && lease.role === "claimed" && isLeaseOf(lease, device);
  if (occupant === undefined && !isLeased) {
    return undefined;
  }
  const isSent = [...world.portsInFlight.values()].some(({ addresses }) => addresses.includes(address));
  return {
    leased: isLeased,
    bound: device !== undefined && isOnVfio(device),
    sent: occupant === undefined && isSent,
    taken: occupant !== undefined,
    seen: occupant?.entry.isInUse ?? null,
  };
}

/** A device that its VM was asked to let go of, and has not. */
export interface Leaving {
  readonly address: PciAddress;
  readonly id: string;
  /** `overdue`: for longer than a guest takes that co-operates. */
  readonly state: "pending" | "overdue";
  readonly mode: PlugMode;
  readonly times: number;
  /** When it was asked first, and last: ISO 8601, UTC. */
  readonly since: string;
  readonly lastAsked: string;
  readonly forMs: number;
}

/** What one VM was asked to let go of, oldest first. */
export function leavingOf(
  world: World,
  vm: string,
  { now, wallTimeOf }: { readonly now: () => number; readonly wallTimeOf: (ms: number) => string },
): readonly Leaving[] {
  const nowMs = now();
  return [...world.unplugs.values()]
    .filter((unplug) => unplug.vm === vm)
    .sort((a, b) => a.firstAskedMs - b.firstAskedMs)
    .map((unplug) => ({
      address: unplug.address,
      id: unplug.id,
      state: nowMs < overdueMs(unplug) ? "pending" : "overdue",
      mode: unplug.mode,
      times: unplug.times,
      since: wallTimeOf(unplug.firstAskedMs),
      lastAsked: wallTimeOf(unplug.askedMs),
      forMs: nowMs - unplug.firstAskedMs,
    }));
}
