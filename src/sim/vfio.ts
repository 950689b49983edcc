/**
 * What vfio knows: which process has which IOMMU group and device open, and who waits for a device to be let go.
 *
 * A device that a process holds cannot leave: the kernel asks the process and waits, without limit (facts.md 5).
 */
import type { PciAddress } from "../core/address.js";
import { isVfioDriver } from "../core/device.js";
import type { DriverModel } from "./driver-model.js";

/** A process that opens vfio devices: a simulated QEMU. */
export interface VfioUser {
  readonly pid: number;
  readonly uid: number;
  /** The kernel wants the device back (VFIO_PCI_REQ_ERR_IRQ). */
  requestRelease(address: PciAddress): void;
  /** The machine under the process went away. */
  powerOff(): void;
}

/** Why a device could not be opened; each has its own text in QEMU (facts.md 1.1). */
export type VfioRefusal =
  | "no-such-device"
  | "no-iommu-group"
  | "no-node"
  | "no-access"
  | "group-busy"
  | "not-viable"
  | "not-on-vfio";

export type VfioOpening =
  | { readonly kind: "open"; readonly group: number }
  | { readonly kind: "refused"; readonly why: VfioRefusal; readonly group: number | null };

export class SimVfio {
  readonly #drivers: DriverModel;
  readonly #rootUid: number;
  readonly #ownerOf: (group: number) => number | undefined;
  readonly #holders = new Map<PciAddress, VfioUser>();
  readonly #waiting = new Map<PciAddress, (() => void)[]>();
  readonly #groupOf = new Map<PciAddress, number>();

  /** `ownerOf`: uid of the node of an IOMMU group; undefined when there is no node. */
  constructor(drivers: DriverModel, rootUid: number, ownerOf: (group: number) => number | undefined) {
    this.#drivers = drivers;
    this.#rootUid = rootUid;
    this.#ownerOf = ownerOf;
  }

  holderOf(address: PciAddress): VfioUser | undefined {
    return this.#holders.get(address);
  }

  /** Every device that a process has open. */
  heldBy(user: VfioUser): PciAddress[] {
    return [...this.#holders].filter(([, holder]) => holder === user).map(([address]) => address);
  }

  /** Every IOMMU group that a process has open. */
  groupsOf(user: VfioUser): number[] {
    return [...new Set(this.heldBy(user).flatMap((address) => this.#groupOf.get(address) ?? []))];
  }

  isGroupInUse(group: number): boolean {
    return this.#userOf(group) !== undefined;
  }

  /** Opens the group and the device, checking in the order in which QEMU's vfio_realize meets the obstacles. */
  open(address: PciAddress, user: VfioUser): VfioOpening {
    const state = this.#drivers.get(address);
    if (state === undefined) {
      return { kind: "refused", why: "no-such-device", group: null };
    }
    if (state.group === null) {
      return { kind: "refused", why: "no-iommu-group", group: null };
    }
    const why = this.#obstacle(state.group, user) ?? (isVfioDriver(state.driver) ? undefined : "not-on-vfio");
    if (why !== undefined) {
      return { kind: "refused", why, group: state.group };
    }
    this.#holders.set(address, user);
    this.#groupOf.set(address, state.group);
    return { kind: "open", group: state.group };
  }

  /** Lets go of a device; who waited for it goes on. */
  close(address: PciAddress): void {
    this.#holders.delete(address);
    this.#groupOf.delete(address);
    const waiting = this.#waiting.get(address) ?? [];
    this.#waiting.delete(address);
    for (const goOn of waiting) {
      goOn();
    }
  }

  /** Asks the holder for the device; resolves when nobody holds it any more. */
  takeBack(address: PciAddress): Promise<void> {
    const released = new Promise<void>((resolve) => {
      this.#waiting.set(address, [...(this.#waiting.get(address) ?? []), resolve]);
    });
    this.#holders.get(address)?.requestRelease(address);
    return released;
  }

  #obstacle(group: number, user: VfioUser): VfioRefusal | undefined {
    const owner = this.#ownerOf(group);
    const present = this.#userOf(group);
    if (present === user) {
      return undefined;
    }
    if (owner === undefined) {
      return "no-node";
    }
    if (user.uid !== this.#rootUid && owner !== user.uid) {
      return "no-access";
    }
    if (present !== undefined) {
      return "group-busy";
    }
    return this.#drivers.isViable(group) ? undefined : "not-viable";
  }

  #userOf(group: number): VfioUser | undefined {
    for (const [address, user] of this.#holders) {
      if (this.#groupOf.get(address) === group) {
        return user;
      }
    }
    return undefined;
  }
}
