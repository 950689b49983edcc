/**
 * Who should have what, and why not: the whole of the deciding that needs no moment.
 *
 * Pure and total. The same inventory, policy and protections give the same answer, in the same order, whatever
 * order events came in; whether a VM is up is no input (semantics.md 4).
 */
import type { PciAddress } from "./address.js";
import { type Claims, claimant, claimsOf, type DeviceClaim } from "./claims.js";
import { type Device, isOnVfio } from "./device.js";
import type { Blocker, Held, HeldReason } from "./held.js";
import { endpointsByGroup, sortedAddresses } from "./iommu-group.js";
import { vmsOf } from "./policy.js";
import type { World } from "./world.js";

/** What moves as one: the claimed endpoints of one IOMMU group, all for one VM. */
export interface Unit {
  readonly vm: string;
  /** The rule that claims the first member. */
  readonly rule: string;
  readonly iommuGroup: number;
  /** Sorted by address. */
  readonly members: readonly PciAddress[];
  /** Driverless neighbours that no rule claims: they stay, but must not get a host driver (semantics.md 7). */
  readonly companions: readonly PciAddress[];
}

export interface Assignment {
  /** Sorted by the address of the first member. */
  readonly units: readonly Unit[];
  /** Device -> unit, for the members of every unit. */
  readonly byDevice: ReadonlyMap<PciAddress, Unit>;
  /** Devices that rules speak of but that nobody gets, sorted by address. */
  readonly held: readonly Held[];
  /** Every device that a rule speaks of. */
  readonly claims: ReadonlyMap<PciAddress, DeviceClaim>;
}

const nothing: Assignment = { units: [], byDevice: new Map(), held: [], claims: new Map() };

/** Decides which VM each device belongs to. */
export function assign(
  world: Pick<World, "policy" | "devices" | "protections" | "leases">,
  claims: Claims = claimsOf(world),
): Assignment {
  if (claims.size === 0) {
    return nothing;
  }
  const groups = endpointsByGroup(world.devices.values());
  const units: Unit[] = [];
  const held: Held[] = [];
  const seenGroups = new Set<number>();
  for (const address of sortedAddresses(claims.keys())) {
    const claim = claims.get(address);
    const group = claim?.device.iommuGroup;
    if (claim === undefined) {
      continue;
    }
    if (claim.against !== null || typeof group !== "number") {
      held.push(heldFor(claim, claim.against ?? { kind: "no-iommu-group" }));
    } else if (!seenGroups.has(group)) {
      seenGroups.add(group);
      const outcome = decideGroup(group, groups.get(group) ?? [], claims, world);
      units.push(...outcome.units);
      held.push(...outcome.held);
    }
  }
  const byDevice = new Map(units.flatMap((unit) => unit.members.map((member) => [member, unit] as const)));
  return { units, byDevice, held: sortHeld(held), claims };
}

function heldFor(claim: DeviceClaim, reason: HeldReason): Held {
  const rule = claim.rules[0];
  return {
    address: claim.device.address,
    vm: reason.kind === "conflict" || rule === undefined ? null : (vmsOf(rule)[0] ?? null),
    rule: rule?.name ?? null,
    reason,
  };
}

/** An IOMMU group is taken only whole: every endpoint claimed for the same VM, or driverless (semantics.md 7). */
function decideGroup(
  iommuGroup: number,
  endpoints: readonly Device[],
  claims: ReadonlyMap<PciAddress, DeviceClaim>,
  world: Pick<World, "protections" | "leases">,
): { units: Unit[]; held: Held[] } {
  const wanted = endpoints.flatMap((device) => {
    const claim = claims.get(device.address);
    const vm = claimant(claim);
    return claim === undefined || vm === undefined ? [] : [{ claim, vm }];
  });
  const first = wanted[0];
  if (first === undefined) {
    return { units: [], held: [] };
  }
  const others = endpoints.filter((device) => claimant(claims.get(device.address)) === undefined);
  const reason = groupObjection(iommuGroup, others, wanted, claims, world);
  if (reason !== null) {
    return { units: [], held: wanted.map(({ claim }) => heldFor(claim, reason)) };
  }
  return {
    units: [
      {
        vm: first.vm,
        rule: first.claim.rules[0]?.name ?? "",
        iommuGroup,
        members: wanted.map(({ claim }) => claim.device.address),
        companions: others.map((device) => device.address),
      },
    ],
    held: [],
  };
}

function groupObjection(
  iommuGroup: number,
  others: readonly Device[],
  wanted: readonly { claim: DeviceClaim; vm: string }[],
  claims: ReadonlyMap<PciAddress, DeviceClaim>,
  world: Pick<World, "protections" | "leases">,
): HeldReason | null {
  const unfit = others.find((device) => world.protections.has(device.address));
  if (unfit !== undefined) {
    const why = world.protections.get(unfit.address)?.because ?? "";
    return { kind: "iommu-group-unfit", iommuGroup, member: unfit.address, why: `protected: ${why}` };
  }
  const blockers: Blocker[] = others
    .filter((device) => !isIdle(device, world.leases) || claims.get(device.address)?.against !== undefined)
    .map((device) => ({ address: device.address, driver: device.driver ?? null, vm: null }));
  const vms = new Set(wanted.map(({ vm }) => vm));
  if (vms.size > 1) {
    blockers.push(
      ...wanted.map(({ claim, vm }) => ({
        address: claim.device.address,
        driver: claim.device.driver ?? null,
        vm,
      })),
    );
  }
  return blockers.length > 0 ? { kind: "iommu-group-blocked", iommuGroup, blockers } : null;
}

/**
 * Driverless, and not because we are in the middle of giving it back: a neighbour that we still lease as claimed
 * must first be released, else it would be companion and leaver at once.
 */
function isIdle(device: Device, leases: World["leases"]): boolean {
  const role = leases.get(device.address)?.role;
  // The override that keeps host drivers away also lets a vfio driver in: at a probe of the bus, or with its module.
  return role === "companion"
    ? device.driver === null || isOnVfio(device)
    : device.driver === null && role === undefined;
}

function sortHeld(held: readonly Held[]): Held[] {
  const order = new Map(
    sortedAddresses(held.map((entry) => entry.address)).map((address, index) => [address, index]),
  );
  return [...held].sort((a, b) => (order.get(a.address) ?? 0) - (order.get(b.address) ?? 0));
}
