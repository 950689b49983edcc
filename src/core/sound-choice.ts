/**
 * Select rules choose, whole IOMMU groups are looked at, and what cannot be taken after all is left out of the next
 * choice, until the choice stands.
 */
import type { PciAddress } from "./address.js";
import type { AssignParts } from "./assign-parts.js";
import type { ExactClaims, ExactVerdict } from "./exact-claims.js";
import { decideGroups, type GroupDecision, type Owner } from "./groups.js";
import type { HeldReason } from "./held.js";
import type { SelectClaim } from "./select-claims.js";
import { type Forbidden, forbiddenKey, type Selection, select } from "./selection.js";
import type { Situation } from "./situation.js";

/** A choice with what it comes to. */
type Choice = Pick<AssignParts, "decision" | "selections" | "forbidden">;

/** Chooses so that whole IOMMU groups can be taken, and no minimum is refused that could be met (semantics.md 4). */
export function chooseSoundly(
  claims: readonly SelectClaim[],
  verdicts: ReadonlyMap<PciAddress, ExactVerdict>,
  exact: ExactClaims,
  situation: Situation,
): Choice {
  return new SoundChoice(claims, verdicts, exact, situation).best();
}

/** How many choices are looked at before IOMMU groups that are torn are just left out. */
const MOST_NODES = 256;

/** How often a choice is taken as the start of the next. */
const MOST_ROUNDS = 8;

/** What is decided already on the way to a choice: units that a claim may not have, or must. */
interface Node {
  readonly forbidden: ReadonlyMap<string, HeldReason>;
  readonly forced: ReadonlySet<string>;
}

/** A unit that a claim was given but cannot have as things are. */
interface Refusal {
  readonly key: string;
  readonly claim: SelectClaim;
  readonly reason: HeldReason;
  /** Whether the claim could do without it and still have its minimum. */
  readonly isSpare: boolean;
}

/** An IOMMU group that a VM has only a part of, and that it could have whole. */
interface Torn {
  readonly vm: string;
  /** The unit that cannot be taken as things are. */
  readonly key: string;
  readonly reason: Extract<HeldReason, { kind: "iommu-group-blocked" }>;
  readonly isSpare: boolean;
}

interface Looked extends Choice {
  readonly torn: Torn | null;
  /** For each claim in rank order, whether it is met. As text, so that what is greater is better. */
  readonly met: string;
}

/**
 * The search over torn IOMMU groups. A choice that knows nothing of them can only be better; where one is torn, either
 * the VM takes all of it that is in the way, or nothing of it.
 */
class SoundChoice {
  readonly #claims: readonly SelectClaim[];
  readonly #verdicts: ReadonlyMap<PciAddress, ExactVerdict>;
  readonly #exact: ExactClaims;
  readonly #situation: Situation;
  #nodes = 0;
  #best: Looked | null = null;

  constructor(
    claims: readonly SelectClaim[],
    verdicts: ReadonlyMap<PciAddress, ExactVerdict>,
    exact: ExactClaims,
    situation: Situation,
  ) {
    this.#claims = claims;
    this.#verdicts = verdicts;
    this.#exact = exact;
    this.#situation = situation;
  }

  best(): Choice {
    let forced: ReadonlySet<string> = new Set();
    for (let round = 1; ; round += 1) {
      const choice = this.#from({ forbidden: new Map(), forced });
      const taken = takenBy(choice);
      // With what it has a claim may come to more: what was left out on the way is looked at once again.
      if (choice.forbidden.size === 0 || taken.size === forced.size || round === MOST_ROUNDS) {
        return choice;
      }
      forced = taken;
    }
  }

  #from(root: Node): Choice {
    this.#nodes = 0;
    this.#best = null;
    const bound = this.#look(root);
    this.#search(root, bound, bound.met);
    return this.#best ?? this.#withoutTorn(root);
  }

  /** Says whether nothing better can be found any more. */
  #search(node: Node, looked: Looked, bound: string): boolean {
    if (looked.torn === null) {
      this.#best = looked;
      return looked.met === bound;
    }
    for (const next of this.#branches({ ...node, forbidden: looked.forbidden }, looked.torn)) {
      this.#nodes += 1;
      if (this.#nodes > MOST_NODES) {
        return true;
      }
      const choice = this.#look(next);
      const isBetter = this.#best === null || choice.met > this.#best.met;
      if (isBetter && hasForced(next, choice) && this.#search(next, choice, bound)) {
        return true;
      }
    }
    return false;
  }

  /** Leaves out one torn IOMMU group after the other. */
  #withoutTorn(start: Node): Choice {
    let node = start;
    for (;;) {
      const looked = this.#look(node);
      if (looked.torn === null) {
        return looked;
      }
      node = this.#without(looked.torn, { ...node, forbidden: looked.forbidden });
    }
  }

  /** Chooses, and leaves out what cannot be taken in any case. */
  #look({ forbidden: before, forced }: Node): Looked {
    const forbidden = new Map(before);
    const rootsOf = (rule: string) => rootsOfExact(rule, this.#verdicts, this.#situation);
    for (;;) {
      const selections = select(this.#claims, this.#situation, { forbidden, forced }, rootsOf);
      const decision = decideGroups(ownersOf(selections, this.#verdicts), this.#exact, this.#situation);
      const refusals = this.#refusals(selections, decision, forbidden);
      const torn = this.#tornIn(refusals, forbidden);
      const own = refusals.filter(({ claim, reason }) => !this.#canBeWhole(claim, reason, forbidden));
      // What is refused for the sake of another part, or of a neighbour's unit, may be well once that is settled.
      const first = own.filter(({ reason }) => reason.kind !== "unit-incomplete");
      const hopeless = torn === null && first.length === 0 ? own : first;
      if (hopeless.length === 0) {
        const met = selections.map(({ alternative }) => (alternative === null ? "0" : "1")).join("");
        return { decision, selections, forbidden, torn, met };
      }
      for (const { key, reason } of hopeless) {
        forbidden.set(key, reason);
      }
    }
  }

  #refusals(
    selections: readonly Selection[],
    decision: GroupDecision,
    forbidden: Forbidden,
  ): readonly Refusal[] {
    return selections.flatMap(({ claim, alternative, units }) => {
      const min = claim.rule.alternatives[alternative ?? 0]?.count.min ?? 0;
      return units.flatMap((unit, at) => {
        const key = forbiddenKey(claim.rule, unit);
        const reasons = unit.flatMap((member) => decision.refused.get(member.address) ?? []);
        const reason = reasons.find(({ kind }) => kind !== "unit-incomplete") ?? reasons[0];
        // What the VM has it is not to swap for another, because a neighbour came.
        const isKept = unit.some(
          ({ address }) => this.#situation.keeperBy(claim.rule, address) === claim.rule.vm,
        );
        const isSettled = reason === undefined || isKept || forbidden.has(key);
        return isSettled ? [] : [{ key, claim, reason, isSpare: at >= min }];
      });
    });
  }

  #tornIn(refusals: readonly Refusal[], forbidden: Forbidden): Torn | null {
    for (const { key, claim, reason, isSpare } of refusals) {
      if (reason.kind === "iommu-group-blocked" && this.#canBeWhole(claim, reason, forbidden)) {
        return { vm: claim.rule.vm, key, reason, isSpare };
      }
    }
    return null;
  }

  /** Whether an IOMMU group lacks only what select rules of the same VM could have as well. */
  #canBeWhole({ rule }: SelectClaim, reason: HeldReason, forbidden: Forbidden): boolean {
    return (
      reason.kind === "iommu-group-blocked" &&
      reason.blockers.every(({ address }) => this.#keysOf(rule.vm, address, forbidden).length > 0)
    );
  }

  /** The ways in which select rules of a VM could have a device. */
  #keysOf(vm: string, address: PciAddress, forbidden: Forbidden): readonly string[] {
    const keys = this.#claims.flatMap(({ rule, pools }) =>
      rule.vm === vm
        ? pools
            .flat()
            .filter((unit) => unit.some((member) => member.address === address))
            .map((unit) => forbiddenKey(rule, unit))
        : [],
    );
    return [...new Set(keys)].filter((key) => !forbidden.has(key));
  }

  /** What is needed is tried whole first; what is only more than the minimum is rather left. */
  #branches(node: Node, torn: Torn): readonly Node[] {
    const without = this.#without(torn, node);
    const [blocker] = torn.reason.blockers;
    const whole =
      blocker === undefined
        ? []
        : this.#keysOf(torn.vm, blocker.address, node.forbidden).map(
            (key): Node => ({ ...node, forced: new Set(node.forced).add(key) }),
          );
    return torn.isSpare ? [without, ...whole] : [...whole, without];
  }

  /** The VM takes nothing of the IOMMU group by a select rule, but for what it has. */
  #without({ vm, key: refused, reason }: Torn, node: Node): Node {
    const { iommuGroup } = reason;
    const members = this.#situation.topology.groups.get(iommuGroup) ?? [];
    const forbidden = new Map<string, HeldReason>(node.forbidden).set(refused, reason);
    for (const { rule, pools } of this.#claims.filter((claim) => claim.rule.vm === vm)) {
      for (const unit of pools.flat().filter((entry) => entry.some((member) => members.includes(member)))) {
        const blockers = members
          .filter((member) => !unit.includes(member) && member.driver !== null)
          .map(({ address, driver }) => ({ address, driver: driver ?? null, vm: null }));
        const key = forbiddenKey(rule, unit);
        const isKept = unit.some(({ address }) => this.#situation.keeperBy(rule, address) === vm);
        if (blockers.length > 0 && !isKept && !forbidden.has(key)) {
          forbidden.set(key, { kind: "iommu-group-blocked", iommuGroup, blockers });
        }
      }
    }
    return { ...node, forbidden };
  }
}

/** What must be taken is taken by claims that are met. */
function hasForced({ forced }: Node, choice: Choice): boolean {
  const taken = takenBy(choice);
  return [...forced].every((key) => taken.has(key));
}

/** The units that claims are met with. */
function takenBy({ selections }: Choice): ReadonlySet<string> {
  return new Set(
    selections.flatMap(({ claim, alternative, units }) =>
      alternative === null ? [] : units.map((unit) => forbiddenKey(claim.rule, unit)),
    ),
  );
}

function rootsOfExact(
  rule: string,
  verdicts: ReadonlyMap<PciAddress, ExactVerdict>,
  situation: Situation,
): ReadonlySet<PciAddress> {
  const roots = new Set<PciAddress>();
  for (const [address, verdict] of verdicts) {
    const root = situation.world.devices.get(address)?.root;
    if (verdict.kind === "owner" && verdict.claim.rule.name === rule && typeof root === "string") {
      roots.add(root);
    }
  }
  return roots;
}

/** What was chosen goes before exact claims of a lower priority; the others were no candidates. */
function ownersOf(
  selections: readonly Selection[],
  verdicts: ReadonlyMap<PciAddress, ExactVerdict>,
): ReadonlyMap<PciAddress, Owner> {
  const owners = new Map<PciAddress, Owner>();
  for (const [address, verdict] of verdicts) {
    if (verdict.kind === "owner" && verdict.claim.vm !== null) {
      const { rule, vm, unit } = verdict.claim;
      owners.set(address, { rule, vm, unit });
    }
  }
  for (const { claim, units } of selections) {
    for (const members of units) {
      const unit = members.map((member) => member.address);
      // What its VM gets by an exact claim anyway stays that claim's.
      for (const address of unit.filter((member) => owners.get(member)?.vm !== claim.rule.vm)) {
        owners.set(address, { rule: claim.rule, vm: claim.rule.vm, unit });
      }
    }
  }
  return owners;
}
