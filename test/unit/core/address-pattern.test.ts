import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type PciAddress, parseAddress } from "../../../src/core/address.js";
import { compileAddressPattern } from "../../../src/core/address-pattern.js";
import { pciAddress } from "../../support/arbitraries.js";

const ADDRESSES = [
  "0000:00:1f.2",
  "0000:01:00.0",
  "0000:01:00.1",
  "0000:65:01.0",
  "0001:01:00.0",
  "10000:01:00.0",
].map(address);

function address(text: string): PciAddress {
  const parsed = parseAddress(text);
  if (parsed === undefined) {
    throw new Error(`no address: ${text}`);
  }
  return parsed;
}

function compile(text: string) {
  const compiled = compileAddressPattern(text);
  if (!compiled.ok) {
    throw new Error(`${text} ${compiled.error.message}`);
  }
  return compiled.value;
}

function readFixture<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(`../../../fixtures/vectors/${file}`, import.meta.url), "utf8")) as T;
}

describe("an address pattern", () => {
  it.each([
    ["0000:*", ["0000:00:1f.2", "0000:01:00.0", "0000:01:00.1", "0000:65:01.0"]],
    ["01:*", ["0000:01:00.0", "0000:01:00.1", "0001:01:00.0", "10000:01:00.0"]],
    ["*:00.0", ["0000:01:00.0", "0001:01:00.0", "10000:01:00.0"]],
    ["*", ADDRESSES],
    ["***", ADDRESSES],
    ["10000:*", ["10000:01:00.0"]],
    ["0?:*", ["0000:00:1f.2", "0000:01:00.0", "0000:01:00.1", "0001:01:00.0", "10000:01:00.0"]],
    ["*:01:*.*", ["0000:01:00.0", "0000:01:00.1", "0001:01:00.0", "10000:01:00.0"]],
    ["000?:*.1", ["0000:01:00.1"]],
    ["?????:*", ["10000:01:00.0"]],
    ["[0-9][0-9]:00.1", ["0000:01:00.1"]],
    ["*0000:*.2", ["0000:00:1f.2"]],
    ["000:*", []],
    ["0000\\:01\\:00.0", ["0000:01:00.0"]],
    ["[0:]:00.0", []],
    ["{01,65}:*.0", ["0000:01:00.0", "0000:65:01.0", "0001:01:00.0", "10000:01:00.0"]],
    ["{0000,0001}:*.0", ["0000:01:00.0", "0000:65:01.0", "0001:01:00.0"]],
    ["{01:00.1,0001:01:*}", ["0000:01:00.1", "0001:01:00.0"]],
    ["{0000:0,6}?:*.0", ["0000:01:00.0", "0000:65:01.0"]],
    [
      "{01:00,0000:65:01}.{0,1}",
      ["0000:01:00.0", "0000:01:00.1", "0000:65:01.0", "0001:01:00.0", "10000:01:00.0"],
    ],
    ["0000:0[A-F]:*", []],
  ])("%s takes what it says", (pattern, expected) => {
    const compiled = compile(pattern);
    expect(ADDRESSES.filter((any) => compiled.matches(any))).toEqual(expected);
    expect(ADDRESSES.filter((any) => compiled.evaluate(any) === "match")).toEqual(expected);
  });

  it.each(["00*", "01", "0000", "?", "[:]", "{*,01:*}", "{0,1}".repeat(39)])(
    "%s is refused for want of a colon",
    (pattern) => {
      expect(compileAddressPattern(pattern)).toMatchObject({
        ok: false,
        error: {
          index: 0,
          message: expect.stringContaining("has no colon"),
          hint: expect.stringContaining("01:*"),
        },
      });
    },
  );

  it("is refused where any pattern is", () => {
    expect(compileAddressPattern("0000:01:00.(0)")).toMatchObject({ ok: false, error: { index: 11 } });
  });

  it("that is an address takes that one only, and names it", () => {
    fc.assert(
      fc.property(pciAddress, pciAddress, (written, other) => {
        const compiled = compile(written);
        expect(compiled.exactAddress).toBe(written);
        expect(compiled.matches(written)).toBe(true);
        expect(compiled.matches(other)).toBe(other === written);
      }),
    );
  });

  it("without its domain takes the address in every domain", () => {
    fc.assert(
      fc.property(pciAddress, fc.nat(0xffff_ffff), (any, domain) => {
        const place = any.slice(any.indexOf(":") + 1);
        const elsewhere = address(`${domain.toString(16).padStart(4, "0")}:${place}`);
        expect(compile(place).matches(any)).toBe(true);
        expect(compile(place).matches(elsewhere)).toBe(true);
        expect(compile(place).exactAddress).toBeUndefined();
      }),
    );
  });

  it.each(["0000:01:00.*", "0000:0[1]:00.0", "0000:C1:00.0", "00000:01:00.0"])(
    "%s names no exact address",
    (text) => {
      expect(compile(text).exactAddress).toBeUndefined();
    },
  );

  it.each(["*", "*:*", "*:*:*.*", "0000:*", "000?:*", "??:*", "0000:*.0", "*:*.0", "[0-9]?:*", "{01,*}:*"])(
    "%s is made of wildcards as far as places go",
    (pattern) => {
      expect(compile(pattern).isWildcardOnly).toBe(true);
    },
  );

  it.each(["01:*", "0?:*", "*:1f.*", "*:01:*.*", "0000:6*", "0000:65:00.0", "{01,02}:*", "*:00.0"])(
    "%s names a bus or a slot",
    (pattern) => {
      expect(compile(pattern).isWildcardOnly).toBe(false);
    },
  );

  it.each([
    ["0000:C1:00.0", 5, 'written in lower case, "c" instead of "C"'],
    ["0000:01:00.{0..3}", 11, "braces without a comma"],
    ["0x01:00.0", 1, 'no character "x"'],
    ["0000:0[A-F]:*", 6, "these brackets"],
    ["0000:01:*\\", 9, "ends in the middle"],
  ])("%s is accepted with a remark on what matches nothing", (pattern, index, message) => {
    expect(compile(pattern).remarks).toEqual([{ index, message: expect.stringContaining(message) }]);
  });

  it.each([
    ["0000:0b:00", "names no function", "write 0000:0b:00.* for"],
    ["65:00", "names no function", "write 65:00.* for"],
    ["65:00.9", "functions 0 to 7", "such as 0000:65:00.0"],
    ["0000:65:2?.0", "slots 00 to 1f", "such as 0000:65:00.0"],
    ["0000:65:00.*.", "slots 00 to 1f", "such as 0000:65:00.0"],
    ["10de:1b06", "looks like vendor:device", 'lspci: "-d 10de:1b06"'],
    ["{65:20.*,65:00}", "slots 00 to 1f", "such as 0000:65:00.0"],
  ])("%s is accepted with a remark on its form, which no address has", (pattern, message, hint) => {
    expect(compile(pattern).remarks).toMatchObject([
      { message: expect.stringContaining(message), hint: expect.stringContaining(hint) },
    ]);
  });

  it.each(["0000:{01,65}:[0-1]?.*", "*", "*:*", "*:00.0", "00*:*", "{65:20.*,65:00.0}", "10000:*", "*:*.7"])(
    "%s can match and has no remark",
    (pattern) => {
      expect(compile(pattern).remarks).toEqual([]);
    },
  );

  it("that matches some address never has a remark", () => {
    fc.assert(
      fc.property(
        pciAddress,
        fc.array(fc.nat(14)),
        fc.constantFrom("?", "*", "[!x]"),
        (known, places, wild) => {
          const text = [...known]
            .map((char, at) => (places.includes(at) && char !== ":" ? wild : char))
            .join("");
          expect(compile(text).matches(known) ? compile(text).remarks : []).toEqual([]);
        },
      ),
    );
  });
});

/** Whole fields only: the part of the form that lspci, Nova and we share. */
const WHOLE_FIELDS = /^(?:(?:\*|[0-9a-f]{4,5}):)?(?:\*|[0-9a-f]{2}):(?:\*|(?:\*|[0-9a-f]{2})\.(?:\*|[0-7]))$/;

it("patterns of whole fields take what lspci -s takes", () => {
  const { dumps, cases } = readFixture<{
    dumps: Record<string, string[]>;
    cases: { option: string; pattern: string; results?: Record<string, string[] | "ALL"> }[];
  }>("lspci-filter-oracle.json");
  const shared = cases.filter(({ option, pattern }) => option === "-s" && WHOLE_FIELDS.test(pattern));
  let compared = 0;
  for (const { pattern, results } of shared) {
    for (const [dump, matches] of Object.entries(results ?? {})) {
      const all = (dumps[dump] ?? []).map(address);
      expect(all.filter((any) => compile(pattern).matches(any))).toEqual(matches === "ALL" ? all : matches);
      compared += 1;
    }
  }
  expect(compared).toBeGreaterThan(10);
});

it("patterns of whole fields take what Nova's address glob takes", () => {
  const { addresses, glob } = readFixture<{
    addresses: string[];
    glob: { pattern: string; matches?: string[] }[];
  }>("nova-address-spec.json");
  // Nova reads 00000 as the number 0; to us a pattern is text, and no address has a domain of that spelling.
  const shared = glob.filter(({ pattern }) => WHOLE_FIELDS.test(pattern) && !pattern.startsWith("00000:"));
  const [known, wanted] = [addresses.map(address), shared.filter(({ matches }) => matches !== undefined)];
  for (const { pattern, matches } of wanted) {
    expect(known.filter((any) => compile(pattern).matches(any))).toEqual(matches);
  }
  expect(wanted.length).toBeGreaterThan(5);
});
