import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileMemoryPattern, formatSize } from "../../../src/core/memory-size.js";

const GIB = 2 ** 30;

function holds(pattern: string, bytes: number): boolean {
  const compiled = compileMemoryPattern(pattern);
  if (!compiled.ok) {
    throw new Error(`${pattern} ${compiled.error.message}`);
  }
  return compiled.value.evaluate(String(bytes)) === "match";
}

const units = ["", "K", "M", "G", "T"] as const;
/** A size as written, and as a number that cannot be rounded. */
const size = fc
  .record({ number: fc.nat(8_000), unit: fc.constantFrom(...units), iB: fc.boolean(), isLower: fc.boolean() })
  .map(({ number, unit, iB, isLower }) => ({
    text: `${number}${isLower ? unit.toLowerCase() : unit}${iB && unit !== "" ? "iB" : ""}`,
    bytes: BigInt(number) * 1024n ** BigInt(units.indexOf(unit)),
  }));

describe("a comparison of memory", () => {
  it.each([
    [">=8G", 8 * GIB, true],
    [">=8G", 8 * GIB - 1, false],
    ["<512M", 512 * 2 ** 20, false],
    ["<512M", 0, true],
    ["> 0", 0, false],
    ["<=1K", 1024, true],
    ["8G..16G", 8 * GIB, true],
    ["8G..16GiB", 16 * GIB, true],
    ["8G..16G", 16 * GIB + 1, false],
    ["16G", 16 * GIB, true],
    ["=16G", 16 * GIB, true],
    ["16G", 17 * GIB, false],
    ["0", 0, true],
    ["0..0", 0, true],
    ["*", 0, true],
  ])("%s holds of %i bytes: %s", (pattern, bytes, expected) => {
    expect(holds(pattern, bytes)).toBe(expected);
  });

  it.each([
    ["", 0],
    [">=", 2],
    [">=8", undefined],
    [">=8GB", 2],
    ["1.5G", 0],
    ["8G..", 4],
    ["..8G", 0],
    ["16G..8G", 3],
    ["8G...16G", 4],
    ["9".repeat(30), 0],
    ["99999T", 0],
    ["-1", 0],
    ["~1G", 0],
    [">>1G", 1],
  ])("%s is refused at character %s, with how to write it", (pattern, index) => {
    const compiled = compileMemoryPattern(pattern);
    expect(compiled.ok ? undefined : compiled.error).toEqual(
      index === undefined
        ? undefined
        : { index, message: expect.any(String), hint: expect.stringContaining(">=8G") },
    );
  });

  it("is that of whole numbers of any length", () => {
    const operators = { ">=": 0, "<=": 1, ">": 2, "<": 3, "": 4 } as const;
    const operator = fc.constantFrom(...(Object.keys(operators) as (keyof typeof operators)[]));
    fc.assert(
      fc.property(size, size, fc.integer({ min: -1, max: 1 }), operator, (wanted, other, step, sign) => {
        const near = wanted.bytes + BigInt(step);
        for (const actual of [other.bytes, near < 0n ? 0n : near]) {
          const { bytes } = wanted;
          const answers = [
            actual >= bytes,
            actual <= bytes,
            actual > bytes,
            actual < bytes,
            actual === bytes,
          ];
          expect(holds(`${sign}${wanted.text}`, Number(actual))).toBe(answers[operators[sign]]);
        }
      }),
    );
  });

  it("of a range takes its ends and what is between them", () => {
    fc.assert(
      fc.property(size, size, size, (a, b, { bytes }) => {
        const [low, high] = a.bytes <= b.bytes ? [a, b] : [b, a];
        expect(holds(`${low.text}..${high.text}`, Number(bytes))).toBe(
          low.bytes <= bytes && bytes <= high.bytes,
        );
      }),
    );
  });
});

describe("a size for people", () => {
  it.each([
    [0, "0"],
    [1, "1"],
    [1023, "1023"],
    [1024, "1K"],
    [256 * 2 ** 20, "256M"],
    [16 * GIB, "16G"],
    [16 * GIB + 4096, "16777220K"],
    [2 ** 50, "1024T"],
  ])("%i is %s", (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });

  it("is a pattern that takes that size and no other", () => {
    fc.assert(
      fc.property(fc.nat(2 ** 50), (bytes) => {
        expect(holds(formatSize(bytes), bytes)).toBe(true);
        expect(holds(formatSize(bytes), bytes + 1)).toBe(false);
      }),
    );
  });
});
