/**
 * The inventory: a fresh, whole look at the PCI functions of a host.
 *
 * Reads only attributes that can never block (facts.md 5 and 9): never uevent, driver_override or config. Reads are
 * synchronous, in slices that let the event loop breathe: through the thread pool the first look at 4,096 devices
 * took 3 s instead of 0.5 s, and four calls that hang there would stop every other one (facts.md 5).
 *
 * Invariants: what cannot change in one appearance of a device is read once; a device that leaves in mid-look is left
 * out; nothing is ever followed from folder to folder (sysfs is full of cycles).
 */
import { readdirSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { messageOf } from "../base/error.js";
import { compareAddresses, type PciAddress, parseAddress } from "../core/address.js";
import type { Device } from "../core/device.js";
import { readStaticFacts, readTextIfAny, type StaticFacts } from "./device-facts.js";
import { HostError } from "./error.js";
import type { HostRoot } from "./root.js";
import { readAppearance, readDriver, readGroupNumber } from "./sysfs-link.js";

export interface Scanner {
  /**
   * Looks at every device now. Sorted by address.
   *
   * @throws {HostError} `host.no-sysfs` when there is no PCI bus below the root.
   */
  scan(): Promise<Device[]>;
}

/** About 1 ms of reading between two turns of the event loop. */
const SLICE = 64;

/** The name that vfio gives to a group without any IOMMU behind it (kernel: drivers/vfio, vfio_noiommu_group_alloc). */
const NO_IOMMU = "vfio-noiommu";

/** A scanner that remembers what cannot change. Looks must not overlap. */
export function createScanner(root: HostRoot): Scanner {
  let known: ReadonlyMap<PciAddress, StaticFacts> = new Map();
  return {
    async scan() {
      const next = new Map<PciAddress, StaticFacts>();
      const groups = new GroupKinds(root);
      const devices: Device[] = [];
      for (const [at, address] of listAddresses(root).entries()) {
        if (at % SLICE === SLICE - 1) {
          await setImmediate();
        }
        const device = look(root, address, known, next, groups);
        if (device !== undefined) {
          devices.push(device);
        }
      }
      known = next;
      return devices;
    },
  };
}

/** One look without a memory, for the one-shot commands. @throws {HostError} as {@link Scanner.scan} */
export function scanOnce(root: HostRoot): Promise<Device[]> {
  return createScanner(root).scan();
}

/** Whether any device of the host is behind an IOMMU: without one nothing can be handed to a VM. */
export function hasIommu(root: HostRoot): boolean {
  const groups = new GroupKinds(root);
  try {
    return readdirSync(root.iommuGroups()).some((name) => /^\d+$/.test(name) && groups.isReal(Number(name)));
  } catch {
    return false;
  }
}

function listAddresses(root: HostRoot): PciAddress[] {
  try {
    const names = readdirSync(root.devices());
    return names.flatMap((name) => parseAddress(name) ?? []).sort(compareAddresses);
  } catch (cause) {
    const message = `cannot list PCI devices in ${root.devices()}: ${messageOf(cause)}`;
    throw new HostError("host.no-sysfs", message, { cause });
  }
}

function look(
  root: HostRoot,
  address: PciAddress,
  known: ReadonlyMap<PciAddress, StaticFacts>,
  next: Map<PciAddress, StaticFacts>,
  groups: GroupKinds,
): Device | undefined {
  const appearance = readAppearance(root, address);
  if (appearance === null) {
    return undefined;
  }
  const before = known.get(address);
  const facts = before?.appearance === appearance ? before : readStaticFacts(root, address, appearance);
  const group = readGroupNumber(root, address);
  const device: Device = {
    ...facts,
    driver: readDriver(root, address),
    iommuGroup: group !== null && groups.isReal(group) ? group : null,
  };
  // Facts of two appearances must not be mixed: a card that changed under our eyes is seen at the next look.
  if (readAppearance(root, address) !== appearance) {
    return undefined;
  }
  next.set(address, facts);
  return device;
}

/** Tells IOMMU groups from the stand-ins that vfio makes without an IOMMU; reads each name once per look. */
class GroupKinds {
  readonly #root: HostRoot;
  readonly #known = new Map<number, boolean>();

  constructor(root: HostRoot) {
    this.#root = root;
  }

  isReal(group: number): boolean {
    const known = this.#known.get(group);
    if (known !== undefined) {
      return known;
    }
    const isReal = readTextIfAny(this.#root.iommuGroupName(group)) !== NO_IOMMU;
    this.#known.set(group, isReal);
    return isReal;
  }
}
