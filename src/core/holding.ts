/**
 * Who holds which item, and whether needs can be met at once. The engine below matching.ts; knows no ranks.
 *
 * Items of one cluster (one IOMMU group) go to one owner only, and no two held items share an atom (a function).
 * Where neither matters, this is matching by augmenting paths (Kuhn); where it does, the violations of the relaxed
 * answer are branched on, within a budget.
 */

export interface Item {
  readonly clusters: readonly number[];
  readonly atoms: readonly number[];
}

/** What one claim needs: `count` of `edges`, those it holds already included. */
export interface Need {
  readonly claim: number;
  readonly owner: number;
  readonly edges: readonly number[];
  readonly count: number;
}

/** Two items that may not both be held: of one cluster but of two owners, or with an atom in common. */
interface Violation {
  readonly left: number;
  readonly right: number;
  /** `null`: they share an atom. */
  readonly cluster: number | null;
}

interface Hold {
  readonly claim: number;
  readonly owner: number;
  /** Settled holds are never moved to another item. */
  readonly isSettled: boolean;
}

export class Holding {
  readonly #items: readonly Item[];
  readonly #holds = new Map<number, Hold>();
  readonly #ofClaim = new Map<number, Set<number>>();
  readonly #inCluster = new Map<number, Set<number>>();
  readonly #ofAtom = new Map<number, Set<number>>();
  readonly #needs = new Map<number, Need>();
  /** Cluster -> its only permitted owner. */
  readonly #owners: Map<number, number>;
  readonly #forbidden: Set<number>;

  constructor(
    items: readonly Item[],
    owners: ReadonlyMap<number, number> = new Map(),
    forbidden: ReadonlySet<number> = new Set(),
  ) {
    this.#items = items;
    this.#owners = new Map(owners);
    this.#forbidden = new Set(forbidden);
  }

  copy(): Holding {
    const next = this.#restricted(this.#owners, this.#forbidden, () => true);
    for (const [claim, need] of this.#needs) {
      next.#needs.set(claim, need);
    }
    return next;
  }

  /** Only what is settled, without the restrictions of a search. */
  settled(): Holding {
    return this.#restricted(new Map(), new Set());
  }

  itemsOf(claim: number): readonly number[] {
    return [...(this.#ofClaim.get(claim) ?? [])];
  }

  countOf(claim: number): number {
    return this.#ofClaim.get(claim)?.size ?? 0;
  }

  settledOf(claim: number): number {
    return this.itemsOf(claim).filter((item) => this.#holds.get(item)?.isSettled === true).length;
  }

  /** Settles a free item on a claim if nothing stands against it; says whether it did. */
  give(item: number, claim: number, owner: number): boolean {
    if (this.#holds.has(item) || this.#clashes(item, owner)) {
      return false;
    }
    this.#put(item, { claim, owner, isSettled: true });
    return true;
  }

  /**
   * Settles an item on a claim that holds it, or that can hold it instead of one that is not settled yet; says whether
   * that was possible without touching others.
   */
  settle(item: number, claim: number, owner: number): boolean {
    const hold = this.#holds.get(item);
    if (hold !== undefined) {
      if (hold.isSettled || hold.claim !== claim) {
        return false;
      }
      this.#drop(item);
      this.#put(item, { claim, owner, isSettled: true });
      return true;
    }
    const spare = this.itemsOf(claim).findLast((other) => this.#holds.get(other)?.isSettled === false);
    if (spare === undefined) {
      return false;
    }
    this.#drop(spare);
    if (this.give(item, claim, owner)) {
      return true;
    }
    this.#put(spare, { claim, owner, isSettled: false });
    return false;
  }

  /** Meets a need by augmenting paths, whatever the clusters say. Where it cannot, others lose nothing by it. */
  fulfil(need: Need): boolean {
    this.#needs.set(need.claim, need);
    while (this.countOf(need.claim) < need.count) {
      if (!this.#augment(need, new Set())) {
        for (const item of this.itemsOf(need.claim)) {
          if (this.#holds.get(item)?.isSettled === false) {
            this.#drop(item);
          }
        }
        return false;
      }
    }
    return true;
  }

  /** The first pair of items that may not both be held; `null` when all is well. */
  violation(): Violation | null {
    for (const [cluster, members] of this.#inCluster) {
      const [left = -1, ...others] = members;
      const right = others.find((item) => this.#ownerOf(item) !== this.#ownerOf(left));
      if (right !== undefined) {
        return { left, right, cluster };
      }
    }
    for (const members of this.#ofAtom.values()) {
      const [left, right] = members;
      if (left !== undefined && right !== undefined) {
        return { left, right, cluster: null };
      }
    }
    return null;
  }

  /** The ways out of a violation: what is settled, with one restriction more. */
  branches({ left, right, cluster }: Violation): readonly Holding[] {
    const isSettled = (item: number) => this.#holds.get(item)?.isSettled === true;
    if (cluster === null) {
      return [right, left]
        .filter((item) => !isSettled(item))
        .map((item) => this.#restricted(this.#owners, new Set(this.#forbidden).add(item)));
    }
    const settledOwner = [left, right].filter(isSettled).map((item) => this.#ownerOf(item));
    const all = [...this.#needs.values()].map((need) => need.owner);
    const owners =
      settledOwner.length > 0 ? settledOwner : [this.#ownerOf(left), this.#ownerOf(right), ...all];
    return [...new Set(owners)].map((owner) =>
      this.#restricted(new Map(this.#owners).set(cluster, owner), this.#forbidden),
    );
  }

  #restricted(
    owners: ReadonlyMap<number, number>,
    forbidden: ReadonlySet<number>,
    isWanted = (hold: Hold) => hold.isSettled,
  ): Holding {
    const next = new Holding(this.#items, owners, forbidden);
    for (const [item, hold] of this.#holds) {
      if (isWanted(hold)) {
        next.#put(item, hold);
      }
    }
    return next;
  }

  #augment(need: Need, seen: Set<number>): boolean {
    for (const item of need.edges) {
      if (seen.has(item) || !this.#isOpen(item, need.owner)) {
        continue;
      }
      seen.add(item);
      const hold = this.#holds.get(item);
      const other = hold === undefined || hold.isSettled ? undefined : this.#needs.get(hold.claim);
      if (hold === undefined) {
        this.#put(item, { claim: need.claim, owner: need.owner, isSettled: false });
        return true;
      }
      if (other !== undefined && hold.claim !== need.claim && this.#augment(other, seen)) {
        this.#drop(item);
        this.#put(item, { claim: need.claim, owner: need.owner, isSettled: false });
        return true;
      }
    }
    return false;
  }

  #isOpen(item: number, owner: number): boolean {
    return (
      !this.#forbidden.has(item) &&
      (this.#items[item]?.clusters ?? []).every((cluster) => (this.#owners.get(cluster) ?? owner) === owner)
    );
  }

  #clashes(item: number, owner: number): boolean {
    const { clusters = [], atoms = [] } = this.#items[item] ?? {};
    return (
      atoms.some((atom) => (this.#ofAtom.get(atom)?.size ?? 0) > 0) ||
      clusters.some((cluster) =>
        [...(this.#inCluster.get(cluster) ?? [])].some((other) => this.#ownerOf(other) !== owner),
      )
    );
  }

  #ownerOf(item: number): number {
    return this.#holds.get(item)?.owner ?? -1;
  }

  #put(item: number, hold: Hold): void {
    const { clusters = [], atoms = [] } = this.#items[item] ?? {};
    this.#holds.set(item, hold);
    addTo(this.#ofClaim, hold.claim, item);
    for (const cluster of clusters) {
      addTo(this.#inCluster, cluster, item);
    }
    for (const atom of atoms) {
      addTo(this.#ofAtom, atom, item);
    }
  }

  #drop(item: number): void {
    const { clusters = [], atoms = [] } = this.#items[item] ?? {};
    this.#ofClaim.get(this.#holds.get(item)?.claim ?? -1)?.delete(item);
    this.#holds.delete(item);
    for (const cluster of clusters) {
      this.#inCluster.get(cluster)?.delete(item);
    }
    for (const atom of atoms) {
      this.#ofAtom.get(atom)?.delete(item);
    }
  }
}

function addTo(map: Map<number, Set<number>>, key: number, value: number): void {
  const set = map.get(key);
  if (set === undefined) {
    map.set(key, new Set([value]));
  } else {
    set.add(value);
  }
}

/** Nodes of the search over owners and overlaps, beyond one for each need. */
const MOST_NODES = 512;

/** A holding that meets all needs beside what is settled; `null` when there is none (or none within the budget). */
export function feasible(base: Holding, needs: readonly Need[]): Holding | null {
  return solve(base, needs, { left: MOST_NODES });
}

function solve(start: Holding, needs: readonly Need[], budget: { left: number }): Holding | null {
  budget.left -= 1;
  const next = start.copy();
  if (budget.left < 0 || !needs.every((need) => next.fulfil(need))) {
    return null;
  }
  const violation = next.violation();
  if (violation === null) {
    return next;
  }
  for (const branch of next.branches(violation)) {
    const found = solve(branch, needs, budget);
    if (found !== null) {
      return found;
    }
  }
  return null;
}
