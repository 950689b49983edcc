/**
 * The PCIe device serial number: what tells two cards of one kind apart. Read once per lease, in a child
 * (semantics.md 3): the configuration space is not read in the loop.
 */
import type { PciAddress } from "../core/address.js";
import type { KernelIo } from "./kernel-io.js";
import type { HostRoot } from "./root.js";

/** First extended capability, and the id of the serial number's (PCI Express Base Specification, 7.6 and 7.9.3). */
const FIRST_CAPABILITY = 0x100;
const SERIAL_NUMBER = 0x0003;
/** A list longer than the space has room for goes in a circle. */
const MOST_CAPABILITIES = (4096 - FIRST_CAPABILITY) / 8;

/** The serial number as lspci writes it; `null` where the device has none, or it cannot be read. */
export async function readSerial(
  root: HostRoot,
  io: KernelIo,
  address: PciAddress,
  deadlineMs: number,
): Promise<string | null> {
  const result = await io.read(root.attribute(address, "config"), deadlineMs);
  return result.kind === "done" ? parseSerial(Buffer.from(result.text, "latin1")) : null;
}

/** Finds the serial number in a configuration space. 256 bytes are the conventional part, which has none. */
export function parseSerial(config: Buffer): string | null {
  let offset = FIRST_CAPABILITY;
  for (let count = 0; count < MOST_CAPABILITIES && offset + 12 <= config.length; count += 1) {
    const header = config.readUInt32LE(offset);
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

function format(serial: bigint): string {
  const digits = serial.toString(16).padStart(16, "0");
  return (digits.match(/../g) ?? []).join("-");
}
