/**
 * IOMMU groups: the smallest set of devices that can be given away safely (semantics.md 7).
 */
import { compareAddresses, type PciAddress, slotOf } from "./address.js";
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

/**
 * The devices with one IOMMU group per card where theirs is not known: an assumption, for trying rules on a recording
 * that does not say. What is known stays; the numbers go on behind the known ones, in address order.
 */
export function assumeIommuGroups(devices: readonly Device[]): Device[] {
  const known = devices.map(({ iommuGroup }) => iommuGroup ?? -1);
  const first = known.reduce((most, group) => Math.max(most, group), -1) + 1;
  const unknown = devices.filter(({ iommuGroup }) => iommuGroup === undefined);
  const cards = new Map<string, number>();
  for (const address of sortedAddresses(unknown.map((device) => device.address))) {
    cards.set(slotOf(address), cards.get(slotOf(address)) ?? first + cards.size);
  }
  return devices.map((device) => {
    const assumed = cards.get(slotOf(device.address));
    return device.iommuGroup !== undefined || assumed === undefined
      ? device
      : { ...device, iommuGroup: assumed };
  });
}

/** Whether the device is a bridge of any kind (base class 06). An unknown class counts as an endpoint. */
export function isBridgeDevice(device: Device): boolean {
  return device.class !== undefined && isBridge(device.class);
}

/** Addresses in their one order. */
export function sortedAddresses(addresses: Iterable<PciAddress>): PciAddress[] {
  return [...addresses].sort(compareAddresses);
}
