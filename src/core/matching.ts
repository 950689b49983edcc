/**
 * Flexible claims against a pool of items, as a bare problem of numbers: who can be satisfied, and with what.
 *
 * Claims come in rank order. No minimum is refused while a choice exists that meets it together with those of all
 * claims before it (semantics.md 4): augmenting paths where items are independent, and a search over the few owners and
 * overlaps where they are not. Pure; the same input gives the same choice.
 */
import { feasible, Holding, type Item, type Need } from "./holding.js";

/** One way to satisfy a claim. `edges`: the items that it may take, best first. */
export interface Option {
  readonly edges: readonly number[];
  readonly min: number;
  readonly max: number;
}

export interface FlexibleClaim {
  /** Number of the VM: items of one cluster never go to two. */
  readonly owner: number;
  /** In order: the first that can be had. */
  readonly options: readonly Option[];
  /** Items that it has already, and keeps while one of its options allows them. */
  readonly kept: readonly number[];
  /** Items that it is to have beside these if it can. */
  readonly forced?: readonly number[];
  readonly priority: number;
  /** Whether it may take what claims of a strictly lower priority have. */
  readonly isPreempting: boolean;
}

export interface Choice {
  /** The option that is met; `null`: short of every minimum, and nothing new is taken. */
  readonly option: number | null;
  /** Best first. */
  readonly items: readonly number[];
}

/** Gives items to claims. */
export function choose(claims: readonly FlexibleClaim[], items: readonly Item[]): readonly Choice[] {
  return new Chooser(claims, items).choose();
}

/** How many vectors of options are tried before a claim with alternatives is given up. */
const MOST_VECTORS = 256;

class Chooser {
  readonly #claims: readonly FlexibleClaim[];
  readonly #items: readonly Item[];
  /** What each claim keeps, whatever the others need. */
  readonly #kept: (readonly number[])[];
  /** Claim -> option, for the claims that are met. */
  #met = new Map<number, number>();
  #holding: Holding;
  /** Whether any two items stand in each other's way at all. */
  readonly #isCoupled: boolean;

  constructor(claims: readonly FlexibleClaim[], items: readonly Item[]) {
    this.#claims = claims;
    this.#items = items;
    this.#kept = claims.map(keepable);
    this.#isCoupled = isCoupled(items);
    this.#holding = this.#base();
  }

  choose(): readonly Choice[] {
    this.#claims.forEach((_, claim) => {
      if (!this.#meet(claim)) {
        this.#preempt(claim);
      }
    });
    for (const [claim, option] of this.#inRank()) {
      this.#prefer(claim, option);
    }
    for (const [claim, option] of this.#inRank()) {
      this.#fill(claim, option);
    }
    return this.#claims.map((entry, claim) => {
      const option = this.#met.get(claim) ?? null;
      const order = entry.options[option ?? 0]?.edges ?? [];
      const rank = new Map(order.map((item, index) => [item, index]));
      const held = [...this.#holding.itemsOf(claim)];
      return { option, items: held.sort((a, b) => (rank.get(a) ?? a) - (rank.get(b) ?? b)) };
    });
  }

  /** What is kept, and nothing else. */
  #base(): Holding {
    const base = new Holding(this.#items);
    this.#kept.forEach((kept, claim) => {
      for (const item of kept) {
        base.give(item, claim, this.#owner(claim));
      }
    });
    return base;
  }

  #owner(claim: number): number {
    return this.#claims[claim]?.owner ?? -1;
  }

  #inRank(): readonly (readonly [number, Option])[] {
    return [...this.#met]
      .sort(([a], [b]) => a - b)
      .flatMap(([claim, index]) => {
        const option = this.#claims[claim]?.options[index];
        return option === undefined ? [] : [[claim, option] as const];
      });
  }

  /** Meets a minimum beside those that are met already; other options of earlier claims are the last resort. */
  #meet(claim: number): boolean {
    const options = this.#optionsOf(claim);
    for (const option of options) {
      if (this.#hold(new Map(this.#met).set(claim, option))) {
        return true;
      }
    }
    const list = [...this.#met.keys(), claim];
    const isOpen = list.some((entry) => this.#optionsOf(entry).length > 1);
    return isOpen && this.#search(list, new Map(), { left: MOST_VECTORS });
  }

  #search(list: readonly number[], chosen: ReadonlyMap<number, number>, budget: { left: number }): boolean {
    const next = list[chosen.size];
    if (next === undefined) {
      return this.#hold(chosen);
    }
    for (const option of this.#optionsOf(next)) {
      const more = new Map(chosen).set(next, option);
      budget.left -= 1;
      if (budget.left < 0) {
        return false;
      }
      if (feasible(this.#base(), this.#needs(more)) !== null && this.#search(list, more, budget)) {
        return true;
      }
    }
    return false;
  }

  /** Whether all these options can be had at once; if so, they are held from now on. */
  #hold(met: ReadonlyMap<number, number>): boolean {
    const holding = this.#isOneMore(met) ? this.#grow(met) : feasible(this.#base(), this.#needs(met));
    if (holding === null) {
      return false;
    }
    this.#holding = holding;
    this.#met = new Map(met);
    return true;
  }

  #isOneMore(met: ReadonlyMap<number, number>): boolean {
    return (
      met.size === this.#met.size + 1 && [...this.#met].every(([claim, option]) => met.get(claim) === option)
    );
  }

  /** One claim more than now: by augmenting what is held, which is final where no items are coupled. */
  #grow(met: ReadonlyMap<number, number>): Holding | null {
    const next = this.#isCoupled ? this.#holding.copy() : this.#holding;
    const added = this.#needs(met).filter(({ claim }) => !this.#met.has(claim));
    const isMet = added.every((need) => next.fulfil(need));
    if (!this.#isCoupled) {
      return isMet ? next : null;
    }
    return isMet && next.violation() === null ? next : feasible(this.#base(), this.#needs(met));
  }

  #needs(met: ReadonlyMap<number, number>): readonly Need[] {
    return [...met]
      .sort(([a], [b]) => a - b)
      .flatMap(([claim, index]) => {
        const option = this.#claims[claim]?.options[index];
        return option === undefined
          ? []
          : [{ claim, owner: this.#owner(claim), edges: option.edges, count: option.min }];
      });
  }

  /** Options that allow what the claim keeps; all of them where it keeps nothing. */
  #optionsOf(claim: number): readonly number[] {
    const kept = this.#kept[claim] ?? [];
    const options = this.#claims[claim]?.options ?? [];
    return options.flatMap((option, index) =>
      kept.every((item) => option.edges.includes(item)) && kept.length <= option.max ? [index] : [],
    );
  }

  /** Takes from claims of lower priority what they keep, the last in rank first, until the minimum is met. */
  #preempt(claim: number): void {
    const taker = this.#claims[claim];
    if (taker?.isPreempting !== true) {
      return;
    }
    const met = this.#met;
    const taken: (readonly [victim: number, item: number])[] = [];
    for (const [victim, item] of this.#spoilsOf(taker)) {
      this.#unkeep(victim, item);
      taken.push([victim, item]);
      if (this.#restart(met) && this.#meet(claim)) {
        break;
      }
    }
    const isMet = this.#met.has(claim);
    const wanted = isMet ? this.#met : met;
    // What was not needed after all goes back to who had it.
    for (const [victim, item] of taken) {
      this.#kept[victim] = [...(this.#kept[victim] ?? []), item];
      if (isMet && !this.#restart(wanted)) {
        this.#unkeep(victim, item);
      }
    }
    this.#restart(wanted);
  }

  /** What lower priorities keep and this claim could use, the last in rank first. */
  #spoilsOf(taker: FlexibleClaim): readonly (readonly [victim: number, item: number])[] {
    const wanted = new Set(taker.options.flatMap((option) => option.edges));
    return this.#claims
      .flatMap((entry, victim) =>
        entry.priority < taker.priority
          ? (this.#kept[victim] ?? [])
              .filter((item) => wanted.has(item))
              .map((item) => [victim, item] as const)
          : [],
      )
      .reverse();
  }

  #unkeep(victim: number, item: number): void {
    this.#kept[victim] = (this.#kept[victim] ?? []).filter((other) => other !== item);
  }

  /** Begins again from what is kept now, with these options. */
  #restart(met: ReadonlyMap<number, number>): boolean {
    this.#holding = this.#base();
    this.#met = new Map();
    return this.#hold(met);
  }

  /** Settles what a claim gets for its minimum: the best that leaves everybody else's minimum possible. */
  #prefer(claim: number, option: Option): void {
    for (const item of option.edges) {
      if (this.#holding.settledOf(claim) >= option.min) {
        return;
      }
      if (!this.#holding.settle(item, claim, this.#owner(claim))) {
        this.#holding = this.#reroute(item, claim) ?? this.#holding;
      }
    }
  }

  /** Whether everybody's minimum is still possible with the item settled on the claim, by the long way. */
  #reroute(item: number, claim: number): Holding | null {
    const base = this.#holding.settled();
    return base.give(item, claim, this.#owner(claim)) ? feasible(base, this.#needs(this.#met)) : null;
  }

  /** Up to the maximum, with what nobody else holds. */
  #fill(claim: number, option: Option): void {
    for (const item of option.edges) {
      if (this.#holding.countOf(claim) >= option.max) {
        return;
      }
      this.#holding.give(item, claim, this.#owner(claim));
    }
  }
}

/** What a claim may keep: as much as the option does allow that allows most of it, the first of such. */
function keepable({ kept, forced = [], options }: FlexibleClaim): readonly number[] {
  let most: readonly number[] = [];
  for (const option of kept.length + forced.length === 0 ? [] : options) {
    const rank = new Map(option.edges.map((item, index) => [item, index]));
    const isAllowed = (item: number) => rank.has(item);
    const own = kept.filter(isAllowed).sort((a, b) => (rank.get(a) ?? 0) - (rank.get(b) ?? 0));
    const more = forced.filter((item) => isAllowed(item) && !own.includes(item));
    const all = [...own, ...more].slice(0, option.max);
    most = all.length > most.length ? all : most;
  }
  return most;
}

function isCoupled(items: readonly Item[]): boolean {
  const seen = new Set<number>();
  return items.some(({ clusters }) =>
    clusters.some((cluster) => {
      const isTwin = seen.has(cluster);
      seen.add(cluster);
      return isTwin;
    }),
  );
}
