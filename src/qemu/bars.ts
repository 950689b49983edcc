/**
 * What query-pci tells of BARs: the only sign of what the guest made of a device (facts.md 2.2).
 *
 * All of them without an address proves nothing: the guest may have no driver for the device. Some with and some
 * without does: there was no room. I/O ports and the ROM are left without one as a rule, so they do not count.
 */
import type { PciDeviceInfo, PciInfo } from "../qmp/results.js";

/** BARs 0 to 5; 6 is the ROM. */
const BARS = 6;

/** What the guest has made of one device; `isInUse` is absent for one without memory BARs, of which nothing can be told. */
export interface GuestUse {
  readonly isInUse?: boolean;
  readonly unassigned?: readonly number[];
}

/** What the guest has made of the devices that have an id, by id. One that its firmware has not found yet is not in it. */
export function guestUse(buses: readonly PciInfo[]): ReadonlyMap<string, GuestUse> {
  const named = buses
    .flatMap((bus) => bus.devices.flatMap(withChildren))
    .filter(({ qdev_id: id }) => id !== "");
  return new Map(named.map((device) => [device.qdev_id, useOf(device)] as const));
}

function useOf({ regions }: PciDeviceInfo): GuestUse {
  const bars = regions.filter(({ type, bar }) => type === "memory" && bar < BARS);
  const without = bars.filter(({ address }) => Number(address) === -1).map(({ bar }) => bar);
  if (bars.length === 0) {
    return {};
  }
  const isInUse = without.length < bars.length;
  return isInUse && without.length > 0 ? { isInUse, unassigned: without } : { isInUse };
}

function withChildren(device: PciDeviceInfo): readonly PciDeviceInfo[] {
  return [device, ...(device.pci_bridge?.devices ?? []).flatMap(withChildren)];
}
