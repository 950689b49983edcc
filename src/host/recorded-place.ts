/** Where the devices of a recording hang, as far as their links to the bridges above tell. Pure. */
import { addressParts, type PciAddress, slotOf } from "../core/address.js";
import type { Device } from "../core/device.js";
import { placeBelow } from "../core/place.js";

/**
 * Adds parent, root bus, root port and path where they follow from what was recorded.
 *
 * `isComplete`: the source shows every bridge, so a device without a bridge above is on a root bus. Otherwise only bus 0
 * is known to be one: no bridge of its domain can have it below (PCI-to-PCI Bridge Architecture Specification, 3.2.5.4).
 */
export function withPlaces(devices: readonly Device[], isComplete: boolean): Device[] {
  const byAddress = new Map(devices.map((device) => [device.address, device]));
  const parentOf = (device: Device): PciAddress | null | undefined =>
    device.parent === undefined && (isComplete || addressParts(device.address).bus === 0)
      ? null
      : device.parent;
  return devices.map((device) => {
    const parent = parentOf(device);
    const chain = chainTo(device, byAddress, parentOf);
    const [top] = chain ?? [];
    if (chain === undefined || top === undefined) {
      return parent === undefined ? device : { ...device, parent };
    }
    const rootBus = byAddress.get(top)?.rootBus ?? slotOf(top).slice(0, -":00".length);
    return { ...placeBelow(rootBus, chain, device.physfn ?? null), ...device };
  });
}

/** The device and everything above it, outermost first; `undefined` where that cannot be told. */
function chainTo(
  device: Device,
  byAddress: ReadonlyMap<PciAddress, Device>,
  parentOf: (device: Device) => PciAddress | null | undefined,
): readonly PciAddress[] | undefined {
  const chain: PciAddress[] = [];
  for (let at: Device | undefined = device; at !== undefined && !chain.includes(at.address); ) {
    chain.unshift(at.address);
    const parent: PciAddress | null | undefined = parentOf(at);
    if (parent === null) {
      return chain;
    }
    at = parent === undefined ? undefined : byAddress.get(parent);
  }
  return undefined;
}
