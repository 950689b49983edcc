/** The facts about a PCI function that hold for one appearance of it. Kernel ABI: sysfs-bus-pci. Synchronous: see scan.ts. */
import { existsSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { type PciAddress, parseAddress } from "../core/address.js";
import type { Device } from "../core/device.js";
import type { HostRoot } from "./root.js";
import { placeOf, readLink } from "./sysfs-link.js";

/** Everything but what a driver, the IOMMU, the slots' drivers or udev may change, and what costs a read of its own. */
export type StaticFacts = Omit<Device, "driver" | "iommuGroup" | "slot" | "serial" | "udev" | "attributes">;

/** Only these have a boot_vga; asking the others costs more than all else together. */
const VGA = "0300";

type Known<T> = { -readonly [K in keyof T]: T[K] };

/** Reads the lasting facts; what the kernel does not show stays absent. */
export function readStaticFacts(root: HostRoot, address: PciAddress, appearance: string): StaticFacts {
  const text = (name: string): string | undefined => readTextIfAny(root.attribute(address, name));
  const facts: Known<StaticFacts> = { address, appearance };
  setKnown(facts, "vendor", hex(text("vendor"), 4));
  setKnown(facts, "device", hex(text("device"), 4));
  setKnown(facts, "subsystemVendor", hex(text("subsystem_vendor"), 4));
  setKnown(facts, "subsystemDevice", hex(text("subsystem_device"), 4));
  setKnown(facts, "class", hex(text("class"), 6));
  setKnown(facts, "revision", hex(text("revision"), 2));
  setKnown(facts, "numaNode", integer(text("numa_node")));
  if (facts.class === undefined || facts.class.startsWith(VGA)) {
    setKnown(facts, "bootVga", flag(text("boot_vga")));
  }
  facts.physfn = readPhysfn(root, address);
  setKnown(facts, "label", readLabel(root.attribute(address, "label")));
  const resources = text("resource")?.split("\n");
  setKnown(facts, "memory", memoryOf(resources));
  setKnown(facts, "prefetchable", prefetchableOf(resources));
  return { ...facts, ...placeOf(readLink(root.device(address)) ?? "", facts.physfn) };
}

/** Text of an attribute without its newline; `undefined` where it cannot be had: one odd device must not blind us. */
export function readTextIfAny(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1").trim();
  } catch {
    return undefined;
  }
}

/** Kernel: include/linux/ioport.h, IORESOURCE_MEM and IORESOURCE_PREFETCH. */
const IS_MEMORY = 0x200n;
const IS_PREFETCHABLE = 0x2000n;
/** The first lines of `resource` are the BARs; behind them come the ROM, SR-IOV's BARs and a bridge's windows. */
const BARS = 6;

/**
 * Sums up the memory BARs, in bytes, from the lines of the `resource` attribute (first address, last address, flags).
 * `undefined` for lines of any other form. Also for recordings.
 */
export function memoryOf(lines: readonly string[] | undefined): number | undefined {
  return sumOfBars(lines, IS_MEMORY);
}

/** The same of the prefetchable memory BARs only. */
export function prefetchableOf(lines: readonly string[] | undefined): number | undefined {
  return sumOfBars(lines, IS_MEMORY | IS_PREFETCHABLE);
}

function sumOfBars(lines: readonly string[] | undefined, wanted: bigint): number | undefined {
  if (
    lines === undefined ||
    !lines.every((line) => /^0x[0-9a-f]{1,16} 0x[0-9a-f]{1,16} 0x[0-9a-f]{1,16}$/i.test(line))
  ) {
    return undefined;
  }
  let sum = 0n;
  for (const line of lines.slice(0, BARS)) {
    const [first = 0n, last = 0n, flags = 0n] = line.split(" ").map(BigInt);
    if ((flags & wanted) === wanted && last > first) {
      sum += last - first + 1n;
    }
  }
  return Number(sum);
}

function readLabel(path: string): string | null | undefined {
  // Nearly all devices have none, and a thrown ENOENT costs ten times a look.
  const text = existsSync(path) ? readTextIfAny(path) : "";
  return text === "" ? null : text;
}

function setKnown<K extends keyof StaticFacts>(
  facts: Known<StaticFacts>,
  key: K,
  value: StaticFacts[K] | undefined,
): void {
  if (value !== undefined) {
    facts[key] = value;
  }
}

function hex(text: string | undefined, digits: number): string | undefined {
  const match = /^0x([0-9a-f]+)$/i.exec(text ?? "");
  return match?.[1]?.toLowerCase().padStart(digits, "0");
}

function integer(text: string | undefined): number | undefined {
  return text !== undefined && /^-?\d+$/.test(text) ? Number(text) : undefined;
}

function flag(text: string | undefined): boolean | undefined {
  return text === undefined ? undefined : text === "1";
}

function readPhysfn(root: HostRoot, address: PciAddress): PciAddress | null {
  const link = root.attribute(address, "physfn");
  // Nearly all devices have none, and a thrown ENOENT costs ten times a look.
  const target = existsSync(link) ? readLink(link) : null;
  return target === null ? null : (parseAddress(basename(target)) ?? null);
}
