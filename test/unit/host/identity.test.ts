import { describe, expect, it } from "vitest";
import { parseOverride } from "../../../src/host/identity.js";

describe("driver_override", () => {
  it.each([
    ["(null)\n", null],
    ["\n", null],
    ["vfio-pci\n", "vfio-pci"],
    // The kernel takes any text, and what we put back must be that text.
    ["a b \n", "a b "],
  ])("reading %j means %j", (text, override) => {
    expect(parseOverride(text)).toBe(override);
  });
});
