/** Who should have what, and why not, in one situation: the steps of the deciding in their order. */
import type { PciAddress } from "./address.js";
import type { AssignParts, Shortage } from "./assign-parts.js";
import type { Device } from "./device.js";
import { type Claim, collectExactClaims, type ExactClaims } from "./exact-claims.js";
import { settleExact } from "./exact-settlement.js";
import { type Findings, type MatchesByRule, matchesByRule } from "./findings.js";
import type { GroupDecision } from "./groups.js";
import type { Held } from "./held.js";
import { heldDevices } from "./refusals.js";
import { collectSelectClaims } from "./select-claims.js";
import { type Forbidden, forbiddenKey, type Selection } from "./selection.js";
import type { Situation } from "./situation.js";
import { chooseSoundly } from "./sound-choice.js";
import { staying } from "./staying.js";
import type { Unit } from "./unit.js";

/** What comes of the devices of one island, and of what rules want of them. */
export interface Decision {
  /** Sorted by the address of the first member. */
  readonly units: readonly Unit[];
  /** Devices that rules speak of but that nobody gets, sorted by address. */
  readonly held: readonly Held[];
  readonly exact: ExactClaims;
  /** First in rank first. */
  readonly selections: readonly Selection[];
  /** In the order of the selections. */
  readonly shortages: readonly Shortage[];
  /** Device -> the VMs that need not give it back, should they have it. */
  readonly staying: ReadonlyMap<PciAddress, ReadonlySet<string>>;
}

/** How often exact units that lost a member, and what was counted on but went elsewhere, are judged again. */
const MOST_ROUNDS = 32;

/** How often a decision is looked at again as if it were carried out. */
const MOST_LOOKS = 6;

/** Decides which VM each device belongs to. `findings`: what the rules say about the devices of the situation. */
export function decide(situation: Situation, findings: Findings): Decision {
  let parts = decideOnce(situation, findings);
  // A choice that others had to give way to on the way may not have needed it in the end: what is decided must be what
  // would be decided once it is done (semantics.md 4).
  for (let look = 1, isAtRest = parts.isPlain; !isAtRest && look < MOST_LOOKS; look += 1) {
    const again = decideOnce(situation.carriedOut(parts.decision.units), findings);
    isAtRest = isSameOwnership(again.decision.units, parts.decision.units);
    parts = isAtRest ? parts : again;
  }
  const { decision, exact, selections, shortages } = parts;
  const { units } = decision;
  return { units, held: heldDevices(parts), exact, selections, shortages, staying: staying(parts) };
}

/** `isPlain`: no choice had to be made twice, and all choices are of single functions that nobody gives anyway. */
function decideOnce(situation: Situation, findings: Findings): AssignParts & { readonly isPlain: boolean } {
  const matches = matchesByRule(findings);
  const exact = collectExactClaims(situation, matches);
  const settled = settle(exact, findings, matches, situation);
  const shortages = shortagesOf(settled.selections, settled.decision, settled.forbidden);
  return { situation, findings, exact, ...settled, shortages };
}

function isSameOwnership(a: readonly Unit[], b: readonly Unit[]): boolean {
  const owners = (units: readonly Unit[]) =>
    units.flatMap(({ vm, members }) => members.map((member) => `${member} ${vm}`)).sort();
  return owners(a).join() === owners(b).join();
}

/** Exact claims first, then what select rules choose; exact units that lose a member by that are judged again. */
function settle(
  exact: ExactClaims,
  findings: Findings,
  matches: MatchesByRule,
  situation: Situation,
): Pick<AssignParts, "verdicts" | "selections" | "forbidden" | "decision"> & { readonly isPlain: boolean } {
  const broken = new Set<Claim>();
  const coveted = new Set<PciAddress>();
  for (let round = 1; ; round += 1) {
    const verdicts = settleExact(exact, broken, findings, situation);
    const claims = collectSelectClaims(situation, findings, matches, { claims: exact, verdicts, coveted });
    const chosen = chooseSoundly(claims, verdicts, exact, situation);
    const lost = [...verdicts.values()].flatMap((verdict) =>
      verdict.kind === "owner" && isTorn(verdict.claim, chosen) ? [verdict.claim] : [],
    );
    const taken = givenButTaken(chosen.selections);
    if (lost.length + taken.length === 0 || round === MOST_ROUNDS) {
      const isPlain = round === 1 && chosen.forbidden.size === 0 && chosen.selections.every(isSimple);
      return { verdicts, ...chosen, isPlain };
    }
    for (const claim of lost) {
      broken.add(claim);
    }
    for (const address of taken) {
      coveted.add(address);
    }
  }
}

function isSimple({ given, units }: Selection): boolean {
  return given.length === 0 && units.every((unit) => unit.length === 1);
}

/** Devices that a rule counted because its VM gets them anyway, and that a rule of another VM has chosen. */
function givenButTaken(selections: readonly Selection[]): readonly PciAddress[] {
  const takers = new Map(
    selections.flatMap(({ claim, units }) =>
      units.flat().map(({ address }) => [address, claim.rule.vm] as const),
    ),
  );
  return selections.flatMap(({ claim: { rule, given } }) =>
    [...given].filter((address) => (takers.get(address) ?? rule.vm) !== rule.vm),
  );
}

/**
 * Whether what a claim takes together has lost a member to another VM, or cannot be had whole while a select rule could
 * have a part of it by itself.
 */
function isTorn(
  { vm, unit }: Claim,
  { decision, selections }: Pick<AssignParts, "decision" | "selections">,
): boolean {
  if (unit.length === 1) {
    return false;
  }
  const isChosen = (address: PciAddress) =>
    selections.some(({ units }) => units.some((entry) => entry.some((member) => member.address === address)));
  return (
    unit.some((member) => (decision.owners.get(member)?.vm ?? vm) !== vm) ||
    (unit.some((member) => decision.refused.has(member)) && unit.some(isChosen))
  );
}

function shortagesOf(
  selections: readonly Selection[],
  decision: GroupDecision,
  forbidden: Forbidden,
): readonly Shortage[] {
  return selections.flatMap(({ claim, alternative, given, units }) => {
    if (alternative !== null) {
      return [];
    }
    const { rule, pools } = claim;
    const pool = (pools[0] ?? []).filter((unit) => !forbidden.has(forbiddenKey(rule, unit)));
    const ownerOf = (unit: readonly Device[]) =>
      unit.map((member) => decision.owners.get(member.address)).find((owner) => owner !== undefined);
    const others = pool.map(ownerOf).filter((owner) => owner !== undefined && owner.rule !== rule);
    const chosen = others.map((owner) => `${owner?.vm} (rule ${owner?.rule.name})`);
    const fixed = [...claim.objections.values()].flatMap((reason) =>
      reason.kind === "outranked" ? [`${reason.vm} (rule ${reason.rule})`] : [],
    );
    const holders = [...new Set([...fixed, ...chosen])].sort();
    const free = pool.filter((unit) => ownerOf(unit) === undefined).length;
    const needed = rule.alternatives[0]?.count.min ?? 0;
    return [{ rule: rule.name, vm: rule.vm, needed, found: given.length + units.length + free, holders }];
  });
}
