/** From owners to units: IOMMU groups are taken whole or not at all, and so is what a rule claims together. */
import type { PciAddress } from "./address.js";
import type { Device } from "./device.js";
import type { ExactClaims } from "./exact-claims.js";
import type { HeldReason } from "./held.js";
import { describeHeld } from "./held-text.js";
import { sortedAddresses } from "./iommu-group.js";
import type { Rule } from "./policy.js";
import type { Situation } from "./situation.js";
import { splitGroup } from "./takeable.js";
import type { Unit } from "./unit.js";

/** Who is to have a device, by which rule, together with what. */
export interface Owner {
  readonly rule: Rule;
  readonly vm: string;
  readonly unit: readonly PciAddress[];
}

export interface GroupDecision {
  /** Sorted by the address of the first member. */
  readonly units: readonly Unit[];
  readonly owners: ReadonlyMap<PciAddress, Owner>;
  /** Owned devices that cannot be taken, and why. */
  readonly refused: ReadonlyMap<PciAddress, HeldReason>;
}

/** Decides IOMMU group by IOMMU group. */
export function decideGroups(
  owners: ReadonlyMap<PciAddress, Owner>,
  exact: ExactClaims,
  situation: Situation,
): GroupDecision {
  const refused = new Map<PciAddress, HeldReason>();
  const units: Unit[] = [];
  const seen = new Set<number>();
  for (const address of sortedAddresses(owners.keys())) {
    const iommuGroup = situation.world.devices.get(address)?.iommuGroup;
    if (typeof iommuGroup === "number" && !seen.has(iommuGroup)) {
      seen.add(iommuGroup);
      const unit = decideGroup(iommuGroup, owners, exact, situation, refused);
      units.push(...(unit === null ? [] : [unit]));
    }
  }
  return { units: wholeUnits(units, owners, refused), owners, refused };
}

function decideGroup(
  iommuGroup: number,
  owners: ReadonlyMap<PciAddress, Owner>,
  exact: ExactClaims,
  situation: Situation,
  refused: Map<PciAddress, HeldReason>,
): Unit | null {
  const endpoints = situation.topology.groups.get(iommuGroup) ?? [];
  const wanted = endpoints.flatMap((device) => {
    const owner = owners.get(device.address);
    return owner === undefined ? [] : [{ device, owner }];
  });
  const [first] = wanted;
  if (first === undefined) {
    return null;
  }
  const { vm } = first.owner;
  const { companions, bystanders, objection } = splitGroup(
    {
      iommuGroup,
      endpoints,
      vm,
      isWanted: (address) => owners.get(address)?.vm === vm,
      ownerOf: (address) => owners.get(address)?.vm,
      isContested: (address) => !owners.has(address) && exact.has(address),
      isOptedIn: wanted.some(({ owner }) => owner.rule.companions === "bind"),
    },
    situation,
  );
  if (objection !== null) {
    for (const { device } of wanted) {
      refused.set(device.address, fullObjection(objection, wanted));
    }
    return null;
  }
  return {
    vm,
    rule: first.owner.rule.name,
    iommuGroup,
    members: wanted.map(({ device }) => device.address),
    companions: companions.map((device) => device.address),
    bystanders: bystanders.map((device) => device.address),
    rules: new Map(wanted.map(({ device, owner }) => [device.address, owner.rule])),
  };
}

/** Where two VMs want members of one IOMMU group, each is told of all of them. */
function fullObjection(
  objection: HeldReason,
  wanted: readonly { readonly device: Device; readonly owner: Owner }[],
): HeldReason {
  const isSplit = new Set(wanted.map(({ owner }) => owner.vm)).size > 1;
  if (objection.kind !== "iommu-group-blocked" || !isSplit) {
    return objection;
  }
  const claimed = wanted.map(({ device, owner }) => ({
    address: device.address,
    driver: device.driver ?? null,
    vm: owner.vm,
  }));
  return { ...objection, blockers: [...objection.blockers.filter(({ vm }) => vm === null), ...claimed] };
}

/** A unit over several IOMMU groups is taken whole: where one of them cannot be, none is. */
function wholeUnits(
  units: readonly Unit[],
  owners: ReadonlyMap<PciAddress, Owner>,
  refused: Map<PciAddress, HeldReason>,
): readonly Unit[] {
  let left = units;
  for (let isChanged = true; isChanged; ) {
    isChanged = false;
    const whole = left.filter((unit) => {
      const broken = unit.members.flatMap((member) => brokenBy(member, owners, refused));
      const [first] = broken;
      if (first === undefined) {
        return true;
      }
      for (const member of unit.members) {
        refused.set(member, first);
      }
      isChanged = true;
      return false;
    });
    left = whole;
  }
  return left;
}

/** Why a device cannot be taken for the sake of what it is taken with; nothing when all of that can be. */
function brokenBy(
  address: PciAddress,
  owners: ReadonlyMap<PciAddress, Owner>,
  refused: ReadonlyMap<PciAddress, HeldReason>,
): readonly HeldReason[] {
  const owner = owners.get(address);
  return (owner?.unit ?? []).flatMap((member): HeldReason[] => {
    const reason = refused.get(member);
    const rival = owners.get(member);
    if (rival !== undefined && rival.vm !== owner?.vm) {
      return [{ kind: "unit-incomplete", member, why: `rule ${rival.rule.name} gives it to ${rival.vm}` }];
    }
    return reason === undefined ? [] : [{ kind: "unit-incomplete", member, why: describeHeld(reason) }];
  });
}
