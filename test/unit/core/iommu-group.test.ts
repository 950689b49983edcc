import { describe, expect, it } from "vitest";
import { assumeIommuGroups } from "../../../src/core/iommu-group.js";
import { anAddress } from "../../support/builders.js";

function groupsOf(entries: readonly (readonly [string, number | null | undefined])[]): unknown[] {
  const devices = entries.map(([address, iommuGroup]) => ({
    address: anAddress(address),
    appearance: "x",
    ...(iommuGroup === undefined ? {} : { iommuGroup }),
  }));
  return assumeIommuGroups(devices).map((device) => device.iommuGroup);
}

describe("assumed IOMMU groups", () => {
  it("are one per card, numbered in address order whatever order the devices come in", () => {
    expect(
      groupsOf([
        ["0000:02:00.0", undefined],
        ["0000:01:00.1", undefined],
        ["0000:01:00.0", undefined],
        ["10000:00:00.0", undefined],
      ]),
    ).toEqual([1, 0, 0, 2]);
  });

  it("leave alone what is known, none included, and go on behind its numbers", () => {
    expect(
      groupsOf([
        ["0000:01:00.0", 7],
        ["0000:01:00.1", undefined],
        ["0000:02:00.0", null],
        ["0000:03:00.0", 0],
      ]),
    ).toEqual([7, 8, null, 0]);
  });
});
