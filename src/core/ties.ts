/** What ties devices to one another: whoever decides about one of them has to look at the others too. */
import type { PciAddress } from "./address.js";
import type { Device } from "./device.js";
import type { DeviceFindings } from "./findings.js";
import type { Pin } from "./intent.js";
import type { Policy, Rule } from "./policy.js";

/** Something that devices have in common: the text of a bus, the number of an IOMMU group, a rule that chooses. */
export type Knot = string | number | Rule;

/** The ties of one policy and what its pinned rules have learnt. */
export class Ties {
  readonly #choosing: ReadonlySet<Rule>;
  /** Address, path or serial of a pinned card -> the rules that look for it there. */
  readonly #pinned = new Map<string, Rule[]>();
  /** Rules that are tied to each other, whatever they match. */
  readonly between: readonly (readonly [Rule, Rule])[];

  constructor({ rules }: Pick<Policy, "rules">, pins: readonly Pin[]) {
    const byName = new Map(rules.map((rule) => [rule.name, rule]));
    const learnt = pins.flatMap((pin) => {
      const rule = byName.get(pin.rule);
      return rule?.isPinned === true ? [{ pin, rule }] : [];
    });
    this.between = rules.flatMap((rule) =>
      followedBy(rule).flatMap((name) => {
        const followed = byName.get(name);
        return followed === undefined ? [] : [[rule, followed] as const];
      }),
    );
    this.#choosing = new Set([
      ...rules.filter(({ mode }) => mode !== "batch"),
      ...learnt.map(({ rule }) => rule),
      ...this.between.flat(),
    ]);
    for (const { pin, rule } of learnt) {
      for (const place of [pin.address, pin.path, pin.serial]) {
        if (place !== null) {
          this.#pinned.set(place, [...(this.#pinned.get(place) ?? []), rule]);
        }
      }
    }
  }

  /** Whether a rule decides about several devices at once. */
  isTying(rule: Rule): boolean {
    return this.#choosing.has(rule);
  }

  /**
   * What the device shares with others. Functions of a card share their bus. A batch rule gives each device for its own
   * sake, and so ties none, unless it looks for cards it has learnt, or another rule wants to be near what it gave.
   */
  knotsOf(device: Device, found: DeviceFindings | undefined): readonly Knot[] {
    const knots: Knot[] = [busOf(device.address)];
    if (typeof device.iommuGroup === "number") {
      knots.push(device.iommuGroup);
    }
    for (const { rule } of found?.matches ?? []) {
      if (this.isTying(rule)) {
        knots.push(rule);
      }
    }
    if (this.#pinned.size > 0) {
      for (const place of [device.address, device.path, device.serial]) {
        knots.push(...(this.#pinned.get(place ?? "") ?? []));
      }
    }
    return knots;
  }
}

/** The rules near whose devices a select rule wants to be. */
function followedBy(rule: Rule): readonly string[] {
  return rule.mode === "select"
    ? rule.prefer.flatMap((preference) => (preference.by === "sameRootAs" ? [preference.rule] : []))
    : [];
}

function busOf(address: PciAddress): string {
  return address.slice(0, -":dd.f".length);
}
