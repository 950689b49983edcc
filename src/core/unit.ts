/** What moves as one: the claimed endpoints of one IOMMU group, all for one VM. */
import type { PciAddress } from "./address.js";
import type { Rule } from "./policy.js";

export interface Unit {
  readonly vm: string;
  /** The rule that claims the first member. */
  readonly rule: string;
  readonly iommuGroup: number;
  /** Sorted by address. */
  readonly members: readonly PciAddress[];
  /** Driverless neighbours that no rule claims: they stay, but must not get a host driver (semantics.md 7). */
  readonly companions: readonly PciAddress[];
  /** Neighbours on a host driver that go to vfio-pci with the unit, and to no VM. */
  readonly bystanders: readonly PciAddress[];
  /** The rule behind each member. */
  readonly rules: ReadonlyMap<PciAddress, Rule>;
}
