/**
 * The inventory: a fresh, whole look at the PCI functions of a host.
 *
 * Reads only attributes that can never block (facts.md 5 and 9): never uevent, driver_override or config; what a rule
 * wishes beyond that is read in children (wished-facts.ts). The other reads are synchronous, in slices that let the event loop breathe: through the thread pool the first look at 4,096 devices
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
import { type FactWishes, NO_WISHES } from "../core/wishes.js";
import { readStaticFacts, readTextIfAny, type StaticFacts } from "./device-facts.js";
import { errnoOf, HostError } from "./error.js";
import { childKernelIo, type KernelIo } from "./kernel-io.js";
import type { HostRoot } from "./root.js";
import { readSlotNames, type SlotNames, slotNameOf } from "./slot-names.js";
import { readAppearance, readDriver, readGroupNumber } from "./sysfs-link.js";
import { WishedFactsReader } from "./wished-facts.js";

export interface Scanner {
  /**
   * Looks at every device now. Sorted by address.
   *
   * @throws {HostError} `host.no-sysfs` when there is no PCI bus below the root.
   */
  scan(): Promise<Device[]>;
}

/** What is remembered of one appearance of a device. */
interface Memory {
  readonly facts: StaticFacts;
  readonly group: number | null;
  readonly isRealGroup: boolean;
}

type Memories = ReadonlyMap<PciAddress, Memory>;

/** A few milliseconds of reading between two turns of the event loop, even at a first look. */
const SLICE = 32;

/** The name that vfio gives to a group without any IOMMU behind it (kernel: drivers/vfio, vfio_noiommu_group_alloc). */
const NO_IOMMU = "vfio-noiommu";

/** How a scanner comes by the facts that cost a read of their own. */
export interface ScanOptions {
  /** Asked at each look: the rules may have changed. */
  readonly wishes?: () => FactWishes;
  /** Reads of files that may hang. */
  readonly io?: KernelIo;
}

/** A scanner that remembers what cannot change. Looks must not overlap. */
export function createScanner(root: HostRoot, options: ScanOptions = {}): Scanner {
  const wishes = options.wishes ?? (() => NO_WISHES);
  const reader = new WishedFactsReader(root, options.io ?? childKernelIo());
  let memories: Memories = new Map();
  return {
    async scan() {
      memories = await lookAtAll(root, memories);
      const facts = [...memories.values()].map((memory) => memory.facts);
      const wished = await reader.read(facts, wishes());
      const slots = readSlotNames(root);
      const devices: Device[] = [];
      for (const [at, memory] of [...memories.values()].entries()) {
        await breathe(at);
        const device = finish(root, memory, slots);
        if (device !== undefined) {
          const more = wished.get(device.address);
          devices.push(more === undefined ? device : { ...device, ...more });
        }
      }
      return devices;
    },
  };
}

/** One look without a memory, for the one-shot commands. @throws {HostError} as {@link Scanner.scan} */
export function scanOnce(root: HostRoot, wishes: FactWishes = NO_WISHES): Promise<Device[]> {
  return createScanner(root, { wishes: () => wishes }).scan();
}

async function lookAtAll(root: HostRoot, memories: Memories): Promise<Memories> {
  const next = new Map<PciAddress, Memory>();
  for (const [at, address] of listAddresses(root).entries()) {
    await breathe(at);
    const memory = look(root, address, memories.get(address));
    if (memory !== undefined) {
      next.set(address, memory);
    }
  }
  return next;
}

async function breathe(at: number): Promise<void> {
  if (at % SLICE === SLICE - 1) {
    await setImmediate();
  }
}

/** Whether any device of the host is behind an IOMMU: without one nothing can be handed to a VM. */
export function hasIommu(root: HostRoot): boolean {
  try {
    return readdirSync(root.iommuGroups()).some((name) => /^\d+$/.test(name) && isReal(root, Number(name)));
  } catch {
    return false;
  }
}

function listAddresses(root: HostRoot): PciAddress[] {
  try {
    const names = readdirSync(root.devices());
    return names.flatMap((name) => parseAddress(name) ?? []).sort(compareAddresses);
  } catch (cause) {
    const why = errnoOf(cause) === "ENOENT" ? "there is no such folder; is sysfs mounted?" : messageOf(cause);
    const message = `cannot list PCI devices in ${root.devices()}: ${why}`;
    throw new HostError("host.no-sysfs", message, { cause });
  }
}

/** Reads what is not remembered of this appearance; `undefined` when the device is gone. */
function look(root: HostRoot, address: PciAddress, memory: Memory | undefined): Memory | undefined {
  const appearance = readAppearance(root, address);
  if (appearance === null) {
    return undefined;
  }
  const isKnown = memory?.facts.appearance === appearance;
  const group = readGroupNumber(root, address);
  if (isKnown && memory.group === group) {
    return memory;
  }
  const facts = isKnown ? memory.facts : readStaticFacts(root, address, appearance);
  return { facts, group, isRealGroup: group !== null && isReal(root, group) };
}

/** Adds what may change. Facts of two appearances are never mixed: a card that is swapped meanwhile is left to the next look. */
function finish(
  root: HostRoot,
  { facts, group, isRealGroup }: Memory,
  slots: SlotNames | undefined,
): Device | undefined {
  const driver = readDriver(root, facts.address);
  if (readAppearance(root, facts.address) !== facts.appearance) {
    return undefined;
  }
  const iommuGroup = isRealGroup ? group : null;
  return slots === undefined
    ? { ...facts, driver, iommuGroup }
    : { ...facts, driver, iommuGroup, slot: slotNameOf(slots, facts.address) };
}

function isReal(root: HostRoot, group: number): boolean {
  return readTextIfAny(root.iommuGroupName(group)) !== NO_IOMMU;
}
