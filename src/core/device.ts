/**
 * One PCI function of the host, as a fresh look at sysfs shows it.
 *
 * Field names are those of the recorded machines (`pci-machine/1`). A field that is absent is not known;
 * `null` means known to be absent (no driver, no IOMMU group). Zero is a value.
 */
import type { PciAddress } from "./address.js";

/** The facts about one PCI function. Every text is lower-case hex without `0x` unless said otherwise. */
export interface Device {
  readonly address: PciAddress;
  /** Four hex digits. */
  readonly vendor?: string;
  /** Four hex digits. */
  readonly device?: string;
  readonly subsystemVendor?: string;
  readonly subsystemDevice?: string;
  /** Six hex digits: base class, subclass, programming interface; four where a recording lacks the last. */
  readonly class?: string;
  readonly revision?: string;
  /** As in sysfs: -1 where the firmware did not say. */
  readonly numaNode?: number;
  /** Number of the IOMMU group; `null` where the device has none (or only a no-IOMMU one). */
  readonly iommuGroup?: number | null;
  /** Name of the bound driver; `null` when none is bound. */
  readonly driver?: string | null;
  /**
   * While we have it on lease: the host driver that it had before. `driver` is absent where that is not known. What
   * rules ask of a driver is asked of this, else a rule about a host driver would lose its device by taking it.
   */
  readonly lent?: { readonly driver?: string | null };
  /** The bridge above; `null` on a root bus. */
  readonly parent?: PciAddress | null;
  /** Domain and bus number of the root bus, such as `0000:00`. */
  readonly rootBus?: string;
  readonly bootVga?: boolean;
  /** The physical function of a VF; `null` for any other device. */
  readonly physfn?: PciAddress | null;
  /**
   * The root bus, then device and function of every step down to this one: `0000:00/1c.0/00.0`. Bus numbers below the
   * root do not appear in it, so it survives their renumbering.
   */
  readonly path?: string;
  /** The root port (or other bridge on the root bus) above; `null` for a device on a root bus. */
  readonly root?: PciAddress | null;
  /** Name of the physical slot (/sys/bus/pci/slots); `null` where the firmware names none. */
  readonly slot?: string | null;
  /** The firmware's name for the device (sysfs `label`); `null` where it has none. */
  readonly label?: string | null;
  /** PCIe device serial number as lspci writes it, `00-11-22-ff-ff-33-44-55`; `null` where the device has none. */
  readonly serial?: string | null;
  /** Sum of the memory BARs, in bytes. */
  readonly memory?: number;
  /** The part of `memory` in prefetchable BARs, which have a window of their own in the bridge above. */
  readonly prefetchable?: number;
  /** What udev's database says of it; absent while udev has not finished with the device. */
  readonly udev?: Readonly<Record<string, string>>;
  /** Values of sysfs attributes that rules ask for; `null`: the device has no such attribute. */
  readonly attributes?: Readonly<Record<string, string | null>>;
  /** Present where a recording was read, not a host: what is not known then is only not in the recording. */
  readonly isRecorded?: true;
  /** Inode of the device's sysfs folder: another one means the device went away and came back. */
  readonly appearance: string;
}

/** What makes a card the same card: its ids. (The serial joins them where it could be read.) */
export interface Identity {
  readonly vendor: string | null;
  readonly device: string | null;
  readonly subsystemVendor: string | null;
  readonly subsystemDevice: string | null;
}

/** The identity of a device as far as sysfs shows it. */
export function identityOf(device: Device): Identity {
  return {
    vendor: device.vendor ?? null,
    device: device.device ?? null,
    subsystemVendor: device.subsystemVendor ?? null,
    subsystemDevice: device.subsystemDevice ?? null,
  };
}

/** Whether two looks at a device show the same facts. A fact is a plain value or a flat record of such. */
export function isSameDevice(a: Device, b: Device): boolean {
  return isSameRecord(a, b, (left, right) => left === right || areSameRecords(left, right));
}

function areSameRecords(a: unknown, b: unknown): boolean {
  return typeof a === "object" && typeof b === "object" && a !== null && b !== null
    ? isSameRecord(a, b, (left, right) => left === right)
    : false;
}

function isSameRecord(a: object, b: object, isSame: (left: unknown, right: unknown) => boolean): boolean {
  const [left, right] = [new Map(Object.entries(a)), new Map(Object.entries(b))];
  return [...new Set([...left.keys(), ...right.keys()])].every((key) =>
    isSame(left.get(key), right.get(key)),
  );
}

/** Whether two identities may be of the same card. What could not be read contradicts nothing. */
export function isSameIdentity(a: Identity, b: Identity): boolean {
  const keys = ["vendor", "device", "subsystemVendor", "subsystemDevice"] as const;
  return keys.every((key) => a[key] === null || b[key] === null || a[key] === b[key]);
}

/**
 * Whether the device is held by a vfio driver: `vfio-pci` itself or a variant such as `mlx5_vfio_pci`
 * (kernel: drivers/vfio/pci).
 */
export function isOnVfio(device: Device): boolean {
  return isVfioDriver(device.driver ?? null);
}

/** Whether a driver name is that of vfio-pci or one of its variants. */
export function isVfioDriver(driver: string | null): boolean {
  return driver !== null && /(^|[-_])vfio[-_]pci$/.test(driver);
}
