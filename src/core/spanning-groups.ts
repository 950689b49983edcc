/** IOMMU groups that are wider than a card: what shares one can reach each other's memory (semantics.md 8). */
import { type PciAddress, slotOf } from "./address.js";
import type { Device } from "./device.js";
import { endpointsByGroup } from "./iommu-group.js";

/** An IOMMU group whose endpoints lie in several slots. */
export interface SpanningGroup {
  readonly iommuGroup: number;
  /** Its endpoints, in order. */
  readonly members: readonly PciAddress[];
}

/** The IOMMU groups that span slots, by number. VFs count with the slot that their address has. */
export function spanningGroups(devices: Iterable<Device>): readonly SpanningGroup[] {
  return [...endpointsByGroup(devices)]
    .map(([iommuGroup, members]) => ({ iommuGroup, members: members.map(({ address }) => address) }))
    .filter(({ members }) => new Set(members.map(slotOf)).size > 1)
    .sort((a, b) => a.iommuGroup - b.iommuGroup);
}
