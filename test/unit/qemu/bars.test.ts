import { describe, expect, it } from "vitest";
import { guestUse } from "../../../src/qemu/bars.js";
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

/** Of the device that was plugged in while it was recorded: two looks, of which the replay gives the first. */
async function recorded(name: string): Promise<unknown> {
  const uses = guestUse(await replayOf(name).execute("query-pci"));
  return uses.get("d1") ?? uses.get("d0");
}

describe("the guest's use of a device", () => {
  it("is certain as soon as one memory BAR has an address, whatever the others have", () => {
    const use = (...regions: PciMemoryRegion[]) => guestUse(behindPort(regions)).get("card");
    expect(use(region(0, 4096))).toEqual({ isInUse: true });
    expect(use(region(0, 0))).toEqual({ isInUse: true });
    expect(use(region(0, 4096), region(2, -1))).toEqual({ isInUse: true, unassigned: [2] });
    expect(use(region(0, -1), region(2, -1))).toEqual({ isInUse: false });
  });

  it("cannot be told by I/O ports or by the ROM", () => {
    const use = (...regions: PciMemoryRegion[]) => guestUse(behindPort(regions)).get("card");
    expect(use(region(0, -1), region(1, 4096, "io"))).toEqual({ isInUse: false });
    expect(use(region(0, -1), region(6, 4096))).toEqual({ isInUse: false });
    expect(use(region(0, 4096), region(1, -1, "io"), region(6, -1))).toEqual({ isInUse: true });
    expect(use(region(1, 4096, "io"), region(6, 4096))).toEqual({});
    expect(use()).toEqual({});
  });

  it("is told by the device's id, also behind bridges; what has none, or is not found yet, is not in it", () => {
    expect([...guestUse(behindPort([region(0, 4096)])).keys()]).toEqual(["rp0", "card"]);
    expect([...guestUse(behindPort([region(0, 4096)], "")).keys()]).toEqual(["rp0"]);
  });

  it.each([
    ["3-bigbar", [2]],
    ["3-bigbar-reserve", undefined],
  ])("is seen in the recording %s, with the BARs for which there was no room", async (name, without) => {
    const uses = [...guestUse(await replayOf(name).execute("query-pci")).values()];
    const inUse = uses.filter(({ isInUse }) => isInUse === true);
    expect(inUse.length).toBeGreaterThan(0);
    expect(uses.find(({ unassigned }) => unassigned !== undefined)?.unassigned).toEqual(without);
  });

  it.each(["3-bars-without-guest-driver-acpi", "3-bars-without-guest-driver-native"])(
    "is not (yet) there in %s: a Linux guest that lists the device and has no driver for it",
    async (name) => {
      expect(await recorded(name)).toEqual({ isInUse: false });
    },
  );
});
