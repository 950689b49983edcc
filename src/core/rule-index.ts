/**
 * Which rules can match a device at all: looked up by the facts that rules write out in full, so that a thousand rules
 * and four thousand devices are not four million questions.
 */
import type { Device } from "./device.js";
import type { RankedRule } from "./ranking.js";

/** Facts worth looking rules up by, the most telling first. */
const INDEXED = ["address", "device", "vendor"] as const;
type IndexedKey = (typeof INDEXED)[number];

export class RuleIndex {
  readonly #byValue: Readonly<Record<IndexedKey, ReadonlyMap<string, readonly RankedRule[]>>>;
  readonly #byKey: Readonly<Record<IndexedKey, readonly RankedRule[]>>;
  readonly #others: readonly RankedRule[];

  constructor(rules: readonly RankedRule[]) {
    const byValue = { address: new Map(), device: new Map(), vendor: new Map() } as Record<
      IndexedKey,
      Map<string, RankedRule[]>
    >;
    const byKey: Record<IndexedKey, RankedRule[]> = { address: [], device: [], vendor: [] };
    const others: RankedRule[] = [];
    for (const ranked of rules) {
      const key = INDEXED.find((name) => ranked.rule.match.fixed.has(name));
      if (key === undefined) {
        others.push(ranked);
      } else {
        byKey[key].push(ranked);
        for (const value of ranked.rule.match.fixed.get(key) ?? []) {
          byValue[key].set(value, [...(byValue[key].get(value) ?? []), ranked]);
        }
      }
    }
    this.#byValue = byValue;
    this.#byKey = byKey;
    this.#others = others;
  }

  /** Every rule that may match the device or ask for a fact that is not known of it, first in rank first. */
  candidates(device: Device): readonly RankedRule[] {
    const found = INDEXED.flatMap((key) => {
      const fact = device[key];
      return fact === undefined ? this.#byKey[key] : (this.#byValue[key].get(fact) ?? []);
    });
    return [...this.#others, ...found].sort((a, b) => a.rank - b.rank);
  }
}
