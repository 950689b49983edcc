import { describe, expect, it } from "vitest";
import { placeOf } from "../../../src/host/sysfs-link.js";

describe("the place of a device", () => {
  it.each([
    ["../../../devices/pci0000:00/0000:00:1f.3", { parent: null, root: null, path: "0000:00/1f.3" }],
    [
      "../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0",
      { parent: "0000:00:01.0", root: "0000:00:01.0", path: "0000:00/01.0/00.0" },
    ],
    [
      "../../../devices/pci0000:40/0000:40:03.0/0000:41:00.0/0000:42:05.0/0000:43:00.1",
      { parent: "0000:42:05.0", root: "0000:40:03.0", path: "0000:40/03.0/00.0/05.0/00.1" },
    ],
    // A VMD controller carries a domain of its own, with five digits.
    [
      "../../devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0",
      { parent: null, root: null, path: "10000:e0/06.0" },
    ],
    [
      "../../devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0",
      { parent: "10000:e0:06.0", root: "10000:e0:06.0", path: "10000:e0/06.0/00.0" },
    ],
    [
      "../../devices/platform/soc/fd50.pcie/pci0001:00/0001:00:00.0/",
      { parent: null, root: null, path: "0001:00/00.0" },
    ],
  ])("is read from %s", (target, place) => {
    expect(placeOf(target)).toEqual({ ...place, rootBus: place.path.split("/")[0] });
  });

  it("is not known from a link that says none", () => {
    expect(placeOf("")).toBeUndefined();
  });
});
