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

/** How often exact units that lost a member are judged again. */
const MOST_ROUNDS = 32;

/** Decides which VM each device belongs to. `findings`: what the rules say about the devices of the situation. */
export function decide(situation: Situation, findings: Findings): Decision {
  const matches = matchesByRule(findings);
  const exact = collectExactClaims(situation, matches);
  const { verdicts, selections, forbidden, decision } = settle(exact, findings, matches, situation);
  const shortages = shortagesOf(selections, decision, forbidden);
  const parts = { situation, findings, exact, verdicts, selections, forbidden, decision, shortages };
  return {
    units: decision.units,
    held: heldDevices(parts),
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
