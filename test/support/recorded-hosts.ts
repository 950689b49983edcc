/** The recorded machines of fixtures/hosts as devices. Reads no more of the format than the stories need. */
import { readFileSync } from "node:fs";
import { type PciAddress, parseAddress } from "../../src/core/address.js";
import type { Device } from "../../src/core/device.js";

type Recorded = Readonly<Record<string, unknown>> & { readonly address: string };

/** The devices of one recorded machine; what was not recorded stays absent. */
export function recordedHost(name: string): Device[] {
  const path = new URL(`../../fixtures/hosts/${name}.json`, import.meta.url);
  const { devices } = JSON.parse(readFileSync(path, "utf8")) as { devices: readonly Recorded[] };
  return devices.map((recorded, index) => {
    const { class4, class: code = class4, bootVga, ...facts } = recorded;
    const { vendor, device, subsystemVendor, subsystemDevice, revision } = facts;
    const { numaNode, iommuGroup, driver, parent, rootBus, label } = facts;
    const known = { vendor, device, subsystemVendor, subsystemDevice, revision, class: code };
    const placed = { numaNode, iommuGroup, driver, parent, rootBus, label };
    return {
      ...(JSON.parse(JSON.stringify({ ...known, ...placed })) as Partial<Device>),
      ...(bootVga === undefined ? {} : { bootVga: bootVga === "1" }),
      address: parseAddress(recorded.address) as PciAddress,
      appearance: String(index),
    };
  });
}
