import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { quoteInLine } from "../../../src/config/quoting.js";

describe("a line shown as it should have been written", () => {
  it.each([
    ["a: *:01:00.0", false, 'a: "*:01:00.0"'],
    ["a: *:01:00.0   # why", false, 'a: "*:01:00.0"   # why'],
    ["a: *#1", false, 'a: "*#1"'],
    ["a: {01,02}:00.0, b", false, 'a: "{01,02}:00.0, b"'],
    ["a: {01,02}:00.0, b: c}", true, 'a: "{01,02}:00.0", b: c}'],
    ["a: [01]?}", true, 'a: "[01]?"}'],
    ['a: *"\\', false, "a: '*\"\\'"],
    ["a: *'\"", false, "a: '*''\"'"],
  ])("%s", (line, isInFlow, quoted) => {
    expect(quoteInLine({ line, start: 3, isInFlow })).toBe(quoted);
  });

  it("is read by YAML as exactly the text that was meant", () => {
    const pattern = fc.string({ unit: fc.constantFrom(..."*?[]{},!:.\\\"'0a"), minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(pattern, (text) => {
        const line = quoteInLine({ line: `a: ${text}`, start: 3, isInFlow: false });
        expect(parse(line, { schema: "failsafe" })).toEqual({ a: text });
      }),
    );
  });
});
