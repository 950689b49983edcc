/**
 * Which rules can match a device at all: looked up by the facts that rules write out in full, so that a thousand rules
 * and four thousand devices are not four million questions.
 */
import type { Device } from "./device.js";
import type { FactKey } from "./fact.js";
import type { RankedRule } from "./ranking.js";
import { fixedFactOf, type RawValue, type Selector } from "./selector.js";

/** Facts to look rules up by, the most telling first. `bus` stands for the bus number in address patterns. */
const INDEXED = [
  "address",
  "serial",
  "path",
  "bus",
  "physfn",
  "device",
  "iommuGroup",
  "vendor",
  "class",
] as const;
type IndexedKey = (typeof INDEXED)[number];

/** Rules by one fact: those that name a value of it, and all of them for a device of which it is not known. */
interface Shelf {
  readonly all: RankedRule[];
  readonly byValue: Map<string, RankedRule[]>;
}

export class RuleIndex {
  readonly #shelves = new Map<IndexedKey, Shelf>();
  readonly #others: readonly RankedRule[];

  constructor(rules: readonly RankedRule[]) {
    this.#others = rules.filter((ranked) => !this.#shelve(ranked));
  }

  /** Every rule that may match the device or ask for a fact that is not known of it, first in rank first. */
  candidates(device: Device): readonly RankedRule[] {
    const found = [...this.#others];
    for (const [key, shelf] of this.#shelves) {
      const fact = key === "bus" ? busOf(device) : fixedFactOf(key, device);
      for (const ranked of fact === undefined ? shelf.all : (shelf.byValue.get(fact ?? "") ?? [])) {
        found.push(ranked);
      }
    }
    return found.sort((a, b) => a.rank - b.rank);
  }

  #shelve(ranked: RankedRule): boolean {
    for (const key of INDEXED) {
      const values = valuesOf(key, ranked.rule.match);
      if (values !== null) {
        const shelf = this.#shelves.get(key) ?? { all: [], byValue: new Map<string, RankedRule[]>() };
        this.#shelves.set(key, shelf);
        shelf.all.push(ranked);
        for (const value of values) {
          shelf.byValue.set(value, [...(shelf.byValue.get(value) ?? []), ranked]);
        }
        return true;
      }
    }
    return false;
  }
}

/** The only values with which the selector can match; `null` where it does not say. */
function valuesOf(key: IndexedKey, match: Selector): ReadonlySet<string> | null {
  return key === "bus" ? busesOf(match.written["address"]) : (match.fixed.get(key satisfies FactKey) ?? null);
}

/** A pattern with the bus written out between two colons, or before the only one: that bus, and no other. */
const NAMED_BUS = /^[^[\]{}\\]*:([0-9a-f]{2}):|^([0-9a-f]{2}):[^:]*$/;

function busesOf(written: RawValue | undefined): ReadonlySet<string> | null {
  const texts = typeof written === "string" ? [written] : Array.isArray(written) ? written : [];
  const buses = texts.map((text: unknown) => NAMED_BUS.exec(String(text)));
  return buses.length === 0 || buses.includes(null)
    ? null
    : new Set(buses.flatMap((match) => match?.[1] ?? match?.[2] ?? []));
}

function busOf({ address }: Device): string {
  return address.slice(-"bb:dd.f".length, -":dd.f".length);
}
