import { describe, expect, it } from "vitest";
import type { Device } from "../../../src/core/device.js";
import { withPlaces } from "../../../src/host/recorded-place.js";
import { anAddress } from "../../support/builders.js";

function recorded(address: string, parent?: string | null, more: Partial<Device> = {}): Device {
  const above = parent === undefined ? {} : { parent: parent === null ? null : anAddress(parent) };
  return { address: anAddress(address), appearance: "recorded", ...above, ...more };
}

describe("the places in a recording", () => {
  it("follow from the links to the bridges above", () => {
    const devices = [
      recorded("0000:40:03.0", null),
      recorded("0000:41:00.0", "0000:40:03.0"),
      recorded("0000:42:00.1", "0000:41:00.0"),
    ];
    expect(withPlaces(devices, false)).toMatchObject([
      { root: null, rootBus: "0000:40", path: "0000:40/03.0" },
      { root: "0000:40:03.0", path: "0000:40/03.0/00.0" },
      { root: "0000:40:03.0", path: "0000:40/03.0/00.0/00.1", parent: "0000:41:00.0" },
    ]);
  });

  it("are not known where the source may have left bridges out", () => {
    const [device] = withPlaces([recorded("0000:41:00.0")], false);
    expect(device).toEqual(recorded("0000:41:00.0"));
    const [orphan] = withPlaces([recorded("0000:41:00.0", "0000:40:03.0")], false);
    expect(orphan).toEqual(recorded("0000:41:00.0", "0000:40:03.0"));
  });

  it("are on a root bus for bus 0, and for all that have nothing above them in a whole sysfs", () => {
    expect(withPlaces([recorded("0001:00:1f.3")], false)).toMatchObject([
      { parent: null, root: null, rootBus: "0001:00", path: "0001:00/1f.3" },
    ]);
    expect(withPlaces([recorded("0000:40:03.0")], true)).toMatchObject([{ path: "0000:40/03.0" }]);
  });

  it("stay as they were recorded", () => {
    const facts = { rootBus: "0000:3f", path: "0000:3f/01.0", root: null };
    expect(withPlaces([recorded("0000:40:01.0", null, facts)], false)).toMatchObject([facts]);
  });

  it("do not go round in circles", () => {
    const devices = [recorded("0000:01:00.0", "0000:02:00.0"), recorded("0000:02:00.0", "0000:01:00.0")];
    expect(withPlaces(devices, false)).toEqual(devices);
  });
});
