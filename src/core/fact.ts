/**
 * The facts of a device as selectors and expressions see them: texts, each known, known absent or not known.
 *
 * Owns how a fact is read off a device and how the lack of it is put into words (semantics.md 3). Zero is a value.
 */
import { formatSize } from "./memory-size.js";
import type { SelectableDevice } from "./selector.js";

/** A fact of a device: a value, `null` where it is known to have none, `undefined` where that is not known. */
export type Fact = string | null | undefined;

/** The keys of selectors that are about one fact. */
export const FACT_KEYS = [
  "address",
  "path",
  "slot",
  "label",
  "vendor",
  "device",
  "subsystemVendor",
  "subsystemDevice",
  "class",
  "revision",
  "driver",
  "numaNode",
  "iommuGroup",
  "root",
  "physfn",
  "isVf",
  "serial",
  "bootVga",
  "memory",
] as const;
export type FactKey = (typeof FACT_KEYS)[number];

/** The one class for which the kernel has a `boot_vga` attribute (drivers/pci/pci-sysfs.c: PCI_CLASS_DISPLAY_VGA). */
const VGA_CLASS = "0300";

const READERS: Readonly<Record<FactKey, (device: SelectableDevice) => Fact>> = {
  address: (device) => device.address,
  path: (device) => device.path,
  slot: (device) => device.slot,
  label: (device) => device.label,
  vendor: (device) => device.vendor,
  device: (device) => device.device,
  subsystemVendor: (device) => device.subsystemVendor,
  subsystemDevice: (device) => device.subsystemDevice,
  class: (device) => device.class,
  revision: (device) => device.revision,
  driver: ({ driver, lent }) => (lent === undefined ? driver : lent.driver),
  // -1 is sysfs for "the firmware did not say".
  numaNode: ({ numaNode }) => (numaNode === undefined || numaNode < 0 ? undefined : String(numaNode)),
  iommuGroup: ({ iommuGroup }) => (typeof iommuGroup === "number" ? String(iommuGroup) : iommuGroup),
  root: (device) => device.root,
  physfn: (device) => device.physfn,
  isVf: ({ physfn }) => (physfn === undefined ? undefined : String(physfn !== null)),
  serial: (device) => device.serial,
  bootVga: bootVgaOf,
  memory: ({ memory }) => (memory === undefined ? undefined : String(memory)),
};

const LACKS: Readonly<Record<FactKey, string>> = {
  address: "address not known",
  path: "its way down from the root bus is not known",
  slot: "physical slot not known",
  label: "firmware label not known",
  vendor: "vendor id unreadable",
  device: "device id unreadable",
  subsystemVendor: "subsystem vendor id unreadable",
  subsystemDevice: "subsystem device id unreadable",
  class: "class unreadable",
  revision: "revision unreadable",
  driver: "driver not known",
  numaNode: "NUMA node not known",
  iommuGroup: "IOMMU group not known",
  root: "root port not known",
  physfn: "not known whether it is a virtual function",
  isVf: "not known whether it is a virtual function",
  serial: "serial unreadable",
  bootVga: "not known whether it is the boot display",
  memory: "size of its memory not known",
};

/** The fact behind a key, as the text that patterns are matched against. */
export function factOf(key: FactKey, device: SelectableDevice): Fact {
  return READERS[key](device);
}

/** Why a key's fact leaves a question open, for a person: `serial unreadable`, `NUMA node not known`. */
export function whyUnknown(key: FactKey, device: SelectableDevice): string {
  return key === "class" && device.class !== undefined
    ? "programming interface of its class not known"
    : LACKS[key];
}

/** The fact as people read it, which is also how a selector may spell it: memory as `16G`, all else as it is. */
export function showFact(key: FactKey, fact: Fact): Fact {
  return key === "memory" && typeof fact === "string" ? formatSize(Number(fact)) : fact;
}

/** Why nothing about a udev property can be said: its database entry comes only when udev is done with a device. */
export const UDEV_UNFINISHED = "udev has not finished with it";

/** A property of udev's database. */
export function udevFactOf(name: string, { udev }: SelectableDevice): Fact {
  return udev === undefined ? undefined : ownValue(udev, name);
}

/** A sysfs attribute; not known until it was read. */
export function sysfsFactOf(name: string, { attributes }: SelectableDevice): Fact {
  return attributes !== undefined && Object.hasOwn(attributes, name) ? attributes[name] : undefined;
}

/** Why nothing about a sysfs attribute can be said. */
export function whyAttributeUnknown(name: string): string {
  return `sysfs attribute ${name} unreadable`;
}

function ownValue(record: Readonly<Record<string, string>>, name: string): string | null {
  return Object.hasOwn(record, name) ? (record[name] ?? null) : null;
}

function bootVgaOf(device: SelectableDevice): Fact {
  if (device.bootVga !== undefined) {
    return String(device.bootVga);
  }
  return device.class === undefined || device.class.startsWith(VGA_CLASS) ? undefined : "false";
}
