import { describe, expect, it } from "vitest";
import { unassignedBars } from "../../../src/qemu/bars.js";
import type { PciDeviceInfo, PciInfo, PciMemoryRegion } from "../../../src/qmp/results.js";
import { replayOf } from "../../support/qom-replay.js";

function region(bar: number, address: number, type = "memory"): PciMemoryRegion {
  return { bar, address, type, size: 4096 };
}

/** A device below a root port, as query-pci tells of it. Made up. */
function behindPort(regions: readonly PciMemoryRegion[], id = "card"): readonly PciInfo[] {
  const base = { bus: 0, slot: 0, function: 0, class_info: { class: 0 }, id: { vendor: 1, device: 1 } };
  const card: PciDeviceInfo = { ...base, qdev_id: id, regions };
  const port: PciDeviceInfo = {
    ...base,
    qdev_id: "rp0",
    regions: [],
    pci_bridge: { bus: { secondary: 1 }, devices: [card] },
  };
  return [{ bus: 0, devices: [port] }];
}

describe("BARs without an address", () => {
  it("are named where another BAR of the device has one: recorded with a BAR of 1 GiB in a plain port", async () => {
    const without = unassignedBars(await replayOf("3-bigbar").execute("query-pci"));
    expect([...without.values()]).toEqual([[2]]);
    const reserved = unassignedBars(await replayOf("3-bigbar-reserve").execute("query-pci"));
    expect([...reserved.values()]).toEqual([]);
  });

  it.each([
    ["all of them are so: the guest may have no driver for it", [region(0, -1), region(2, -1)]],
    ["only I/O ports are so", [region(0, 4096), region(1, -1, "io")]],
    ["only the ROM is so", [region(0, 4096), region(6, -1)]],
    ["none is so", [region(0, 4096), region(2, 8192)]],
  ])("prove nothing where %s", (_, regions) => {
    expect([...unassignedBars(behindPort(regions))]).toEqual([]);
  });

  it("are found behind bridges, by the device's id", () => {
    expect([...unassignedBars(behindPort([region(0, 4096), region(4, -1)]))]).toEqual([["card", [4]]]);
    expect([...unassignedBars(behindPort([region(0, 4096), region(4, -1)], ""))]).toEqual([]);
  });
});
