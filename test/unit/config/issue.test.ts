import { describe, expect, it } from "vitest";
import { fileIssue, formatIssue, SourceText } from "../../../src/config/issue.js";

describe("a complaint for people", () => {
  it("shows the line with a caret below the place, and the hint", () => {
    const source = new SourceText("c.yaml", "a: 1\n  b: 2\nc: 3");
    const issue = source.issue({ offset: 10, key: "b", message: "expected 3", hint: "write 3" });
    expect(formatIssue(issue).split("\n")).toEqual([
      "c.yaml:2:6: b: expected 3",
      "  2 |   b: 2",
      "    |      ^",
      "  hint: write 3",
    ]);
  });

  it("has no line where the file as a whole is meant", () => {
    expect(formatIssue(fileIssue("c.yaml", "is not there"))).toBe("c.yaml: is not there");
  });

  it("keeps the caret in place below tabs and control characters, which never reach the terminal", () => {
    const source = new SourceText("c.yaml", "a:\t\u001b[31mred\u009b");
    const shown = formatIssue(source.issue({ offset: 8, key: "", message: "found \u001b[2J" })).split("\n");
    expect(shown).toEqual([
      "c.yaml:1:9: found \\u001b[2J",
      "  1 | a: \ufffd[31mred\ufffd",
      "    |         ^",
    ]);
  });

  it("cuts a long line out around the place", () => {
    const source = new SourceText("c.json", `${"x".repeat(500)}HERE${"y".repeat(500)}`);
    const [, line = "", caret = ""] = formatIssue(source.issue({ offset: 500, key: "", message: "m" })).split(
      "\n",
    );
    expect(line.length).toBeLessThan(140);
    expect(line.slice(caret.indexOf("^")).startsWith("HERE")).toBe(true);
  });
});

describe("the places of a text", () => {
  it("counts lines and columns from 1, at both ends too", () => {
    const source = new SourceText("c", "ab\ncd\n");
    expect([0, 2, 3, 5, 6, 99].map((offset) => source.placeOf(offset))).toEqual([
      { line: 1, column: 1 },
      { line: 1, column: 3 },
      { line: 2, column: 1 },
      { line: 2, column: 3 },
      { line: 3, column: 1 },
      { line: 3, column: 1 },
    ]);
    expect([1, 2, 3].map((line) => source.line(line))).toEqual(["ab", "cd", ""]);
  });

  it("gives complaints in the order of the file, one for each place and key", () => {
    const source = new SourceText("c", "abc");
    const findings = [
      { offset: 2, key: "z", message: "later" },
      { offset: 1, key: "y", message: "first" },
      { offset: 1, key: "y", message: "its echo" },
    ];
    expect(source.issues(findings).map((issue) => issue.message)).toEqual(["first", "later"]);
  });
});
