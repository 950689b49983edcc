import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { translateNovaPhysicalAddress, translateNovaSpec } from "../../../src/core/nova.js";
import { translateNovaRegex } from "../../../src/core/nova-regex.js";
import { compileSelector, type RawSelector, verdictOf } from "../../../src/core/selector.js";
import { globOf, hexDigits } from "../../support/arbitraries.js";
import { aDevice, anAddress } from "../../support/builders.js";

interface AddressCase<Pattern> {
  readonly pattern: Pattern;
  readonly matches?: readonly string[];
  readonly error?: string;
}

interface SpecCase {
  readonly spec: Readonly<Record<string, string>>;
  readonly device: {
    readonly vendor: string;
    readonly device: string;
    readonly address: string;
    readonly parent: string;
  };
  readonly specNamesPhysicalFunction: boolean;
  readonly expect: string;
}

const vectors = JSON.parse(
  readFileSync(new URL("../../../fixtures/vectors/nova-address-spec.json", import.meta.url), "utf8"),
) as {
  readonly addresses: readonly string[];
  readonly glob: readonly AddressCase<string>[];
  readonly regexMap: readonly AddressCase<Readonly<Record<string, string>>>[];
  readonly physical: readonly AddressCase<string>[];
  readonly deviceSpec: readonly SpecCase[];
};

function matchesOf(raw: RawSelector): readonly string[] {
  const selector = compileSelector(raw);
  if (!selector.ok) {
    throw new Error(JSON.stringify(selector.error));
  }
  return vectors.addresses.filter((address) => verdictOf(selector.value, aDevice(address)) === "match");
}

type Translated = ReturnType<typeof translateNovaSpec>;

function answerOf(translated: Translated) {
  return translated.ok ? { matches: matchesOf(translated.value) } : { refused: translated.error.kind };
}

/** What Nova's own words for a refusal are to us. */
const KINDS: Readonly<Record<string, string>> = {
  "wrong address format": "wrong-format",
  "value out of range or not hexadecimal": "out-of-range",
};

function expected({ matches, error }: AddressCase<unknown>) {
  return error === undefined ? { matches } : { refused: KINDS[error] };
}

describe("recorded answers of Nova", () => {
  it.each(vectors.glob)("are ours for the address $pattern", (answer) => {
    expect(answerOf(translateNovaSpec(answer.pattern))).toEqual(expected(answer));
    expect(answerOf(translateNovaSpec({ address: answer.pattern }))).toEqual(expected(answer));
  });

  it.each(vectors.physical)("are ours for the physical function $pattern", (answer) => {
    expect(answerOf(translateNovaPhysicalAddress(answer.pattern))).toEqual(expected(answer));
  });

  it.each(vectors.regexMap)("are ours for the map $pattern", (answer) => {
    expect(answerOf(translateNovaSpec({ address: answer.pattern }))).toEqual(expected(answer));
    expect(answerOf(translateNovaSpec(answer.pattern))).toEqual(expected(answer));
  });

  it.each(vectors.deviceSpec)("are ours for the spec $spec: $expect", (answer) => {
    const translated = translateNovaSpec(answer.spec);
    if (answer.expect.startsWith("error")) {
      const kind = answer.expect.includes("too large") ? "out-of-range" : "both-given";
      expect(translated).toMatchObject({ ok: false, error: { kind } });
      return;
    }
    const selector = compileSelector(translated.ok ? translated.value : {});
    if (!selector.ok) {
      throw new Error(JSON.stringify(selector.error));
    }
    const { vendor, device, address, parent } = answer.device;
    // Nova looks up whether the address of the spec is a physical function; to us the VF itself says whose it is.
    const physfn = answer.specNamesPhysicalFunction ? anAddress(parent) : null;
    const verdict = verdictOf(selector.value, aDevice(address, { vendor, device, physfn }));
    expect(verdict).toBe(answer.expect.startsWith("match") ? "match" : "no-match");
  });
});

describe("a device_spec", () => {
  const selectorOf = (spec: Parameters<typeof translateNovaSpec>[0]) => {
    const translated = translateNovaSpec(spec);
    return translated.ok ? translated.value : translated.error;
  };

  it("becomes a selector one to one", () => {
    expect(
      selectorOf({ vendor_id: "8086", product_id: " 10ED", address: "*:0a:00.*", physical_network: "n1" }),
    ).toEqual({ vendor: "8086", device: "10ed", address: "*:0a:00.*" });
    expect(selectorOf({ vendor_id: "*", product_id: "*" })).toEqual({ address: "*:*:*.*" });
    expect(selectorOf({ vendor: "8086", product: "10ed" })).toMatchObject({ vendor: "8086", device: "10ed" });
    expect(selectorOf({ address: "" })).toEqual({ address: "*:*:*.*" });
  });

  it("of one address also means the VFs of that function", () => {
    expect(selectorOf("a:0.1")).toEqual({ address: "*:0a:00.1" });
    const single = { any: [{ address: "0000:0a:00.1" }, { physfn: "0000:0a:00.1" }] };
    expect(selectorOf("0:a:0.1")).toEqual(single);
    expect(selectorOf({ domain: "0000", bus: "0a", slot: "00", function: "1" })).toEqual(single);
    // Nova looks a function up by the texts of the map: it finds none under a, which also begins another bus.
    expect(selectorOf({ domain: "0000", bus: "0", slot: "00", function: "1" })).toEqual({
      address: "0000:0*:00.1",
    });
  });

  it.each([
    [{ devname: "eth0" }, "not-expressible", "devname"],
    [{ devname: "eth0", address: "0a:00.1" }, "both-given", "devname"],
    [{ remote_managed: "true", vendor_id: "8086" }, "not-expressible", "remote_managed"],
    [{ vendor_id: "" }, "out-of-range", "vendor_id"],
    [{ product_id: "-1" }, "out-of-range", "product_id"],
    [{ vendor_id: 8086 }, "wrong-format", "vendor_id"],
    [{ address: ["0a:00.1"] }, "wrong-format", "address"],
    [{ address: { bus: 10 } }, "wrong-format", "address.bus"],
    [{ address: { bus: "(0a" } }, "wrong-format", "address.bus"],
    [{ address: "0a:zz.1" }, "out-of-range", "address.slot"],
    [{ address: { domain: "(a|b){9}", bus: "0a" } }, "not-expressible", "address.domain"],
    [{ address: { domain: "(0|1){8}".repeat(3), bus: "(a|b){8}".repeat(2) } }, "not-expressible", "address"],
  ])("%j is refused: %s, %s", (spec, kind, field) => {
    expect(translateNovaSpec(spec as never)).toMatchObject({ ok: false, error: { kind, field } });
  });
});

describe("a regular expression of Nova", () => {
  it.each([
    ["0a", "0a"],
    ["a", "a*"],
    ["", "*"],
    [".*", "*"],
    [".+", "?*"],
    ["0.", "0?"],
    ["^0a$", "0a"],
    ["0$", "0"],
    ["\\A0\\Z", "0"],
    ["[0-3]", "[0-3]*"],
    ["[^0-9]\\d", "[!0-9][0-9]"],
    ["[\\df]0", "[0-9f]0"],
    ["0a|0b", "{0a,0b}"],
    ["0(a|b)", "0{a,b}"],
    ["(?:0|1)a", "{0,1}a"],
    ["0a?$", "0{a,}"],
    ["0{2}", "00"],
    ["0{1,2}$", "0{0,}"],
    ["[0-3]+$", "[0-3]{[0-3],}"],
    ["(?i)0[A-F]", "0[a-f]"],
    ["0|.*", "*"],
    [".{2}", "??"],
    ["0*?$", "{0,}{0,}"],
    ["\\-", "\\-*"],
  ])("%s over a bus is the pattern %s", (regex, pattern) => {
    expect(translateNovaRegex("bus", regex)).toEqual({ ok: true, value: pattern });
  });

  // Everything that Nova takes and no pattern of ours says; the second half Nova refuses as well.
  it.each([
    ["(?=0)", "not-expressible"],
    ["(?P<x>0)", "not-expressible"],
    ["(0)\\1", "not-expressible"],
    ["\\w", "not-expressible"],
    ["\\b0", "not-expressible"],
    ["[]0]", "not-expressible"],
    ["[\\W]", "not-expressible"],
    ["0^", "not-expressible"],
    ["(0$|1)", "not-expressible"],
    ["0$1", "not-expressible"],
    ["0++", "not-expressible"],
    ["0{2}{2}", "not-expressible"],
    ["{", "not-expressible"],
    ["0{99}", "not-expressible"],
    ["0(?i)a", "not-expressible"],
    ["((((0|1){8}){8}){8}){8}", "not-expressible"],
    ["0".repeat(201), "not-expressible"],
    ["*", "wrong-format"],
    ["+", "wrong-format"],
    ["|?", "wrong-format"],
    ["(0", "wrong-format"],
    ["0)", "wrong-format"],
    ["[0", "wrong-format"],
    ["[f-a]", "wrong-format"],
    ["0{2,1}", "wrong-format"],
    ["0\\", "wrong-format"],
  ])("%s is refused: %s", (regex, kind) => {
    expect(translateNovaRegex("bus", regex)).toMatchObject({ ok: false, error: { kind } });
  });

  it("takes the same texts as a pattern as it does itself", () => {
    const pieces = [
      "0",
      "a",
      ".",
      "[0-9]",
      "[^a]",
      "(0|a)",
      "(0|)",
      ".*",
      "a?",
      "0+",
      "[0a]*",
      "0{2}",
      "|",
      "\\d",
    ];
    fc.assert(
      fc.property(
        globOf(pieces, 5),
        fc.oneof(hexDigits(2), fc.constantFrom("00", "0a", "aa", "a0")),
        (regex, bus) => {
          const pattern = translateNovaRegex("bus", regex);
          fc.pre(pattern.ok);
          const selector = compileSelector({ address: `*:${pattern.ok ? pattern.value : ""}:*.*` });
          const verdict = selector.ok
            ? verdictOf(selector.value, aDevice(`0000:${bus}:00.0`))
            : selector.error;
          // On these pieces Python's re.match is JavaScript's expression from the start of the text.
          expect([regex, verdict]).toEqual([
            regex,
            new RegExp(`^(?:${regex})`).test(bus) ? "match" : "no-match",
          ]);
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
