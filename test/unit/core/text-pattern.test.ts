import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  compileFlag,
  compileNumberPattern,
  compilePathPattern,
  compileSerialPattern,
  compileTextPattern,
} from "../../../src/core/text-pattern.js";
import { globOf, narrowText } from "../../support/arbitraries.js";
import { oracleMatches } from "../../support/fnmatch-oracle.js";

type Compile = typeof compileTextPattern;

function compile(compiler: Compile, text: string) {
  const compiled = compiler(text);
  if (!compiled.ok) {
    throw new Error(`${text} ${compiled.error.message}`);
  }
  return compiled.value;
}

describe("a pattern over names", () => {
  it("takes what an independent reading of fnmatch(3) takes", () => {
    const pieces = ["v", "f", "io", "-", " ", "?", "*", "[fo]", "[!v]", "\\*"];
    fc.assert(
      fc.property(globOf(pieces), narrowText("vfio- *", 10), (pattern, text) => {
        const expected = oracleMatches(pattern, text) ? "match" : "no-match";
        expect(compile(compileTextPattern, pattern).evaluate(text)).toBe(expected);
      }),
    );
  });

  it("is linear in long texts, as udev and firmware may hold", () => {
    const { cases } = JSON.parse(
      readFileSync(new URL("../../../fixtures/vectors/glob-redos.json", import.meta.url), "utf8"),
    ) as { cases: { pattern: string; patternLength: number }[] };
    const patterns = new Set(
      cases
        .filter(({ pattern, patternLength }) => pattern.length === patternLength && !/[()]/.test(pattern))
        .map(({ pattern }) => pattern),
    );
    const texts = ["0".repeat(4096), `${"a".repeat(4095)}!`, "0000:01:00.0 ".repeat(300)];
    const started = performance.now();
    const answers = [...patterns].map((pattern) =>
      texts.map((text) => compile(compileTextPattern, pattern).evaluate(text)),
    );
    expect(answers.flat()).toContain("no-match");
    // A hang guard: these took picomatch longer than anybody waited.
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  it.each([
    ["nvme", false],
    ["vfio*", false],
    ["*", true],
    ["?*-*", true],
    ["{nvme,*}", true],
    ["[a-z]*", true],
  ])("%s names nothing: %s", (pattern, isWildcardOnly) => {
    expect(compile(compileTextPattern, pattern).isWildcardOnly).toBe(isWildcardOnly);
  });

  it("tells the one text it stands for", () => {
    expect(compile(compileTextPattern, "n\\*me").literals).toEqual(["n*me"]);
    expect(compile(compileTextPattern, "n*").literals).toBeNull();
  });

  it("is refused where any pattern is", () => {
    expect(compileTextPattern("a(b)")).toMatchObject({ ok: false, error: { index: 1 } });
  });
});

describe("a pattern over a path", () => {
  it.each([
    ["0000:00/1c.0/00.0", false],
    ["*/1c.0/*", false],
    ["0000:00/*", true],
    ["0000:00", true],
    ["*", true],
    ["{0000:00/1c.0,*}/*", true],
    ["0000:00{/,/1}c.0", false],
    ["0000:00/?.?", true],
  ])("%s names no place: %s", (pattern, isWildcardOnly) => {
    expect(compile(compilePathPattern, pattern).isWildcardOnly).toBe(isWildcardOnly);
  });

  it("may be written in either case, and says where it cannot match", () => {
    expect(compile(compilePathPattern, "0000:00/1C.0").evaluate("0000:00/1c.0")).toBe("match");
    expect(compile(compilePathPattern, "0000:00\\\\1c.0").remarks).toMatchObject([{ index: 7 }]);
  });
});

describe("a pattern over a serial number", () => {
  it("may be written in either case, and says where it cannot match", () => {
    const serial = "00-11-22-ff-ff-33-44-55";
    expect(compile(compileSerialPattern, "00-11-22-FF-*").evaluate(serial)).toBe("match");
    expect(compile(compileSerialPattern, "00:11:*").remarks).toMatchObject([{ index: 2 }]);
  });
});

describe("a pattern over a number", () => {
  it("takes zero as a number like any other, and never names a device", () => {
    expect(compile(compileNumberPattern, "0").evaluate("0")).toBe("match");
    expect(compile(compileNumberPattern, "0").evaluate("10")).toBe("no-match");
    expect(compile(compileNumberPattern, "[1-3]").evaluate("2")).toBe("match");
    expect(compile(compileNumberPattern, "17").isWildcardOnly).toBe(true);
    expect(compile(compileNumberPattern, "0x1").remarks).toMatchObject([{ index: 1 }]);
  });
});

describe("a flag", () => {
  it("is true or false and nothing else", () => {
    expect(compile(compileFlag, "true").evaluate("true")).toBe("match");
    expect(compile(compileFlag, "true").evaluate("false")).toBe("no-match");
    expect(["yes", "1", "", "TRUE", "*"].filter((text) => compileFlag(text).ok)).toEqual([]);
  });
});
