import { describe, expect, it } from "vitest";
import { spanningGroups } from "../../../src/core/spanning-groups.js";
import { aDevice } from "../../support/builders.js";

describe("IOMMU groups that span slots", () => {
  it("are those with endpoints in several slots, by number; functions of one card and bridges do not count", () => {
    const devices = [
      aDevice("0000:09:00.0", { iommuGroup: 20 }),
      aDevice("0000:08:00.0", { iommuGroup: 20 }),
      aDevice("0000:05:00.0", { iommuGroup: 3 }),
      aDevice("0000:05:01.0", { iommuGroup: 3 }),
      aDevice("0000:01:00.0", { iommuGroup: 1 }),
      aDevice("0000:01:00.1", { iommuGroup: 1 }),
      aDevice("0000:00:01.0", { iommuGroup: 1, class: "060400" }),
      aDevice("0000:02:00.0", { iommuGroup: null }),
      aDevice("0000:03:00.0", { iommuGroup: null }),
    ];
    expect(spanningGroups(devices)).toEqual([
      { iommuGroup: 3, members: ["0000:05:00.0", "0000:05:01.0"] },
      { iommuGroup: 20, members: ["0000:08:00.0", "0000:09:00.0"] },
    ]);
  });
});
