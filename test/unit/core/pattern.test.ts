import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { matchNodes } from "../../../src/core/brace.js";
import { type GlobToken, matchTokens, parseGlob } from "../../../src/core/glob.js";
import { compilePattern } from "../../../src/core/pattern.js";
import { globOf, narrowText } from "../../support/arbitraries.js";
import { oracleExpand, oracleMatches } from "../../support/fnmatch-oracle.js";

function readVectors<Case>(file: string): readonly Case[] {
  const url = new URL(`../../../fixtures/vectors/${file}`, import.meta.url);
  return (JSON.parse(readFileSync(url, "utf8")) as { cases: Case[] }).cases;
}

function isMatch(pattern: string, text: string): boolean {
  const compiled = compilePattern(pattern);
  if (!compiled.ok) {
    throw new Error(`${pattern} ${compiled.error.message}`);
  }
  return compiled.value.matches(text);
}

describe("recorded answers of fnmatch(3)", () => {
  const cases = readVectors<{ pattern: string; text: string; fnmatch: boolean }>(
    "glob-picomatch-vs-fnmatch.json",
  );
  const accepted = cases.filter(({ pattern }) => !/[()]/.test(pattern));

  it("are ours in every case without parentheses and brace lists", () => {
    const plain = accepted.filter(({ pattern }) => !/\{[^{}]*,[^{}]*\}/.test(pattern));
    const wrong = plain.filter(({ pattern, text, fnmatch }) => isMatch(pattern, text) !== fnmatch);
    expect(plain.length).toBeGreaterThan(400);
    expect(wrong).toEqual([]);
  });

  it("are ours in every case with a brace list once the list is written out", () => {
    const listed = accepted.filter(({ pattern }) => /\{[^{}]*,[^{}]*\}/.test(pattern));
    const wrong = listed.filter(
      ({ pattern, text }) =>
        isMatch(pattern, text) !== oracleExpand(pattern).some((plain) => oracleMatches(plain, text)),
    );
    expect(listed.length).toBeGreaterThan(5);
    expect(wrong).toEqual([]);
  });

  it("are never given for a parenthesis: that is refused", () => {
    const refused = cases.filter(({ pattern }) => /[()]/.test(pattern));
    expect(refused.length).toBeGreaterThan(20);
    expect(refused.filter(({ pattern }) => compilePattern(pattern).ok)).toEqual([]);
  });
});

describe("patterns that made other matchers hang", () => {
  it("are answered at once, on any text", () => {
    const cases = readVectors<{ pattern: string; patternLength: number; textLength: number }>(
      "glob-redos.json",
    );
    const patterns = cases
      .filter(({ pattern, patternLength }) => pattern.length === patternLength && !/[()]/.test(pattern))
      .map(({ pattern }) => pattern);
    const nasty = [
      ...new Set(patterns),
      "?*?*?*?*x",
      "*[!x]*[!x]*[!x]*[!x]x",
      ..."*?[{".split("").map((char) => char.repeat(199)),
      "?*".repeat(99),
      "{,".repeat(99),
      "{*0,*00}".repeat(24),
      "{0,00,000}".repeat(19),
    ];
    const texts = ["0000:01:00.0", "0".repeat(64), `${"0".repeat(63)}!`, "0".repeat(4096)];
    const started = performance.now();
    const answers = nasty.map((pattern) => texts.map((text) => isMatch(pattern, text)));
    expect(performance.now() - started).toBeLessThan(10_000);
    expect(answers.flat()).toContain(false);
    expect(nasty.length).toBeGreaterThan(15);
  });
});

describe("a pattern", () => {
  it.each([
    ["a\\", "a\\", false],
    ["\\*", "*", true],
    ["\\*", "a", false],
    ["[]a]", "]", true],
    ["[!]a]", "]", false],
    ["[!]a]", "b", true],
    ["[a-]", "-", true],
    ["[a", "[a", true],
    ["[a", "a", false],
    ["[a-", "[a-", false],
    ["[[a-", "[[a-", false],
    ["[^a[-", "[^a[-", true],
    ["[a\\", "[a\\", false],
    ["[a-\\", "[a-\\", false],
    ["[\\]]", "]", true],
    ["[a-\\]]", "]", false],
    ["[z-a]", "m", false],
    ["[--0]", ".", true],
    ["[a-c-e]", "-", true],
    ["[a-c-e]", "d", false],
    ["[[:alpha:]-z]", "-", true],
    ["[[:xdigit:][:punct:]]", "F", true],
    ["[[:foo:]]", "a", false],
    ["[![:foo:]]", "a", false],
    ["[a[:foo:]]", "a", true],
    ["[a[:foo:]]", "b", false],
    ["[[:foo:]", "[[:foo:]", false],
    ["[[:a]", ":", true],
    ["[[=a=]]", "a", true],
    ["[[=a]", "=", true],
    ["[[.a.]-c]", "b", true],
    ["[a-[.c.]]", "b", true],
    ["[[.hyphen.]]", "-", false],
    ["[a-[.hyphen.]]", "b", false],
    ["[A-[]", "[", true],
    ["a/*", "a/b/c", true],
    ["*", "", true],
    ["*", ".", true],
    [".*", ".", true],
    ["a?b", "a/b", true],
    ["?", "\u{1f600}", true],
    ["[\u{1f600}-\u{1f610}]", "\u{1f605}", true],
  ])("%s and the text %j: %s, as fnmatch(3)", (pattern, text, expected) => {
    expect(isMatch(pattern, text)).toBe(expected);
  });

  it.each([
    ["{a,b}c", "bc", true],
    ["{a,b}c", "{a,b}c", false],
    ["{a,}c", "c", true],
    ["{a,{b,c}d}", "cd", true],
    ["{a{b}c,d}", "a{b}c", true],
    ["{a}", "{a}", true],
    ["{0..3}", "2", false],
    ["{a,b", "{a,b", true],
    ["{x{a,b}", "{xb", true],
    ["a,b}", "a,b}", true],
    ["\\{a,b\\}", "{a,b}", true],
    ["{a\\,b,c}", "a,b", true],
    ["{[a,],b}", ",", true],
    ["{a*,b}x", "aaax", true],
    ["{ab,b}*c", "c", false],
    ["{[!a],b\\", "x", false],
  ])("%s and the text %j: %s, braces being lists", (pattern, text, expected) => {
    expect(isMatch(pattern, text)).toBe(expected);
  });

  it.each([
    ["", 0, "is empty"],
    ["x".repeat(200), 199, "has 200 characters"],
    ["a(b", 1, "parenthesis"],
    ["!(0)", 1, "parenthesis"],
    ["[)]", 1, "parenthesis"],
  ])("%j is refused with the place and what to write", (text, index, message) => {
    const compiled = compilePattern(text);
    expect(compiled).toMatchObject({ ok: false, error: { index, hint: expect.any(String) } });
    expect(compiled).toHaveProperty("error.message", expect.stringContaining(message));
  });

  it("of up to 199 characters is accepted, whatever they are", () => {
    const accepted = fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 199 });
    fc.assert(
      fc.property(accepted, fc.string(), (text, candidate) => {
        fc.pre(!/[()]/.test(text));
        expect(typeof isMatch(text, candidate)).toBe("boolean");
      }),
    );
    expect(compilePattern("x".repeat(199)).ok).toBe(true);
  });

  it("means what the slow reading of fnmatch(3) means", () => {
    const pieces = [
      "0",
      "1",
      "a",
      ":",
      ".",
      "-",
      "*",
      "*",
      "?",
      "[0-9]",
      "[!a]",
      "[]0]",
      "[!]1]",
      "\\*",
      "/",
    ];
    fc.assert(
      fc.property(globOf(pieces), narrowText("01a:.-]*/"), (pattern, text) => {
        expect(isMatch(pattern, text)).toBe(oracleMatches(pattern, text));
      }),
      { numRuns: 3000 },
    );
  });

  it("with lists means any of the patterns written out", () => {
    const pieces = ["0", "1", ":", "*", "?", "[01]", "{0,1}", "{,1}", "{0*,:}", "{01,?,1}"];
    fc.assert(
      fc.property(globOf(pieces, 6), narrowText("01:", 8), (pattern, text) => {
        const expected = oracleExpand(pattern).some((plain) => oracleMatches(plain, text));
        expect(isMatch(pattern, text)).toBe(expected);
      }),
      { numRuns: 2000 },
    );
  });

  it("is matched alike by picomatch and by both of our matchers", () => {
    const pieces = [
      "0",
      "1",
      "f",
      "A",
      ":",
      ".",
      "-",
      "_",
      "*",
      "?",
      "[0-9]",
      "[!0]",
      "[a-f1]",
      "[[:digit:]]",
    ];
    fc.assert(
      fc.property(globOf(pieces), narrowText("01fA:.-_"), (pattern, text) => {
        const nodes = parseGlob([...pattern]);
        const expected = matchTokens(nodes as readonly GlobToken[], [...text]);
        expect(isMatch(pattern, text)).toBe(expected);
        expect(matchNodes(nodes, [...text])).toBe(expected);
      }),
      { numRuns: 5000 },
    );
  });
});
