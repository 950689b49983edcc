import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Device } from "../../../src/core/device.js";
import { rankRules } from "../../../src/core/ranking.js";
import { RuleIndex } from "../../../src/core/rule-index.js";
import { verdictOf } from "../../../src/core/selector.js";
import { aDevice, aPolicy, aRule } from "../../support/builders.js";

describe("the index of the rules", () => {
  const device = fc
    .record({
      domain: fc.constantFrom("0000", "0001", "10000"),
      bus: fc.constantFrom("01", "41", "65"),
      slot: fc.constantFrom("00.0", "01.0", "1f.7"),
      vendor: fc.constantFrom("10de", "8086", undefined),
      class: fc.constantFrom("030000", "0300", "020000", undefined),
      iommuGroup: fc.constantFrom(1, 2, null, undefined),
      serial: fc.constantFrom("00-01", null, undefined),
    })
    .map(({ domain, bus, slot, ...facts }) => {
      const all = { ...aDevice(`${domain}:${bus}:${slot}`), ...facts };
      // What is not known is not there at all.
      return Object.fromEntries(
        Object.entries(all).filter(([, fact]) => fact !== undefined),
      ) as unknown as Device;
    });
  const address = fc.constantFrom(
    "0000:41:00.0",
    "*:41:*",
    "41:*",
    "0000:[46][15]:00.*",
    "{01:*,0001:65:*}",
    "*41:*",
    "0000:*",
    "*",
    "4?:00.0",
    "[:4]*:41:*",
    "*:00.0",
  );
  const match = fc
    .record(
      {
        address: fc.oneof(address, fc.array(address, { minLength: 1, maxLength: 2 })),
        vendor: fc.constantFrom("10de", "8*", "unknown"),
        class: fc.constantFrom("vga", "030000", "02*", "unknown"),
        iommuGroup: fc.constantFrom("1", "none", "unknown"),
        serial: fc.constantFrom("00-01", "none", "unknown"),
      },
      { requiredKeys: [] },
    )
    .filter((raw) => Object.keys(raw).length > 0);

  it("never leaves out a rule that matches a device, or that asks for what is not known of it", () => {
    fc.assert(
      fc.property(fc.array(match, { minLength: 1, maxLength: 6 }), device, (matches, one) => {
        const ranked = rankRules(aPolicy(matches.map((raw, index) => aRule(`r${index}`, raw, "a"))));
        const spoken = ranked.filter(({ rule }) => verdictOf(rule.match, one) !== "no-match");
        const candidates = new RuleIndex(ranked).candidates(one);
        expect(spoken.filter((entry) => !candidates.includes(entry))).toEqual([]);
        expect(candidates.map(({ rank }) => rank)).toEqual(
          candidates.map(({ rank }) => rank).toSorted((a, b) => a - b),
        );
      }),
      { numRuns: 2_000 },
    );
  });

  it("asks only the rules of a device's bus, where all rules name one", () => {
    const rules = ["01", "02", "03"].map((bus) => aRule(`r${bus}`, { address: `0000:${bus}:0[0-3].*` }, "a"));
    const candidates = new RuleIndex(rankRules(aPolicy(rules))).candidates(aDevice("0000:02:00.0"));
    expect(candidates.map(({ rule }) => rule.name)).toEqual(["r02"]);
  });
});
