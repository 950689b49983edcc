/**
 * Who should have what, and why not: the whole of the deciding that needs no moment.
 *
 * Pure and total. The same inventory, policy, protections and intents give the same answer, in the same order, whatever
 * order events came in. What a VM has already in this boot it keeps while its rule allows it (semantics.md 4).
 */
import type { PciAddress } from "./address.js";
import type { AssignParts, Shortage } from "./assign-parts.js";
import type { Device } from "./device.js";
import { type Claim, collectExactClaims, type ExactClaims } from "./exact-claims.js";
import { settleExact } from "./exact-settlement.js";
import { type Findings, findingsOf, type MatchesByRule, matchesByRule } from "./findings.js";
import type { GroupDecision } from "./groups.js";
import type { Held } from "./held.js";
import { heldDevices } from "./refusals.js";
import { collectSelectClaims } from "./select-claims.js";
import { type Forbidden, forbiddenKey, type Selection } from "./selection.js";
import { type AssignWorld, Situation } from "./situation.js";
import { chooseSoundly } from "./sound-choice.js";
import { staying } from "./staying.js";
import type { Unit } from "./unit.js";

export interface Assignment {
  /** Sorted by the address of the first member. */
  readonly units: readonly Unit[];
  /** Device -> unit, for the members of every unit. */
  readonly byDevice: ReadonlyMap<PciAddress, Unit>;
  /** Devices that rules speak of but that nobody gets, sorted by address. */
  readonly held: readonly Held[];
  /** What the rules say about every device that any of them speaks of. */
  readonly findings: Findings;
  readonly exact: ExactClaims;
  readonly selections: readonly Selection[];
  readonly shortages: readonly Shortage[];
  /** Device -> the VMs that need not give it back, should they have it. */
  readonly staying: ReadonlyMap<PciAddress, ReadonlySet<string>>;
}

/** How often exact units that lost a member are judged again. */
const MOST_ROUNDS = 32;

/** Decides which VM each device belongs to. */
export function assign(world: AssignWorld, findings: Findings = findingsOf(world)): Assignment {
  const situation = new Situation(world);
  const matches = matchesByRule(findings);
  const exact = collectExactClaims(situation, matches);
  const { verdicts, selections, forbidden, decision } = settle(exact, findings, matches, situation);
  const shortages = shortagesOf(selections, decision, forbidden);
  const byDevice = new Map(
    decision.units.flatMap((unit) => unit.members.map((member) => [member, unit] as const)),
  );
  const parts = { situation, findings, exact, verdicts, selections, forbidden, decision, shortages };
  return {
    units: decision.units,
    byDevice,
    held: heldDevices(parts),
    findings,
    exact,
    selections,
    shortages,
    staying: staying(parts),
  };
}

/** Exact claims first, then what select rules choose; exact units that lose a member by that are judged again. */
function settle(
  exact: ExactClaims,
  findings: Findings,
  matches: MatchesByRule,
  situation: Situation,
): Pick<AssignParts, "verdicts" | "selections" | "forbidden" | "decision"> {
  const broken = new Set<Claim>();
  for (let round = 1; ; round += 1) {
    const verdicts = settleExact(exact, broken, findings, situation);
    const claims = collectSelectClaims(situation, findings, matches, verdicts);
    const chosen = chooseSoundly(claims, verdicts, exact, situation);
    const lost = [...verdicts].flatMap(([address, verdict]) =>
      verdict.kind === "owner" && chosen.decision.parted.has(address) && !isChosen(address, chosen.selections)
        ? [verdict.claim]
        : [],
    );
    if (lost.length === 0 || round === MOST_ROUNDS) {
      return { verdicts, ...chosen };
    }
    for (const claim of lost) {
      broken.add(claim);
    }
  }
}

function isChosen(address: PciAddress, selections: readonly Selection[]): boolean {
  return selections.some(({ units }) => units.flat().some((member) => member.address === address));
}

function shortagesOf(
  selections: readonly Selection[],
  decision: GroupDecision,
  forbidden: Forbidden,
): readonly Shortage[] {
  return selections.flatMap(({ claim, alternative, units }) => {
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
    return [{ rule: rule.name, vm: rule.vm, needed, found: units.length + free, holders }];
  });
}
