/** Who is to have what, as it is told: also where the present differs from what a fresh start would give. */
import type { PciAddress } from "./address.js";
import { assign } from "./assign.js";
import { sortedAddresses } from "./iommu-group.js";
import type { Scene } from "./scene.js";
import { ORDER_NAME } from "./situation.js";
import type { Unit } from "./unit.js";

export interface AssignmentReport {
  readonly address: PciAddress;
  readonly vm: string;
  /** `@attach` for an operator's order. */
  readonly rule: string;
  /** `sticky`: the VM has it and keeps it; without any history another one, or nobody, would (semantics.md 4). */
  readonly kept?: "sticky";
}

/** Every assigned device, whether its VM has it already or not; sorted by address. */
export function reportAssignments(scene: Scene): readonly AssignmentReport[] {
  const { byDevice } = scene.assignment;
  const canonical = canonicalUnits(scene);
  return sortedAddresses(byDevice.keys()).flatMap((address) => {
    const unit = byDevice.get(address);
    if (unit === undefined) {
      return [];
    }
    const { vm } = unit;
    const entry = { address, vm, rule: ruleOf(unit, address) };
    return [canonical.get(address)?.vm === vm ? entry : { ...entry, kept: "sticky" as const }];
  });
}

/** The name of the rule by which a member of a unit is there. */
export function ruleOf(unit: Unit, address: PciAddress): string {
  return unit.rules.get(address)?.name ?? ORDER_NAME;
}

/** The answer without any history. Neighbours that are only kept from host drivers are no history. */
function canonicalUnits({ world, assignment }: Scene): ReadonlyMap<PciAddress, Unit> {
  const leases = new Map([...world.leases].filter(([, lease]) => lease.role === "companion"));
  return leases.size === world.leases.size
    ? assignment.byDevice
    : assign({ ...world, leases, inventoryMovedMs: null }, assignment.findings).byDevice;
}
