import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Result } from "../../../src/base/result.js";
import { compileClassPattern, compileIdPattern } from "../../../src/core/hex-pattern.js";
import { CLASS_NAMES } from "../../../src/core/pci-class.js";
import { hexDigits } from "../../support/arbitraries.js";

function unwrap<T>(result: Result<T, { message: string }>): T {
  if (!result.ok) {
    throw new Error(result.error.message);
  }
  return result.value;
}

describe("a vendor or device id pattern", () => {
  it.each([
    ["10de", "10de", "match"],
    ["10DE", "10de", "match"],
    ["0x10de", "10de", "match"],
    ["0X10DE", "10de", "match"],
    ["10d*", "10de", "match"],
    ["10[A-F]*", "10de", "match"],
    ["{8086,10de}", "10de", "match"],
    ["*", "10de", "match"],
    ["8086", "10de", "no-match"],
    ["0*", "10de", "no-match"],
  ] as const)("%s and the id %s: %s", (pattern, id, verdict) => {
    expect(unwrap(compileIdPattern(pattern)).evaluate(id)).toBe(verdict);
  });

  it("that is an id takes that one only", () => {
    fc.assert(
      fc.property(hexDigits(4), hexDigits(4), (written, id) => {
        expect(unwrap(compileIdPattern(written)).evaluate(written)).toBe("match");
        expect(unwrap(compileIdPattern(written)).evaluate(id)).toBe(written === id ? "match" : "no-match");
      }),
    );
  });

  it.each([
    ["*", true],
    ["????", true],
    ["[0-9]*", true],
    ["{8086,*}", true],
    ["8*", false],
    ["{8086,10d*}", false],
  ])("%s names nothing fixed: %s", (pattern, expected) => {
    expect(unwrap(compileIdPattern(pattern)).isWildcardOnly).toBe(expected);
  });

  it("says when it has too few or too many digits", () => {
    expect(unwrap(compileIdPattern("86")).remarks).toMatchObject([{ hint: "write 0086" }]);
    expect(unwrap(compileIdPattern("80860")).remarks).toHaveLength(1);
    expect(unwrap(compileIdPattern("zz*")).remarks).toMatchObject([{ index: 0 }]);
    expect(unwrap(compileIdPattern("8086")).remarks).toEqual([]);
  });

  it("is refused with the place in the text as written", () => {
    expect(compileIdPattern("0x")).toMatchObject({ ok: false, error: { index: 2 } });
    expect(compileIdPattern("0x1(")).toMatchObject({ ok: false, error: { index: 3 } });
    expect(compileIdPattern("1(")).toMatchObject({ ok: false, error: { index: 1 } });
  });
});

describe("a class pattern", () => {
  it.each([
    ["vga", "030000", "match"],
    ["VGA", "0300", "match"],
    ["vga", "030200", "no-match"],
    ["3d", "030200", "match"],
    ["{vga,3d}", "030200", "match"],
    ["audio", "040100", "match"],
    ["0300", "030001", "match"],
    ["0x0300", "030000", "match"],
    ["03*", "038000", "match"],
    ["03*", "0380", "match"],
    ["*02", "030200", "match"],
    ["*02", "010802", "match"],
    ["*02", "010800", "no-match"],
    ["010802", "010802", "match"],
    ["010802", "010801", "no-match"],
    ["{0300,0302}", "030200", "match"],
  ] as const)("%s and the class %s: %s", (pattern, pciClass, verdict) => {
    expect(unwrap(compileClassPattern(pattern)).evaluate(pciClass)).toBe(verdict);
  });

  it.each([
    ["010802", "0108", "unknown"],
    ["010802", "0106", "no-match"],
    ["0108?2", "0108", "unknown"],
    ["0108??", "0108", "match"],
    ["0106??", "0108", "no-match"],
    ["*02", "0108", "unknown"],
  ] as const)("%s and the class %s without an interface: %s", (pattern, pciClass, verdict) => {
    expect(unwrap(compileClassPattern(pattern)).evaluate(pciClass)).toBe(verdict);
  });

  it("knows every name", () => {
    for (const name of Object.keys(CLASS_NAMES)) {
      expect(compileClassPattern(name)).toMatchObject({ ok: true, value: { isWildcardOnly: false } });
    }
  });

  it.each(["vgaa", "constructor", "01080", "0x3"])("%s is refused, with the names there are", (text) => {
    expect(compileClassPattern(text)).toMatchObject({
      ok: false,
      error: { hint: expect.stringContaining("3d, accelerator") },
    });
  });

  it("of two digits is refused with the wildcard that was meant", () => {
    expect(compileClassPattern("03")).toMatchObject({ ok: false, error: { hint: "write 03*" } });
  });

  it("is refused where any pattern is", () => {
    expect(compileClassPattern("03(00)")).toMatchObject({ ok: false, error: { index: 2 } });
  });

  it.each([
    ["*", true],
    ["0*", true],
    ["?1*", true],
    ["{01,0}*", true],
    ["01*", false],
    ["{01,02}*", false],
    ["vga", false],
    ["010802", false],
  ])("%s names no class: %s", (pattern, expected) => {
    expect(unwrap(compileClassPattern(pattern)).isWildcardOnly).toBe(expected);
  });

  it("says when it can match no class", () => {
    expect(unwrap(compileClassPattern("0z*")).remarks).toMatchObject([{ index: 1 }]);
    expect(unwrap(compileClassPattern("03*")).remarks).toEqual([]);
  });
});
