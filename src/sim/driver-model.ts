/**
 * The kernel's rules for which driver gets which PCI function (drivers/base/dd.c, drivers/pci/pci-driver.c,
 * drivers/vfio): driver_override, bind, unbind, probe, new_id, and who owns the DMA of an IOMMU group.
 *
 * Owns the state of functions and drivers; does no I/O: what changes is told to a listener. What is refused,
 * and how, is what facts.md 9 measured. Waiting for a VM to let go is the caller's business (vfio.ts).
 */
import type { PciAddress } from "../core/address.js";
import { isVfioDriver } from "../core/device.js";
import { DONE, type KernelAnswer, refused } from "./errno.js";

/** One function as the driver core sees it. */
export interface DriverState {
  readonly address: PciAddress;
  /** `8086 10d3`, the words of new_id. */
  readonly ids: string;
  /** The host driver whose id table has this function. */
  readonly native: string | null;
  readonly group: number | null;
  /** Bridges keep their driver in an IOMMU group that a VM uses (driver_managed_dma). */
  readonly isBridge: boolean;
  override: string | null;
  driver: string | null;
}

/** Is told after each change. */
export interface DriverListener {
  bound(state: DriverState, driver: string): void;
  unbound(state: DriverState, driver: string): void;
  overridden(state: DriverState): void;
}

/** A write longer than a page is refused. */
const PAGE = 4096;

export class DriverModel {
  readonly #functions = new Map<PciAddress, DriverState>();
  /** Driver -> ids given by new_id. */
  readonly #drivers = new Map<string, Set<string>>();
  readonly #listener: DriverListener;
  readonly #isGroupInUse: (group: number) => boolean;

  constructor(listener: DriverListener, isGroupInUse: (group: number) => boolean) {
    this.#listener = listener;
    this.#isGroupInUse = isGroupInUse;
  }

  loadDriver(name: string): void {
    if (!this.#drivers.has(name)) {
      this.#drivers.set(name, new Set());
    }
  }

  hasDriver(name: string): boolean {
    return this.#drivers.has(name);
  }

  add(state: DriverState): void {
    this.#functions.set(state.address, state);
  }

  /** Takes a function out; it must have no driver any more. */
  remove(address: PciAddress): void {
    this.#functions.delete(address);
  }

  get(address: PciAddress): DriverState | undefined {
    return this.#functions.get(address);
  }

  membersOf(group: number): DriverState[] {
    return [...this.#functions.values()].filter((state) => state.group === group);
  }

  /** Whether no endpoint of the IOMMU group is on a host driver (facts.md 1.1). */
  isViable(group: number): boolean {
    return this.membersOf(group).every(
      (state) => state.isBridge || state.driver === null || isVfioDriver(state.driver),
    );
  }

  /** A write to driver_override. Changes nothing about a bound driver. */
  setOverride(state: DriverState, text: string): KernelAnswer {
    if (text.length >= PAGE) {
      return refused("EINVAL");
    }
    const name = text.split("\n", 1)[0] ?? "";
    state.override = name === "" ? null : name;
    this.#listener.overridden(state);
    return DONE;
  }

  /** Lets the kernel look for a driver. The caller never learns whether one was found. */
  probe(state: DriverState): void {
    if (state.driver !== null) {
      return;
    }
    const wanted = state.override === null ? this.#matching(state) : [state.override];
    for (const driver of wanted) {
      if (this.#bindNow(state, driver).kind === "done") {
        return;
      }
    }
  }

  /** A write to drivers/X/bind. */
  bind(driver: string, state: DriverState | undefined): KernelAnswer {
    if (state === undefined || !this.#isMatch(driver, state)) {
      return refused("ENODEV");
    }
    return state.driver === null ? this.#bindNow(state, driver) : refused("EBUSY");
  }

  /** Takes the driver away at once; the function stays driverless. */
  unbind(state: DriverState): void {
    const driver = state.driver;
    if (driver !== null) {
      state.driver = null;
      this.#listener.unbound(state, driver);
    }
  }

  /** A write to drivers/X/new_id: every driverless function with that id is probed at once. */
  newId(driver: string, ids: string): KernelAnswer {
    const known = this.#drivers.get(driver);
    if (known === undefined || known.has(ids)) {
      return refused(known === undefined ? "ENOENT" : "EEXIST");
    }
    known.add(ids);
    for (const state of this.#functions.values()) {
      if (state.driver === null && this.#isMatch(driver, state)) {
        this.#bindNow(state, driver);
      }
    }
    return DONE;
  }

  /** A write to drivers/X/remove_id. */
  removeId(driver: string, ids: string): KernelAnswer {
    return this.#drivers.get(driver)?.delete(ids) === true ? DONE : refused("ENODEV");
  }

  #matching(state: DriverState): string[] {
    return [...this.#drivers.keys()].filter((driver) => this.#isMatch(driver, state));
  }

  #isMatch(driver: string, state: DriverState): boolean {
    const ids = this.#drivers.get(driver);
    if (ids === undefined) {
      return false;
    }
    if (state.override !== null) {
      return state.override === driver;
    }
    return driver === state.native || ids.has(state.ids);
  }

  #bindNow(state: DriverState, driver: string): KernelAnswer {
    if (!this.#isMatch(driver, state)) {
      return refused("ENODEV");
    }
    if (isVfioDriver(driver)) {
      // vfio's probe needs an IOMMU group (vfio_assign_device_set, vfio_group_find_or_alloc).
      return state.group === null ? refused("EINVAL") : this.#attach(state, driver);
    }
    if (driver !== state.native) {
      return refused("ENODEV");
    }
    const isBusy = state.group !== null && !state.isBridge && this.#isGroupInUse(state.group);
    return isBusy ? refused("EBUSY") : this.#attach(state, driver);
  }

  #attach(state: DriverState, driver: string): KernelAnswer {
    state.driver = driver;
    this.#listener.bound(state, driver);
    return DONE;
  }
}
