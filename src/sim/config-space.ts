/** The configuration space and the BARs of a simulated card, as far as anybody reads them. Pure. */
import type { SimCard } from "./card.js";

const SPACE_BYTES = 4096;
/** The first extended capability, and the version and id of the one that carries the serial number (PCIe 7.9.3). */
const FIRST_EXTENDED = 0x100;
const SERIAL_NUMBER_V1 = 0x0001_0003;
const FIRST_BAR = 0xe000_0000_0000n;
/** IORESOURCE_MEM and IORESOURCE_PREFETCH (kernel: include/linux/ioport.h). */
const PREFETCHABLE_FLAG = 0x2000n;
const MEMORY_FLAGS = 0x200n;
const RESOURCE_LINES = 13;

/** The ids, the class and the serial number where sysfs shows them in `config`; all else is zero. */
export function configSpace(card: SimCard): Uint8Array {
  const space = Buffer.alloc(SPACE_BYTES);
  const number = (text: string | undefined): number => Number.parseInt(text ?? "0", 16);
  space.writeUInt16LE(number(card.vendor), 0x00);
  space.writeUInt16LE(number(card.device), 0x02);
  space.writeUInt32LE((number(card.class) * 0x100 + number(card.revision)) >>> 0, 0x08);
  space.writeUInt16LE(number(card.subsystemVendor), 0x2c);
  space.writeUInt16LE(number(card.subsystemDevice), 0x2e);
  if (card.serial !== undefined) {
    space.writeUInt32LE(SERIAL_NUMBER_V1, FIRST_EXTENDED);
    space.writeBigUInt64LE(BigInt(`0x${card.serial.replaceAll("-", "")}`), FIRST_EXTENDED + 4);
  }
  return space;
}

/** The text of `resource`: one memory BAR of each kind, all other lines empty (kernel ABI: sysfs-bus-pci). */
export function resourceText(bytes: number, prefetchable: number): string {
  const line = (...values: readonly bigint[]): string =>
    `${values.map((value) => `0x${value.toString(16).padStart(16, "0")}`).join(" ")}\n`;
  const empty = line(0n, 0n, 0n);
  const bar = (size: number, flags: bigint): string =>
    size > 0 ? line(FIRST_BAR, FIRST_BAR + BigInt(size) - 1n, flags) : empty;
  return (
    bar(bytes - prefetchable, MEMORY_FLAGS) +
    bar(prefetchable, MEMORY_FLAGS | PREFETCHABLE_FLAG) +
    empty.repeat(RESOURCE_LINES - 2)
  );
}
