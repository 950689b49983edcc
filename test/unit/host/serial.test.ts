import { describe, expect, it } from "vitest";
import { parseSerial } from "../../../src/host/serial.js";

/** A configuration space with extended capabilities at the given offsets. Made up. */
function config(capabilities: readonly { at: number; id: number; next: number; serial?: bigint }[]): Buffer {
  const space = Buffer.alloc(4096);
  for (const { at, id, next, serial } of capabilities) {
    space.writeUInt32LE(((next << 20) | (1 << 16) | id) >>> 0, at);
    if (serial !== undefined) {
      space.writeBigUInt64LE(serial, at + 4);
    }
  }
  return space;
}

describe("parseSerial", () => {
  it("finds the serial number behind other capabilities and writes it as lspci does", () => {
    const space = config([
      { at: 0x100, id: 0x0001, next: 0x140 },
      { at: 0x140, id: 0x0003, next: 0, serial: 0x6805caffff123456n },
    ]);
    expect(parseSerial(space)).toBe("68-05-ca-ff-ff-12-34-56");
  });

  it.each([
    ["has no extended capabilities", config([])],
    ["has others only", config([{ at: 0x100, id: 0x0001, next: 0 }])],
    ["is conventional, 256 bytes long", config([]).subarray(0, 256)],
    [
      "goes in a circle",
      config([
        { at: 0x100, id: 1, next: 0x140 },
        { at: 0x140, id: 2, next: 0x100 },
      ]),
    ],
  ])("is null where the space %s", (_, space) => {
    expect(parseSerial(space)).toBeNull();
  });

  /** A conventional part that lists PCI Express behind power management. Made up. */
  function express(): Buffer {
    const space = config([]);
    space.writeUInt16LE(0x10, 0x06);
    space.writeUInt8(0x40, 0x34);
    space.set([0x01, 0x50], 0x40);
    space.set([0x10, 0x00], 0x50);
    return space;
  }

  it.each([
    ["is all that somebody other than root is shown", config([]).subarray(0, 64)],
    ["ends before the part that a PCI Express function has", express().subarray(0, 256)],
    ["was read only in part", config([{ at: 0x100, id: 0x0003, next: 0, serial: 1n }]).subarray(0, 0x104)],
    ["is that of a device that has fallen off the bus", Buffer.alloc(4096, 0xff)],
    ["is empty", Buffer.alloc(0)],
  ])("cannot tell where the space %s", (_, space) => {
    expect(parseSerial(space)).toBeUndefined();
  });
});
