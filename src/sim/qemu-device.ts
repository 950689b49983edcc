/** The devices and buses inside a simulated QEMU: data, and the few questions that only concern one of them. */
import type { PciAddress } from "../core/address.js";

/** A bus with its occupants by devfn (slot * 8 + function). */
export interface SimBus {
  readonly name: string;
  /** QOM path. */
  readonly path: string;
  readonly type: "PCIE" | "PCI";
  /** QOM path of the hotplug handler; "" when nothing can be plugged. */
  readonly handler: string;
  /** How the guest is told; `null` when nothing can be plugged. */
  readonly mode: "acpi" | "native" | null;
  /** Below a pxb ACPI does not reach (facts.md 1). */
  readonly isBelowPxb: boolean;
  /** First slot that can be used: 1 where the standard hotplug controller or the chipset has slot 0. */
  readonly firstSlot: number;
  /** Slots that the chipset has. */
  readonly reservedSlots: ReadonlySet<number>;
  readonly occupants: Map<number, SimDevice>;
  /** Address space that the port was started with, in bytes. */
  readonly reserves: { readonly "mem-reserve"?: number; readonly "pref64-reserve"?: number };
}

/** Which device of the host a vfio-pci has, and by which property it was named. */
export interface HostDevice {
  readonly address: PciAddress;
  readonly givenAs: "host" | "sysfsdev";
}

export interface SimDevice {
  readonly driver: string;
  readonly id: string | null;
  /** QOM path. */
  readonly path: string;
  readonly bus: SimBus;
  readonly devfn: number;
  readonly isMultifunction: boolean;
  readonly isHotplugged: boolean;
  /** As given by the user. */
  readonly properties: Readonly<Record<string, unknown>>;
  readonly hostDevice: HostDevice | null;
  /** The bus behind a port or bridge. */
  ownBus: SimBus | null;
  /** Whether the guest has powered the slot and enabled the device. */
  isSeen: boolean;
}

export function slotOfDevfn(devfn: number): number {
  return devfn >> 3;
}

export function functionOfDevfn(devfn: number): number {
  return devfn & 7;
}

/** Every function in the device's slot, in order of function. */
export function slotMates(device: SimDevice): SimDevice[] {
  return [...device.bus.occupants.values()]
    .filter((other) => slotOfDevfn(other.devfn) === slotOfDevfn(device.devfn))
    .sort((left, right) => left.devfn - right.devfn);
}

/** As the property `legacy-addr` writes it: `01.0`. */
export function legacyAddress(devfn: number): string {
  return `${slotOfDevfn(devfn).toString(16).padStart(2, "0")}.${functionOfDevfn(devfn)}`;
}
