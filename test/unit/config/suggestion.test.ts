import { describe, expect, it } from "vitest";
import { suggest } from "../../../src/config/suggestion.js";

describe("did you mean", () => {
  const known = ["address", "vendor", "device", "class"];

  it("names the nearest word, whatever its case", () => {
    expect(suggest("adress", known)).toBe("address");
    expect(suggest("VENDOR", known)).toBe("vendor");
    expect(suggest("vnedor", known)).toBe("vendor");
  });

  it("is silent about words that are far from all", () => {
    expect(suggest("colour", known)).toBeUndefined();
    expect(suggest("x", known)).toBeUndefined();
    expect(suggest("", known)).toBeUndefined();
  });
});
