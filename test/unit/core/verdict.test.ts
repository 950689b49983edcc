import { expect, it } from "vitest";
import { allOf, anyOf } from "../../../src/core/verdict.js";

it("an OR holds with one match, and is open with one unknown and no match", () => {
  expect(anyOf(["no-match", "unknown", "match"])).toBe("match");
  expect(anyOf(["no-match", "unknown"])).toBe("unknown");
  expect(anyOf(["no-match", "no-match"])).toBe("no-match");
  expect(anyOf([])).toBe("no-match");
});

it("an AND fails with one no-match, and is open with one unknown and no failure", () => {
  expect(allOf(["match", "unknown", "no-match"])).toBe("no-match");
  expect(allOf(["match", "unknown"])).toBe("unknown");
  expect(allOf(["match", "match"])).toBe("match");
  expect(allOf([])).toBe("match");
});
