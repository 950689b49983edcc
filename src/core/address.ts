/**
 * Names of PCI functions: the full address `0000:65:00.0` and the QEMU id made from it.
 *
 * Owns the one canonical spelling (lower case, a domain of four digits or more without needless zeros,
 * exactly as the kernel names its sysfs folders). Every other room holds addresses as `PciAddress` and
 * compares them as text. Must never guess a missing domain: that is a matter of patterns (address-pattern.ts).
 */

import { InvariantError } from "../base/error.js";

declare const brand: unique symbol;

/** A full, canonical PCI address; only this file makes one. Two are equal exactly when their texts are. */
export type PciAddress = string & { readonly [brand]: "PciAddress" };

/** The numbers in an address: domain up to 32 bits (VMD domains begin at 0x10000), bus 8, device 5, function 3. */
export interface AddressParts {
  readonly domain: number;
  readonly bus: number;
  readonly device: number;
  readonly function: number;
}

/** What every QEMU id of ours begins with; a device in a VM without it is foreign (semantics.md 5). */
export const QEMU_ID_PREFIX = "pciplug-";

const FULL_ADDRESS = /^([0-9a-f]{4,8}):([0-9a-f]{2}):([01][0-9a-f])\.([0-7])$/i;
const QEMU_ID_TAIL = /^([0-9a-f]{4,8})-([0-9a-f]{2})-([01][0-9a-f]\.[0-7])$/;
const NEEDLESS_ZEROS = /^0+(?=[0-9a-f]{4,}:)/;

const PART_LIMITS = { domain: 0xffff_ffff, bus: 0xff, device: 0x1f, function: 7 } as const;

/** Reads a full address in either case; anything else, an address without a domain too, is `undefined`. */
export function parseAddress(text: string): PciAddress | undefined {
  if (!FULL_ADDRESS.test(text)) {
    return undefined;
  }
  return text.toLowerCase().replace(NEEDLESS_ZEROS, "") as PciAddress;
}

/** Takes an address apart into numbers. */
export function addressParts(address: PciAddress): AddressParts {
  const [domain = "", bus = "", device = "", fn = ""] = address.split(/[:.]/);
  return {
    domain: Number.parseInt(domain, 16),
    bus: Number.parseInt(bus, 16),
    device: Number.parseInt(device, 16),
    function: Number.parseInt(fn, 16),
  };
}

/** Writes numbers as the canonical address. @throws {InvariantError} when a number does not fit its field. */
export function formatAddress(parts: AddressParts): PciAddress {
  for (const [part, limit] of Object.entries(PART_LIMITS)) {
    const value = parts[part as keyof AddressParts];
    if (!Number.isInteger(value) || value < 0 || value > limit) {
      throw new InvariantError(`cannot format address: ${part} ${value} is outside 0 to ${limit}`, {
        ...parts,
      });
    }
  }
  return `${hex(parts.domain, 4)}:${hex(parts.bus, 2)}:${hex(parts.device, 2)}.${parts.function}` as PciAddress;
}

/** Orders addresses by their numbers (a total order; ties everywhere in core are broken by it). */
export function compareAddresses(left: PciAddress, right: PciAddress): number {
  // Canonical text has fixed widths but for the domain, whose extra digits make a longer text the larger number.
  if (left.length !== right.length) {
    return left.length - right.length;
  }
  if (left === right) {
    return 0;
  }
  return left < right ? -1 : 1;
}

/** The slot of a function: `0000:65:00`, the same for all functions of one card. */
export function slotOf(address: PciAddress): string {
  return address.slice(0, -".0".length);
}

/** The id a device gets in QEMU: `pciplug-0000-65-00.0` (QEMU ids allow letters, digits, `-`, `.` and `_`). */
export function qemuIdOf(address: PciAddress): string {
  return `${QEMU_ID_PREFIX}${address.replaceAll(":", "-")}`;
}

/** VMD domains begin above it. */
const LARGEST_HOST_DOMAIN = 0xffff;

/**
 * How QEMU is told a device of the host, in device_add and in `-device`: `host` takes no domain of more than four
 * digits, a path does (contrib/doc/facts.md 15).
 */
export function hostProperty(address: PciAddress): { readonly host: string } | { readonly sysfsdev: string } {
  return addressParts(address).domain <= LARGEST_HOST_DOMAIN
    ? { host: address }
    : { sysfsdev: `/sys/bus/pci/devices/${address}` };
}

/** The address a QEMU id of ours stands for; `undefined` for every id that `qemuIdOf` cannot have made. */
export function addressOfQemuId(id: string): PciAddress | undefined {
  if (!id.startsWith(QEMU_ID_PREFIX)) {
    return undefined;
  }
  const tail = QEMU_ID_TAIL.exec(id.slice(QEMU_ID_PREFIX.length));
  const address = tail === null ? undefined : parseAddress(`${tail[1]}:${tail[2]}:${tail[3]}`);
  return address !== undefined && qemuIdOf(address) === id ? address : undefined;
}

function hex(value: number, width: number): string {
  return value.toString(16).padStart(width, "0");
}
