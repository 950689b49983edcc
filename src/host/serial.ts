/**
 * The PCIe device serial number: what tells two cards of one kind apart. Read once per appearance, in a
 * child (semantics.md 3): the configuration space is not read in the loop.
 */
import type { PciAddress } from "../core/address.js";
import type { KernelIo } from "./kernel-io.js";
import type { HostRoot } from "./root.js";

/** First extended capability, and the id of the serial number's (PCI Express Base Specification, 7.6 and 7.9.3). */
const FIRST_CAPABILITY = 0x100;
const SERIAL_NUMBER = 0x0003;
/** A list longer than the space has room for goes in a circle. */
const MOST_CAPABILITIES = (4096 - FIRST_CAPABILITY) / 8;
/** What a device that does not answer reads as. */
const ALL_ONES = 0xffff_ffff;

/** A function of PCI Express says so in its conventional capabilities (PCI Express Base Specification, 7.5.3). */
const CONVENTIONAL_SIZE = 0x100;
const STATUS = 0x06;
const HAS_CAPABILITIES = 0x10;
const CAPABILITIES = 0x34;
const PCI_EXPRESS = 0x10;
const MOST_CONVENTIONAL_CAPABILITIES = 48;

/**
 * The serial number as lspci writes it; `null` where the device has none, `undefined` where that cannot be told: the
 * read failed or hung, or was not root's, for whom alone the kernel shows all of the space (sysfs-bus-pci, `config`).
 */
export async function readSerial(
  root: HostRoot,
  io: KernelIo,
  address: PciAddress,
  deadlineMs: number,
): Promise<string | null | undefined> {
  const result = await io.read(root.attribute(address, "config"), deadlineMs);
  return result.kind === "done" ? parseSerial(Buffer.from(result.text, "latin1")) : undefined;
}

/**
 * Finds the serial number in a configuration space; `null` where there is none. `undefined` where the space is not all
 * there: cut off, unreachable (all ones), or without the extended part that a PCI Express function has.
 */
export function parseSerial(config: Buffer): string | null | undefined {
  if (config.length <= CONVENTIONAL_SIZE) {
    return config.length < CONVENTIONAL_SIZE || isPciExpress(config) ? undefined : null;
  }
  let offset = FIRST_CAPABILITY;
  for (let count = 0; count < MOST_CAPABILITIES; count += 1) {
    if (offset + 12 > config.length) {
      return undefined;
    }
    const header = config.readUInt32LE(offset);
    if (header === ALL_ONES) {
      return undefined;
    }
    if ((header & 0xffff) === SERIAL_NUMBER) {
      return format(config.readBigUInt64LE(offset + 4));
    }
    offset = (header >>> 20) & 0xffc;
    if (offset < FIRST_CAPABILITY) {
      return null;
    }
  }
  return null;
}

function isPciExpress(config: Buffer): boolean {
  if ((config.readUInt16LE(STATUS) & HAS_CAPABILITIES) === 0) {
    return false;
  }
  let offset = config.readUInt8(CAPABILITIES) & 0xfc;
  for (let count = 0; offset !== 0 && count < MOST_CONVENTIONAL_CAPABILITIES; count += 1) {
    if (config.readUInt8(offset) === PCI_EXPRESS) {
      return true;
    }
    offset = config.readUInt8(offset + 1) & 0xfc;
  }
  return false;
}

function format(serial: bigint): string {
  const digits = serial.toString(16).padStart(16, "0");
  return (digits.match(/../g) ?? []).join("-");
}
