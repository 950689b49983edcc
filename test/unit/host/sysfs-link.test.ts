import { describe, expect, it } from "vitest";
import { placeOf } from "../../../src/host/sysfs-link.js";

describe("the place of a device", () => {
  it.each([
    ["../../../devices/pci0000:00/0000:00:1f.3", { parent: null, rootBus: "0000:00" }],
    ["../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0", { parent: "0000:00:01.0", rootBus: "0000:00" }],
    // A VMD controller carries a domain of its own, with five digits.
    [
      "../../devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0",
      { parent: null, rootBus: "10000:e0" },
    ],
    [
      "../../devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0",
      { parent: "10000:e0:06.0", rootBus: "10000:e0" },
    ],
    ["../../devices/platform/soc/fd50.pcie/pci0001:00/0001:00:00.0/", { parent: null, rootBus: "0001:00" }],
    ["", undefined],
  ])("is read from %s", (target, place) => {
    expect(placeOf(target)).toEqual(place);
  });
});
