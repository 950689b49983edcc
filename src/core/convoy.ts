/**
 * What goes into a VM together: a unit, or, where a rule puts a card into one port, all units that have a function of
 * it. The functions of a card may be in IOMMU groups of their own, and each group is a unit (semantics.md 7).
 */
import { compareAddresses, slotOf } from "./address.js";
import type { Unit } from "./unit.js";

export interface Convoy {
  /** Each is bound by itself. */
  readonly units: readonly Unit[];
  /** All of them as one: placed, attached and held together. */
  readonly whole: Unit;
}

/** Puts the units of one VM together. Keeps their order. */
export function convoysOf(units: readonly Unit[]): readonly Convoy[] {
  const gathered: { units: Unit[]; readonly cards: Set<string> }[] = [];
  for (const unit of units) {
    const cards = cardsOf(unit);
    const joined =
      cards.size === 0 ? [] : gathered.filter((entry) => [...cards].some((card) => entry.cards.has(card)));
    const [first, ...others] = joined;
    if (first === undefined) {
      gathered.push({ units: [unit], cards });
      continue;
    }
    for (const entry of [...others, { units: [unit], cards }]) {
      first.units.push(...entry.units.splice(0));
      for (const card of entry.cards) {
        first.cards.add(card);
      }
    }
  }
  return gathered.flatMap((entry) => {
    const [first, ...others] = entry.units;
    return first === undefined ? [] : [{ units: entry.units, whole: joined(first, others) }];
  });
}

/** The slots of the host whose functions share a port. */
function cardsOf({ members, rules }: Unit): Set<string> {
  return new Set(members.filter((address) => rules.get(address)?.plug === "card").map(slotOf));
}

function joined(first: Unit, others: readonly Unit[]): Unit {
  if (others.length === 0) {
    return first;
  }
  const all = [first, ...others];
  return {
    ...first,
    members: all.flatMap(({ members }) => members).sort(compareAddresses),
    companions: all.flatMap(({ companions }) => companions),
    bystanders: all.flatMap(({ bystanders }) => bystanders),
    rules: new Map(all.flatMap(({ rules }) => [...rules])),
  };
}
