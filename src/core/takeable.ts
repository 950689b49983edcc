/**
 * When an IOMMU group can be taken: every endpoint in it for the same VM, or without a driver, or opted in
 * (semantics.md 7).
 */
import type { PciAddress } from "./address.js";
import { type Device, isOnVfio } from "./device.js";
import type { Blocker, HeldReason } from "./held.js";
import { isLeaseOf } from "./lease.js";
import { termsNow } from "./lost.js";
import type { Protection } from "./protection.js";
import type { Situation } from "./situation.js";

/** The endpoints of an IOMMU group, told apart for the VM that is to have some of them. */
export interface GroupSplit {
  /** Driverless neighbours: they stay, but must not get a host driver. */
  readonly companions: readonly Device[];
  /** Neighbours on a host driver that the rules opt in: bound to vfio-pci, given to nobody. */
  readonly bystanders: readonly Device[];
  /** Why the group cannot be taken; `null` when it can. */
  readonly objection: HeldReason | null;
}

export interface GroupQuestion {
  readonly iommuGroup: number;
  readonly endpoints: readonly Device[];
  readonly vm: string;
  /** The endpoints that the VM is to have. */
  readonly isWanted: (address: PciAddress) => boolean;
  /** The VM that another endpoint is for; `undefined` when it is for none. */
  readonly ownerOf: (address: PciAddress) => string | undefined;
  /** Whether a rule speaks of the endpoint but may not have it: then it is not idle, whatever its driver. */
  readonly isContested: (address: PciAddress) => boolean;
  /** Whether a rule that takes part says `companions: bind`. */
  readonly isOptedIn: boolean;
}

/** Judges one IOMMU group for one VM. */
export function splitGroup(question: GroupQuestion, situation: Situation): GroupSplit {
  const others = question.endpoints.filter((device) => !question.isWanted(device.address));
  const unfit = unfitAmong(others, question.iommuGroup, situation.world.protections);
  if (unfit !== null) {
    return { companions: [], bystanders: [], objection: unfit };
  }
  const foreign = (device: Device) => {
    const owner = question.ownerOf(device.address);
    return owner !== undefined && owner !== question.vm;
  };
  const isFree = (device: Device) => !foreign(device) && !question.isContested(device.address);
  const companions = others.filter((device) => isFree(device) && isIdle(device, situation));
  const bystanders = others.filter(
    (device) =>
      question.isOptedIn &&
      isFree(device) &&
      !companions.includes(device) &&
      situation.mayBind(device, question.vm),
  );
  const blockers: readonly Blocker[] = others
    .filter((device) => !companions.includes(device) && !bystanders.includes(device))
    .filter((device) => !(isFree(device) && isParked(device, situation)))
    .map((device) => ({
      address: device.address,
      driver: device.driver ?? null,
      vm: question.ownerOf(device.address) ?? null,
    }));
  const { iommuGroup } = question;
  const objection: HeldReason | null =
    blockers.length === 0 ? null : { kind: "iommu-group-blocked", iommuGroup, blockers };
  return { companions, bystanders, objection };
}

function unfitAmong(
  others: readonly Device[],
  iommuGroup: number,
  protections: ReadonlyMap<PciAddress, Protection>,
): HeldReason | null {
  const member = others.find((device) => protections.has(device.address));
  return member === undefined
    ? null
    : {
        kind: "iommu-group-unfit",
        iommuGroup,
        member: member.address,
        why: `protected: ${protections.get(member.address)?.because ?? ""}`,
      };
}

/**
 * Driverless, and not because we are in the middle of giving it back: a neighbour that we still lease as claimed must
 * first be released, else it would be companion and leaver at once.
 */
function isIdle(device: Device, situation: Situation): boolean {
  const role = situation.world.leases.get(device.address)?.role;
  // The override that keeps host drivers away also lets a vfio driver in: at a probe of the bus, or with its module.
  // One that was on a host driver before is no companion of this kind, though it is on vfio-pci now.
  return role === "companion"
    ? (device.lent?.driver ?? null) === null && (device.driver === null || isOnVfio(device))
    : device.driver === null && role === undefined;
}

/** Left on vfio-pci by a VM that has done with it (`release: vfio`): out of the host's reach, and nobody's way. */
function isParked(device: Device, { world }: Situation): boolean {
  const lease = world.leases.get(device.address);
  return (
    lease?.role === "claimed" &&
    isLeaseOf(lease, device) &&
    isOnVfio(device) &&
    termsNow(world, lease).release === "vfio"
  );
}
