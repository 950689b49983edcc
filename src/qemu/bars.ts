/**
 * What query-pci tells of BARs: the only sign of what the guest made of a device (facts.md 2.2).
 *
 * All of them without an address proves nothing: the guest may have no driver for the device. Some with and some
 * without does: there was no room. I/O ports and the ROM are left without one as a rule, so they do not count.
 */
import type { PciDeviceInfo, PciInfo } from "../qmp/results.js";

/** BARs 0 to 5; 6 is the ROM. */
const BARS = 6;

/** The memory BARs that the guest left without an address though it gave one to another, by QEMU id. */
export function unassignedBars(buses: readonly PciInfo[]): ReadonlyMap<string, readonly number[]> {
  const found = new Map<string, readonly number[]>();
  for (const device of buses.flatMap((bus) => bus.devices.flatMap(withChildren))) {
    const bars = device.regions.filter(({ type, bar }) => type === "memory" && bar < BARS);
    const without = bars.filter(({ address }) => Number(address) === -1).map(({ bar }) => bar);
    if (device.qdev_id !== "" && without.length > 0 && without.length < bars.length) {
      found.set(device.qdev_id, without);
    }
  }
  return found;
}

function withChildren(device: PciDeviceInfo): readonly PciDeviceInfo[] {
  return [device, ...(device.pci_bridge?.devices ?? []).flatMap(withChildren)];
}
