/** Tables for people. */
import { describe, expect, it } from "vitest";
import { renderTable } from "../../../src/cli/io.js";

describe("a table", () => {
  it("aligns its columns and leaves no blanks at the end of a line", () => {
    expect(
      renderTable(
        ["A", "LONG HEAD", "C"],
        [
          ["longest cell", "b", ""],
          ["a", "", "c"],
        ],
      ),
    ).toEqual(["A             LONG HEAD  C", "longest cell  b", "a                        c"]);
  });

  it("is its header when it has no rows", () => {
    expect(renderTable(["A", "B"], [])).toEqual(["A  B"]);
  });

  it("keeps one row on one line, whatever is in it", () => {
    expect(renderTable(["A"], [["a\nb\rc\u2028d"]])).toEqual(["A", "a\\u000ab\\u000dc\\u2028d"]);
  });
});
