/**
 * IOMMU groups: the smallest set of devices that can be given away safely (semantics.md 7).
 */
import { compareAddresses, type PciAddress } from "./address.js";
import type { Device } from "./device.js";
import { isBridge } from "./pci-class.js";

/** The endpoints of each IOMMU group, sorted by address. Bridges are members but never taken, so not listed. */
export function endpointsByGroup(devices: Iterable<Device>): ReadonlyMap<number, readonly Device[]> {
  const groups = new Map<number, Device[]>();
  for (const device of devices) {
    const group = device.iommuGroup;
    if (typeof group === "number" && !isBridgeDevice(device)) {
      const members = groups.get(group);
      if (members === undefined) {
        groups.set(group, [device]);
      } else {
        members.push(device);
      }
    }
  }
  for (const members of groups.values()) {
    members.sort((a, b) => compareAddresses(a.address, b.address));
  }
  return groups;
}

/** Whether the device is a bridge of any kind (base class 06). An unknown class counts as an endpoint. */
export function isBridgeDevice(device: Device): boolean {
  return device.class !== undefined && isBridge(device.class);
}

/** Addresses in their one order. */
export function sortedAddresses(addresses: Iterable<PciAddress>): PciAddress[] {
  return [...addresses].sort(compareAddresses);
}
