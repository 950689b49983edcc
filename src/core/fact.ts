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

/** How the lack of a fact is put: on a host that can be looked at, and the fact's name for a recording. */
const LACKS: Readonly<Record<FactKey, readonly [live: string, name: string]>> = {
  address: ["address not known", "its address"],
  path: ["its way down from the root bus is not known", "its way down from the root bus"],
  slot: ["physical slot not known", "physical slot"],
  label: ["firmware label not known", "firmware label"],
  vendor: ["vendor id unreadable", "vendor id"],
  device: ["device id unreadable", "device id"],
  subsystemVendor: ["subsystem vendor id unreadable", "subsystem vendor id"],
  subsystemDevice: ["subsystem device id unreadable", "subsystem device id"],
  class: ["class unreadable", "class"],
  revision: ["revision unreadable", "revision"],
  driver: ["driver not known", "driver"],
  numaNode: ["NUMA node not known", "NUMA node"],
  iommuGroup: ["IOMMU group not known", "IOMMU group"],
  root: ["root port not known", "root port"],
  physfn: ["not known whether it is a virtual function", "whether it is a virtual function"],
  isVf: ["not known whether it is a virtual function", "whether it is a virtual function"],
  serial: ["serial unreadable", "serial"],
  bootVga: ["not known whether it is the boot display", "whether it is the boot display"],
  memory: ["size of its memory not known", "size of its memory"],
};

/** The fact behind a key, as the text that patterns are matched against. */
export function factOf(key: FactKey, device: SelectableDevice): Fact {
  return READERS[key](device);
}

/** Why a key's fact leaves a question open, for a person: `serial unreadable`, `serial not in this recording`. */
export function whyUnknown(key: FactKey, device: SelectableDevice): string {
  if (key === "class" && device.class !== undefined) {
    const part = "programming interface of its class";
    return device.isRecorded === true ? absentFrom(part) : `${part} not known`;
  }
  const [live, name] = LACKS[key];
  // The firmware said nothing of the node (-1): the recording has that, and it is no answer.
  const isThere = key === "numaNode" && device.numaNode !== undefined;
  return device.isRecorded === true && !isThere ? absentFrom(name) : live;
}

function absentFrom(name: string): string {
  return `${name} not in this recording`;
}

/** The fact as people read it, which is also how a selector may spell it: memory as `16G`, all else as it is. */
export function showFact(key: FactKey, fact: Fact): Fact {
  return key === "memory" && typeof fact === "string" ? formatSize(Number(fact)) : fact;
}

/** Why nothing about a udev property can be said: its database entry comes only when udev is done with a device. */
export function whyUdevUnknown({ isRecorded }: SelectableDevice): string {
  return isRecorded === true ? absentFrom("udev properties") : "udev has not finished with it";
}

/** A property of udev's database. */
export function udevFactOf(name: string, { udev }: SelectableDevice): Fact {
  return udev === undefined ? undefined : ownValue(udev, name);
}

/** A sysfs attribute; not known until it was read. */
export function sysfsFactOf(name: string, { attributes }: SelectableDevice): Fact {
  return attributes !== undefined && Object.hasOwn(attributes, name) ? attributes[name] : undefined;
}

/** Why nothing about a sysfs attribute can be said. */
export function whyAttributeUnknown(name: string, { isRecorded }: SelectableDevice): string {
  const attribute = `sysfs attribute ${name}`;
  return isRecorded === true ? absentFrom(attribute) : `${attribute} unreadable`;
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
