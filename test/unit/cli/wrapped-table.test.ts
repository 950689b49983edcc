/** Tables whose last column holds sentences. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { renderWrapped, wrap } from "../../../src/cli/wrapped-table.js";

describe("a table with sentences", () => {
  it("goes on below its last column where 100 characters are not enough", () => {
    const why =
      "because the IOMMU group of this device has a member that no rule names and that a host driver holds on to";
    expect(
      renderWrapped(
        ["ADDRESS", "WHY"],
        [
          ["0000:65:00.0", why],
          ["0000:66:00.0", "short"],
        ],
      ),
    ).toEqual([
      "ADDRESS       WHY",
      "0000:65:00.0  because the IOMMU group of this device has a member that no rule names and that a host",
      "              driver holds on to",
      "0000:66:00.0  short",
    ]);
  });

  it("loses no word and breaks none", () => {
    const words = fc.array(fc.stringMatching(/^[a-z]{1,20}$/), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(words, fc.integer({ min: 20, max: 60 }), (list, room) => {
        const lines = wrap(list.join(" "), room);
        expect(lines.join(" ")).toBe(list.join(" "));
        expect(lines.every((line) => line.length <= room)).toBe(true);
      }),
    );
  });
});
