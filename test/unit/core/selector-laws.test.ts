/** The laws of three-valued selectors (semantics.md 3), on made-up devices of which anything may be unknown. */
import fc from "fast-check";
import { expect, it } from "vitest";
import {
  compileSelector,
  evaluateSelector,
  fixedFactOf,
  type RawSelector,
  type RawValue,
  SELECTOR_KEYS,
  type SelectableDevice,
  verdictOf,
} from "../../../src/core/selector.js";
import type { KeyVerdict } from "../../../src/core/selector-key.js";
import { allOf, anyOf, negate } from "../../../src/core/verdict.js";
import { anAddress } from "../../support/builders.js";

/** Few values each, so that selectors and devices meet. */
const anything: fc.Arbitrary<SelectableDevice> = fc.record(
  {
    address: fc.constantFrom("0000:65:00.0", "0000:65:00.1", "10000:01:00.0").map(anAddress),
    path: fc.constantFrom("0000:60/01.0/00.0", "0000:60/01.0/00.1"),
    slot: fc.constantFrom("3", null),
    label: fc.constantFrom("GPU 1", null),
    vendor: fc.constantFrom("10de", "8086"),
    device: fc.constantFrom("2204", "10ed"),
    subsystemVendor: fc.constantFrom("1458", "0000"),
    subsystemDevice: fc.constantFrom("403b", "0000"),
    class: fc.constantFrom("030000", "0300", "010802", "0108"),
    revision: fc.constantFrom("a1", "00"),
    numaNode: fc.constantFrom(-1, 0, 1),
    iommuGroup: fc.constantFrom(0, 7, null),
    driver: fc.constantFrom("nvme", "vfio-pci", null),
    root: fc.constantFrom(anAddress("0000:60:01.0"), null),
    physfn: fc.constantFrom(anAddress("0000:65:00.0"), null),
    serial: fc.constantFrom("00-11-22-ff-ff-33-44-55", null),
    bootVga: fc.boolean(),
    memory: fc.constantFrom(0, 2 ** 24, 2 ** 34),
    udev: fc.constantFrom({}, { ID_PATH: "pci-0000:65:00.0" }, { ID_PATH: "x", EMPTY: "" }),
    attributes: fc.constantFrom({}, { current_link_width: "16" }, { current_link_width: null }),
  },
  { requiredKeys: ["address"] },
);

/** Only a VGA controller has a boot_vga attribute. */
const device = anything.map((made): SelectableDevice => {
  const { bootVga: _, ...others } = made;
  return made.class?.startsWith("01") ? others : made;
});

const VALUES: Readonly<Record<string, readonly RawValue[]>> = {
  address: ["65:*", "0000:65:00.0", "*", "*:*.1"],
  path: ["*/01.0/*", "0000:60/01.0/00.0"],
  slot: ["3", "none", "*"],
  label: ["GPU*", "none"],
  vendor: ["10de", "8*", "*"],
  device: ["2204", "{10ed,2204}"],
  subsystemVendor: ["1458"],
  subsystemDevice: ["0000"],
  class: ["vga", "030000", "010802", "01*", "display"],
  revision: ["a1", "0?"],
  driver: ["nvme", "*", "none", "vfio*"],
  numaNode: ["0", "1", "*"],
  iommuGroup: ["0", "[1-9]", "none"],
  root: ["0000:60:*", "none"],
  physfn: ["65:00.0", "*"],
  isVf: ["true", "false"],
  serial: ["00-11-*", "none"],
  bootVga: ["true", "false"],
  memory: [">=16M", "0", "<1G"],
  udev: [{ ID_PATH: "pci-*" }, { ID_PATH: "*", EMPTY: "none" }],
  sysfs: [{ current_link_width: "16" }, { current_link_width: "none" }],
  lspci: ["-s 65:", "-d 10de:", "-d ::0300:00", "-d ::01xx"],
  when: ["numaNode == 1", 'driver == "" || isVf', 'vendor == "10de" && memory > 1024', '!("EMPTY" in udev)'],
};
const LISTABLE = Object.keys(VALUES).filter((key) => key !== "udev" && key !== "sysfs");

function flat(extra: readonly string[]): fc.Arbitrary<RawSelector> {
  const keys = fc.uniqueArray(fc.constantFrom(...Object.keys(VALUES)), { minLength: 1, maxLength: 4 });
  const writtenFor = (key: string): fc.Arbitrary<RawValue> => {
    const values = VALUES[key] ?? [];
    const texts = [...values, ...(key === "lspci" || key === "when" ? [] : extra)] as string[];
    return LISTABLE.includes(key)
      ? fc.oneof(fc.constantFrom(...texts), fc.uniqueArray(fc.constantFrom(...texts), { minLength: 1 }))
      : fc.constantFrom(...values);
  };
  return keys.chain((chosen) => fc.record(Object.fromEntries(chosen.map((key) => [key, writtenFor(key)]))));
}

function selectors(extra: readonly string[]): fc.Arbitrary<RawSelector> {
  return fc.letrec<{ selector: RawSelector }>((tie) => ({
    selector: fc.oneof(
      { maxDepth: 3, withCrossShrink: true },
      flat(extra),
      fc
        .tuple(
          fc.option(flat(extra), { nil: {} }),
          fc.constantFrom("not", "any"),
          fc.oneof(tie("selector"), fc.array(tie("selector"), { minLength: 1, maxLength: 3 })),
        )
        .map(([keys, nest, value]): RawSelector => ({ ...keys, [nest]: value })),
    ),
  })).selector;
}

const raw = selectors(["unknown"]);

function verdict(selector: RawSelector, about: SelectableDevice) {
  return verdictOf(compiledOf(selector), about);
}

function compiledOf(selector: RawSelector) {
  const compiled = compileSelector(selector);
  if (!compiled.ok) {
    throw new Error(JSON.stringify(compiled.error));
  }
  return compiled.value;
}

it("the quick verdict is the explained one", () => {
  fc.assert(
    fc.property(raw, device, (selector, about) => {
      const explained = evaluateSelector(compiledOf(selector), about);
      expect(verdict(selector, about)).toBe(explained.verdict);
      expect(allOf(explained.keys.map((key) => key.verdict))).toBe(explained.verdict);
    }),
    { numRuns: 1_000 },
  );
});

it("every key that is open says why, and no other does", () => {
  const flatten = (keys: readonly KeyVerdict[]): KeyVerdict[] =>
    keys.flatMap((key) => [key, ...flatten(key.keys ?? [])]);
  fc.assert(
    fc.property(raw, device, (selector, about) => {
      for (const key of flatten(evaluateSelector(compiledOf(selector), about).keys)) {
        expect([key.key, key.why !== undefined && key.why !== ""]).toEqual([
          key.key,
          key.verdict === "unknown",
        ]);
      }
    }),
  );
});

it("a double negation is no negation", () => {
  fc.assert(
    fc.property(raw, device, (selector, about) => {
      expect(verdict({ not: selector }, about)).toBe(negate(verdict(selector, about)));
      expect(verdict({ not: { not: selector } }, about)).toBe(verdict(selector, about));
    }),
  );
});

it("De Morgan: none of these is not any of these, and not all of these is any that fails", () => {
  fc.assert(
    fc.property(raw, raw, device, (a, b, about) => {
      const [one, two] = [verdict(a, about), verdict(b, about)];
      expect(verdict({ any: [a, b] }, about)).toBe(anyOf([one, two]));
      expect(verdict({ not: [a, b] }, about)).toBe(verdict({ not: { any: [a, b] } }, about));
      expect(verdict({ not: [a, b] }, about)).toBe(allOf([negate(one), negate(two)]));
      const both = { any: a, not: { not: b } };
      expect(verdict(both, about)).toBe(allOf([one, two]));
      expect(verdict({ not: both }, about)).toBe(verdict({ any: [{ not: a }, { not: b }] }, about));
    }),
  );
});

it("the order in which keys and values are written is of no matter", () => {
  const turned = (value: RawValue): RawValue => {
    if (Array.isArray(value)) {
      return value.map((item: RawValue) => turned(item)).reverse() as unknown as RawValue;
    }
    return typeof value === "string" ? value : reversed(value as RawSelector);
  };
  const reversed = (selector: RawSelector): RawSelector =>
    Object.fromEntries(
      Object.entries(selector)
        .map(([key, value]) => [key, turned(value)] as const)
        .reverse(),
    );
  fc.assert(
    fc.property(raw, device, (selector, about) => {
      expect(verdict(reversed(selector), about)).toBe(verdict(selector, about));
    }),
  );
});

it("a list of values is any of its values", () => {
  fc.assert(
    fc.property(fc.constantFrom(...LISTABLE), device, (key, about) => {
      const values = [...(VALUES[key] as readonly string[])];
      expect(verdict({ [key]: values }, about)).toBe(
        anyOf(values.map((value) => verdict({ [key]: value }, about))),
      );
    }),
  );
});

it("what becomes known settles what was open, and never turns an answer around", () => {
  fc.assert(
    // The value `unknown` asks about the not knowing itself, so it is left out here.
    fc.property(selectors([]), device, fc.func(fc.boolean()), (selector, about, isForgotten) => {
      const less = Object.fromEntries(
        Object.entries(about).flatMap(([key, value]) => {
          if (key === "address" || !isForgotten(key)) {
            return [[key, value]];
          }
          return key === "class" ? [[key, String(value).slice(0, 4)]] : [];
        }),
      ) as unknown as SelectableDevice;
      expect(["unknown", verdict(selector, about)]).toContain(verdict(selector, less));
    }),
    { numRuns: 1_000 },
  );
});

it("a device with a fact outside of the fixed ones does not match", () => {
  fc.assert(
    fc.property(raw, device, (selector, about) => {
      const compiled = compiledOf(selector);
      for (const [key, texts] of compiled.fixed) {
        const fact = fixedFactOf(key, about);
        if (fact === null || (fact !== undefined && !texts.has(fact))) {
          expect(verdictOf(compiled, about)).toBe("no-match");
        }
      }
    }),
    { numRuns: 1_000 },
  );
});

it("has a value for each key, and meets each of them both ways", () => {
  expect([...Object.keys(VALUES), "not", "any"].sort()).toEqual([...SELECTOR_KEYS].sort());
  const seen = new Set<string>();
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(VALUES)), device, (key, about) => {
      for (const value of VALUES[key] ?? []) {
        seen.add(`${key} ${verdict({ [key]: value }, about)}`);
      }
    }),
    { numRuns: 2_000, seed: 1 },
  );
  const missing = Object.keys(VALUES).flatMap((key) =>
    ["match", "no-match", "unknown"].map((said) => `${key} ${said}`).filter((said) => !seen.has(said)),
  );
  // An address is always known.
  expect(missing).toEqual(["address unknown"]);
});
