/** Lets all select rules choose at once, and says what each of them got. The choosing itself is matching.ts. */
import type { PciAddress } from "./address.js";
import type { Device } from "./device.js";
import type { Item } from "./holding.js";
import { type Choice, choose, type FlexibleClaim, type Option } from "./matching.js";
import type { Rule, SelectRule } from "./policy.js";
import { byPreference } from "./preference.js";
import { type SelectClaim, unitKey } from "./select-claims.js";
import type { Situation } from "./situation.js";

/** What a select claim came to. */
export interface Selection {
  readonly claim: SelectClaim;
  /** Position of the alternative that is met; `null`: short of every minimum. */
  readonly alternative: number | null;
  /** Units that its VM has by exact claims anyway, and that count. */
  readonly given: readonly (readonly Device[])[];
  /** What it takes beside them. */
  readonly units: readonly (readonly Device[])[];
}

/** Units of claims, by {@link forbiddenKey}. */
export type Forbidden = Pick<ReadonlyMap<string, unknown>, "has">;

/** The name of a unit for one rule in {@link Forbidden}. */
export function forbiddenKey(rule: SelectRule, unit: readonly Device[]): string {
  return `${rule.name} ${unitKey(unit)}`;
}

/** What is settled before a choice: units that a claim may not have, and units that it must. */
export interface Settled {
  readonly forbidden: Forbidden;
  readonly forced: Pick<ReadonlySet<string>, "has" | "size">;
}

/** Lets all select claims choose at once. `rootsOf`: root ports of what exact rules were given. */
export function select(
  claims: readonly SelectClaim[],
  situation: Situation,
  settled: Settled,
  rootsOf: (rule: string) => ReadonlySet<PciAddress>,
): readonly Selection[] {
  const isForced = ({ rule, pools }: SelectClaim) =>
    settled.forced.size > 0 &&
    pools.some((pool) => pool.some((unit) => settled.forced.has(forbiddenKey(rule, unit))));
  // What a claim must have counts only if it is met: it comes before the others.
  const inTurn = claims.toSorted((a, b) => Number(isForced(b)) - Number(isForced(a)));
  let roots = rootsOf;
  const rounds = claims.some(({ rule }) => followsAnother(rule)) ? roundsOf(situation) : 1;
  let selections: readonly Selection[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const chosen = new Pooling(inTurn, situation, settled, roots).select();
    selections = chosen.toSorted((a, b) => a.claim.ranked.rank - b.claim.ranked.rank);
    roots = (name) => {
      const mine = chosen
        .filter(({ claim }) => claim.rule.name === name)
        .flatMap(({ given, units }) => [...given, ...units].flat());
      return new Set([...rootsOf(name), ...mine.flatMap(({ root }) => root ?? [])]);
    };
  }
  return selections;
}

/** A rule may want to be near what another one chooses; that one is decided first, so few rounds are enough. */
function roundsOf({ world }: Situation): number {
  return 1 + (world.policy?.rules.filter(followsAnother).length ?? 0);
}

function followsAnother(rule: Rule): boolean {
  return rule.mode === "select" && rule.prefer.some((entry) => entry.by === "sameRootAs");
}

/** The numbers behind the names: units as items, functions as atoms, IOMMU groups as clusters, VMs as owners. */
class Pooling {
  readonly #claims: readonly SelectClaim[];
  readonly #situation: Situation;
  readonly #settled: Settled;
  readonly #rootsOf: (rule: string) => ReadonlySet<PciAddress>;
  readonly #units: (readonly Device[])[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #atoms = new Map<PciAddress, number>();
  readonly #owners = new Map<string, number>();

  constructor(
    claims: readonly SelectClaim[],
    situation: Situation,
    settled: Settled,
    rootsOf: (rule: string) => ReadonlySet<PciAddress>,
  ) {
    this.#claims = claims;
    this.#situation = situation;
    this.#settled = settled;
    this.#rootsOf = rootsOf;
  }

  select(): readonly Selection[] {
    const options = this.#claims.map((claim) =>
      claim.pools.map((pool, index) => this.#option(claim, pool, index)),
    );
    const kept = this.#kept(options);
    const flexible = this.#claims.map(
      ({ rule }, index): FlexibleClaim => ({
        owner: numberOf(this.#owners, rule.vm),
        options: options[index] ?? [],
        kept: kept[index] ?? [],
        forced: this.#forcedOn(rule, options[index] ?? []),
        priority: rule.priority,
        isPreempting: rule.preempt,
      }),
    );
    const items = this.#units.map(
      (unit): Item => ({
        clusters: [...new Set(unit.map((member) => member.iommuGroup ?? -1))],
        atoms: unit.map((member) => numberOf(this.#atoms, member.address)),
      }),
    );
    return choose(flexible, items).map((choice, index) => this.#selection(choice, index));
  }

  #selection({ option, items }: Choice, index: number): Selection {
    const claim = this.#claims[index] as SelectClaim;
    const chosen = items.map((item) => this.#units[item] ?? []);
    const given = this.#givenTo(claim, claim.pools[option ?? 0] ?? []);
    return { claim, alternative: option, given, units: chosen };
  }

  /** Units that the VM has whole by exact claims: they count for every rule of it, and cost nobody anything. */
  #givenTo({ given }: SelectClaim, pool: readonly (readonly Device[])[]): readonly (readonly Device[])[] {
    return pool.filter((unit) => unit.every((member) => given.has(member.address)));
  }

  #option(claim: SelectClaim, pool: readonly (readonly Device[])[], index: number): Option {
    const { rule } = claim;
    const { min, max } = rule.alternatives[index]?.count ?? { min: 0, max: 0 };
    const given = this.#givenTo(claim, pool);
    const tastes = { numaNode: this.#situation.numaNodeOf(rule.vm), rootsOf: this.#rootsOf };
    const isLearnt = (unit: readonly Device[]) => unit.some(({ address }) => claim.learnt.has(address));
    const edges = pool
      .filter((unit) => !given.includes(unit) && !this.#settled.forbidden.has(forbiddenKey(rule, unit)))
      .toSorted(byPreference(rule, tastes))
      .toSorted((a, b) => Number(isLearnt(b)) - Number(isLearnt(a)))
      .filter((unit) => !this.#situation.isSettling || this.#isHad(unit, rule.vm))
      .map((unit) => this.#number(unit));
    // What others give counts against what is taken, not against what the rule has already.
    const had = edges.filter((item) => this.#isKept(this.#units[item] ?? [], rule)).length;
    const most = Math.max(max - given.length, Math.min(max, had), 0);
    return { edges, min: Math.max(0, min - given.length), max: most };
  }

  #isHad(unit: readonly Device[], vm: string): boolean {
    return unit.some((member) => this.#situation.keeperOf(member.address) === vm);
  }

  #number(unit: readonly Device[]): number {
    const number = numberOf(this.#numbers, unitKey(unit));
    this.#units[number] = unit;
    return number;
  }

  /** What each claim has already; of several the first in rank. */
  #kept(options: readonly (readonly Option[])[]): readonly (readonly number[])[] {
    const isTaken = new Set<number>();
    return this.#claims.map(({ rule }, index) => {
      const edges = [...new Set(options[index]?.flatMap((option) => option.edges))];
      const kept = edges.filter((item) => !isTaken.has(item) && this.#isKept(this.#units[item] ?? [], rule));
      for (const item of kept) {
        isTaken.add(item);
      }
      return kept;
    });
  }

  #forcedOn(rule: SelectRule, options: readonly Option[]): readonly number[] {
    const { forced } = this.#settled;
    const edges = forced.size === 0 ? [] : options.flatMap((option) => option.edges);
    return [...new Set(edges)].filter((item) => forced.has(forbiddenKey(rule, this.#units[item] ?? [])));
  }

  #isKept(unit: readonly Device[], rule: SelectRule): boolean {
    return unit.some((member) => this.#situation.keeperBy(rule, member.address) === rule.vm);
  }
}

function numberOf<Key>(numbers: Map<Key, number>, key: Key): number {
  const known = numbers.get(key) ?? numbers.size;
  numbers.set(key, known);
  return known;
}
