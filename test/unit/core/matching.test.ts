import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Item } from "../../../src/core/holding.js";
import { type Choice, choose, type FlexibleClaim, type Option } from "../../../src/core/matching.js";

function anOption(edges: readonly number[], min: number, max = min): Option {
  return { edges, min, max };
}

function aClaim(
  owner: number,
  options: readonly Option[],
  facts: Partial<FlexibleClaim> = {},
): FlexibleClaim {
  return { owner, options, kept: [], priority: 0, isPreempting: false, ...facts };
}

/** Items that have nothing to do with one another. */
function apart(count: number): Item[] {
  return Array.from({ length: count }, (_, index) => ({ clusters: [index], atoms: [index] }));
}

function itemsOf(choices: readonly Choice[]) {
  return choices.map((choice) => choice.items);
}

describe("flexible claims", () => {
  it("get the best of what they like when nobody else wants it", () => {
    expect(choose([aClaim(0, [anOption([2, 0, 1], 2)])], apart(3))).toEqual([{ option: 0, items: [2, 0] }]);
  });

  it("give way to a later claim's minimum when they can do with something else", () => {
    const claims = [aClaim(0, [anOption([0, 1], 1)]), aClaim(1, [anOption([0], 1)])];
    expect(itemsOf(choose(claims, apart(2)))).toEqual([[1], [0]]);
  });

  it("are all met before any gets more than its minimum", () => {
    const claims = [aClaim(0, [anOption([0, 1, 2], 1, 3)]), aClaim(1, [anOption([0, 1, 2], 1, 3)])];
    expect(itemsOf(choose(claims, apart(3)))).toEqual([[0, 2], [1]]);
  });

  it("take nothing when they are short of their minimum", () => {
    const claims = [aClaim(0, [anOption([0], 1)]), aClaim(1, [anOption([0, 1], 2)])];
    expect(choose(claims, apart(2))).toEqual([
      { option: 0, items: [0] },
      { option: null, items: [] },
    ]);
  });

  it("fall back to an alternative so that a later claim can be met at all", () => {
    const claims = [aClaim(0, [anOption([0, 1], 2), anOption([2], 1)]), aClaim(1, [anOption([1], 1)])];
    expect(choose(claims, apart(3))).toEqual([
      { option: 1, items: [2] },
      { option: 0, items: [1] },
    ]);
  });

  it("keep what they have, though another claim of equal priority is short of it", () => {
    const claims = [aClaim(0, [anOption([0], 1)]), aClaim(1, [anOption([0, 1], 1)], { kept: [0] })];
    expect(choose(claims, apart(2))).toEqual([
      { option: null, items: [] },
      { option: 0, items: [0] },
    ]);
  });

  it("lose what they keep only to a strictly higher priority that preempts, and then take something else", () => {
    const taker = { priority: 5, isPreempting: true };
    const claims = [aClaim(0, [anOption([0], 1)], taker), aClaim(1, [anOption([0, 1], 1)], { kept: [0] })];
    expect(itemsOf(choose(claims, apart(2)))).toEqual([[0], [1]]);
  });

  it("keep what a preempting claim turned out not to need", () => {
    const taker = { priority: 5, isPreempting: true };
    const claims = [
      aClaim(0, [anOption([0, 1], 1)], taker),
      aClaim(1, [anOption([0, 1, 2], 1)], { kept: [1] }),
      aClaim(2, [anOption([0, 1, 2], 2)], { kept: [0, 2] }),
    ];
    expect(itemsOf(choose(claims, apart(3)))).toEqual([[0], [1], [2]]);
  });

  it("never share an IOMMU group between two VMs", () => {
    const items: Item[] = [
      { clusters: [0], atoms: [0] },
      { clusters: [0], atoms: [1] },
      { clusters: [1], atoms: [2] },
    ];
    const claims = [aClaim(0, [anOption([0, 2], 1)]), aClaim(1, [anOption([1], 1)])];
    expect(itemsOf(choose(claims, items))).toEqual([[2], [1]]);
  });

  const edges = fc.uniqueArray(fc.nat(4), { minLength: 1, maxLength: 4 });
  const option = fc
    .record({ edges, min: fc.integer({ min: 0, max: 2 }), more: fc.integer({ min: 0, max: 2 }) })
    .map((entry) => anOption(entry.edges, entry.min, entry.min + entry.more));
  const claim = fc
    .record({
      owner: fc.nat(2),
      options: fc.array(option, { minLength: 1, maxLength: 2 }),
      priority: fc.nat(1),
      isPreempting: fc.boolean(),
    })
    .map(({ owner, options, ...facts }) => aClaim(owner, options, facts));
  const claims = fc
    .array(claim, { minLength: 1, maxLength: 4 })
    .map((entries) => entries.toSorted((a, b) => b.priority - a.priority));
  const items = fc
    .array(fc.record({ cluster: fc.nat(3), twin: fc.boolean() }), { minLength: 5, maxLength: 5 })
    .map((entries) =>
      entries.map(
        ({ cluster, twin }, index): Item => ({
          clusters: [cluster],
          // A twin is another unit around the first function of its IOMMU group.
          atoms: twin ? [index, 100 + cluster] : [index],
        }),
      ),
    );

  it("are met exactly as brute force over every possible choice meets them, in rank order", () => {
    fc.assert(
      fc.property(claims, items, (wanted, pool) => {
        const met = choose(wanted, pool).map((choice) => choice.option !== null);
        expect(met).toEqual(bestByBruteForce(wanted, pool));
      }),
      { numRuns: 500 },
    );
  });

  it("get only what they may take, within their bounds, and nothing that clashes", () => {
    fc.assert(
      fc.property(claims, items, (wanted, pool) => {
        const choices = choose(wanted, pool);
        const holder = pool.map((_, item) => choices.findIndex((choice) => choice.items.includes(item)));
        expect(isSound(holder, wanted, pool)).toBe(true);
        choices.forEach((choice, index) => {
          const taken = wanted[index]?.options[choice.option ?? -1];
          expect(choice.items.every((item) => taken?.edges.includes(item))).toBe(true);
          expect(choice.items.length).toBeGreaterThanOrEqual(taken?.min ?? 0);
          expect(choice.items.length).toBeLessThanOrEqual(taken?.max ?? 0);
        });
      }),
    );
  });

  it("change nothing when everybody already has what was chosen", () => {
    fc.assert(
      fc.property(claims, items, (wanted, pool) => {
        const first = choose(wanted, pool);
        const again = choose(
          wanted.map((entry, index) => ({ ...entry, kept: first[index]?.items ?? [] })),
          pool,
        );
        expect(itemsOf(again)).toEqual(itemsOf(first));
      }),
      { numRuns: 5000 },
    );
  });
});

function isSound(
  holder: readonly number[],
  claims: readonly FlexibleClaim[],
  items: readonly Item[],
): boolean {
  return holder.every((left, a) =>
    holder.every((right, b) => {
      if (a >= b || left < 0 || right < 0) {
        return true;
      }
      const [one, two] = [items[a]!, items[b]!];
      const isTwin = one.atoms.some((atom) => two.atoms.includes(atom));
      const isSplit =
        one.clusters.some((cluster) => two.clusters.includes(cluster)) &&
        claims[left]!.owner !== claims[right]!.owner;
      return !isTwin && !isSplit;
    }),
  );
}

/** Which claims can be met, by trying every way of handing out the items; earlier claims weigh more than all later. */
function bestByBruteForce(claims: readonly FlexibleClaim[], items: readonly Item[]): readonly boolean[] {
  let best: readonly boolean[] = claims.map(() => false);
  const ways = (claims.length + 1) ** items.length;
  for (let way = 0; way < ways; way += 1) {
    const holder = items.map(
      (_, item) => (Math.floor(way / (claims.length + 1) ** item) % (claims.length + 1)) - 1,
    );
    if (!isSound(holder, claims, items)) {
      continue;
    }
    const met = claims.map((claim, index) => {
      const held = holder.flatMap((entry, item) => (entry === index ? [item] : []));
      return claim.options.some(
        (option) => held.every((item) => option.edges.includes(item)) && held.length >= option.min,
      );
    });
    if (met.map(Number).join("") > best.map(Number).join("")) {
      best = met;
    }
  }
  return best;
}
