import { describe, expect, it } from "vitest";
import { type ProtectionFacts, protect } from "../../../src/core/protection.js";
import { aDevice, anAddress } from "../../support/builders.js";

const nothing: ProtectionFacts = { needed: [], unknown: [], isConsoleOnScreen: false };
const gpu = aDevice("0000:01:00.0", { class: "030000", bootVga: true });
const nic = aDevice("0000:02:00.0", { class: "020000" });
const disk = aDevice("0000:03:00.0", { class: "010802" });
const usb = aDevice("0000:04:00.0", { class: "0c0330" });
const bridge = aDevice("0000:00:01.0", { class: "060400" });
const { class: _, ...classless } = aDevice("0000:05:00.0");
const all = [bridge, gpu, nic, disk, usb, classless];

function protectedBy(facts: Partial<ProtectionFacts>): readonly string[] {
  return [...protect(all, { ...nothing, ...facts }).keys()];
}

describe("protection", () => {
  it("covers bridges, and nothing else that the host does not need", () => {
    expect(protect(all, nothing)).toEqual(
      new Map([[bridge.address, { because: "it is a bridge", level: "hard", isLiftable: false }]]),
    );
  });

  it("covers what something the host stands on leads to, and says why", () => {
    const needed = [{ address: anAddress("0000:03:00.0"), because: "it carries what is mounted at /" }];
    expect(protect(all, { ...nothing, needed }).get(disk.address)?.because).toBe(
      "it carries what is mounted at /",
    );
  });

  it("covers the boot VGA only while the console is on a screen", () => {
    expect(protectedBy({ isConsoleOnScreen: true })).toContain(gpu.address);
    expect(protectedBy({ isConsoleOnScreen: false })).not.toContain(gpu.address);
  });

  it("covers, when mounts cannot be read, every device that could carry one, also of unknown class", () => {
    expect(protectedBy({ unknown: [{ area: "storage", detail: "no mounts" }] })).toEqual([
      bridge.address,
      disk.address,
      usb.address,
      classless.address,
    ]);
  });

  it("covers, when routes cannot be read, every device that could carry one", () => {
    expect(protectedBy({ unknown: [{ area: "network", detail: "no routes" }] })).toEqual([
      bridge.address,
      nic.address,
      usb.address,
      classless.address,
    ]);
  });
});
