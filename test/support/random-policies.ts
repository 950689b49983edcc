/** fast-check generators of small policies in which all modes and traits occur, over the devices of random-worlds.ts. */
import fc from "fast-check";
import type { PciAddress } from "../../src/core/address.js";
import {
  COMPANION_CHOICES,
  DEFAULT_TRAITS,
  FOLLOW_CHOICES,
  type GroupRule,
  type Policy,
  type Preference,
  type Rule,
  type RuleTraits,
  type SelectRule,
  UNIT_KINDS,
} from "../../src/core/policy.js";
import { compileSelector, type RawSelector, type Selector } from "../../src/core/selector.js";
import { anAddress, aPolicy } from "./builders.js";

const VMS = ["a", "b", "c"] as const;

/** Cards of one or two functions on a few buses. */
const ADDRESSES: readonly PciAddress[] = ["01", "02", "03", "04", "05"].flatMap((bus) =>
  ["00.0", "00.1", "01.0"].map((place) => anAddress(`0000:${bus}:${place}`)),
);

export const address = fc.constantFrom(...ADDRESSES);
export const vm = fc.constantFrom(...VMS);

const match: fc.Arbitrary<Selector> = fc
  .oneof(
    fc.constantFrom<RawSelector>(
      ...[{ address: "*" }, { vendor: "10de" }, { vendor: "8086" }, { class: "vga" }, { numaNode: "0" }],
      ...[{ serial: "S1" }, { address: "*:00.0" }, { address: "*:0[12]:*" }],
    ),
    fc.constantFrom(1, 2, 3, 4, 5).map((bus): RawSelector => ({ address: `*:0${bus}:*` })),
    address.map((text): RawSelector => ({ address: text })),
  )
  .map(compiled);

function compiled(raw: RawSelector): Selector {
  const selector = compileSelector(raw);
  if (!selector.ok) {
    throw new Error(JSON.stringify(selector.error));
  }
  return selector.value;
}

/** The choice that a rule makes where it says nothing, and now and then another one. */
export function seldom<Choice>(usual: Choice, ...others: readonly Choice[]): fc.Arbitrary<Choice> {
  return fc.oneof({ weight: 3, arbitrary: fc.constant(usual) }, fc.constantFrom(...others));
}

const traits: fc.Arbitrary<Partial<RuleTraits>> = fc.record({
  priority: fc.constantFrom(0, 0, 1, 2),
  unit: seldom(...UNIT_KINDS),
  companions: seldom(...COMPANION_CHOICES),
  onConflict: seldom<"hold" | "first">("hold", "first"),
  whenDown: seldom<"wait" | "next">("wait", "next"),
  preempt: fc.boolean(),
  isPinned: seldom(false, true),
  follow: seldom(...FOLLOW_CHOICES),
  expect: seldom<RuleTraits["expect"]>(null, { device: "2204" }, { serial: "S1" }),
  isOverride: seldom(false, true),
  takeConfigured: fc.boolean(),
  acceptUnsafe: fc.boolean(),
});

const count = fc
  .record({ min: fc.nat(3), more: fc.nat(2) })
  .map(({ min, more }) => ({ min, max: min + more }));

/** Names are places: a rule may want to be near what a rule before it gets. */
const preference: fc.Arbitrary<Preference> = fc.oneof(
  fc.constant<Preference>({ by: "numa" }),
  fc.constantFrom(0, 1, 2).map((place): Preference => ({ by: "sameRootAs", rule: `r${place}` })),
  fc.constantFrom<Preference>({ by: "address", order: "highest" }, { by: "memory", order: "largest" }),
);

const rule: fc.Arbitrary<Rule> = fc
  .record({ match, traits, vm, mode: fc.constantFrom("batch", "select", "select", "group") })
  .chain(({ mode, vm: owner, traits: chosen, match: selector }): fc.Arbitrary<Rule> => {
    const base = { ...DEFAULT_TRAITS, ...chosen, name: "", match: selector };
    if (mode === "select") {
      const alternatives = fc.array(fc.record({ match: fc.option(match), count }), {
        minLength: 1,
        maxLength: 2,
      });
      return fc
        .record({ alternatives, prefer: fc.array(preference, { maxLength: 2 }) })
        .map((more): SelectRule => ({ ...base, ...more, mode: "select", vm: owner }));
    }
    return mode === "batch"
      ? fc.constant<Rule>({ ...base, mode: "batch", vm: owner })
      : grouping.map((more): GroupRule => ({ ...base, ...more, mode: "group" }));
  });

const grouping: fc.Arbitrary<Pick<GroupRule, "classify" | "to">> = fc.record({
  classify: fc.constantFrom(
    ...(["numaNode", "card", "root", "vendor", "iommuGroup"] as const).map(
      (key) => ({ kind: "key", key }) as const,
    ),
  ),
  to: fc.oneof(
    vm.map(
      (other) =>
        ({
          kind: "map",
          vms: new Map([
            ["0", "a"],
            ["10de", other],
          ]),
        }) as const,
    ),
    fc.constantFrom("round-robin", "pack", "weight").map(
      (how) =>
        ({
          kind: "spread",
          how,
          targets: [
            { vm: "a", weight: 1, max: 2 },
            { vm: "b", weight: 2, max: Number.POSITIVE_INFINITY },
          ],
        }) as const,
    ),
  ),
});

export const policies: fc.Arbitrary<Policy> = fc
  .record({
    rules: fc.array(rule, { minLength: 1, maxLength: 6 }),
    never: fc.array(match, { maxLength: 1 }),
    allow: seldom<readonly Selector[] | null>(
      null,
      [compiled({ address: "*" })],
      [compiled({ vendor: "10de" })],
    ),
  })
  .map(({ rules, never, allow }) => {
    const vms = VMS.map((name, index) => ({ name, qmp: `/run/${name}.sock`, numaNode: index % 2 }));
    const named = rules.map((entry, place) => ({ ...entry, name: `r${place}` }));
    // `never` of everything would leave nothing to decide about.
    const excluded = never.filter((selector) => selector.exactAddresses.length > 0);
    return aPolicy(named, { vms, never: excluded, allow });
  });
