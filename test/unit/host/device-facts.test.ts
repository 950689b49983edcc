import { describe, expect, it } from "vitest";
import { memoryOf, prefetchableOf } from "../../../src/host/device-facts.js";

const none = "0x0000000000000000 0x0000000000000000 0x0000000000000000";
/** As Linux writes the attribute for a GPU with two 64-bit BARs, an I/O BAR and a ROM. Made up, in the kernel's form. */
const gpu = [
  "0x00000000f6000000 0x00000000f6ffffff 0x0000000000040200",
  "0x0000006000000000 0x00000067ffffffff 0x000000000014220c",
  none,
  "0x0000006800000000 0x0000006801ffffff 0x000000000014220c",
  none,
  "0x000000000000e000 0x000000000000e07f 0x0000000000040101",
  "0x00000000f7000000 0x00000000f707ffff 0x0000000000046200",
];

describe("the memory of a device", () => {
  it("is the sum of its memory BARs, without I/O ports and the ROM", () => {
    expect(memoryOf(gpu)).toBe(2 ** 24 + 2 ** 35 + 2 ** 25);
    expect(prefetchableOf(gpu)).toBe(2 ** 35 + 2 ** 25);
  });

  it("does not count the windows of a bridge", () => {
    const windows = Array.from({ length: 13 }, () => none);
    expect(memoryOf([...windows, "0x00000000cf100000 0x00000000cf1fffff 0x0000000000000200"])).toBe(0);
  });

  it("counts a BAR that is not placed yet", () => {
    expect(memoryOf(["0x0000000000000000 0x0000000000003fff 0x0000000020040200"])).toBe(0x4000);
  });

  it.each([[undefined], [[""]], [["0x0 0x1"]], [["zero one two"]]])("is not known from %j", (lines) => {
    expect(memoryOf(lines)).toBeUndefined();
    expect(prefetchableOf(lines)).toBeUndefined();
  });
});
