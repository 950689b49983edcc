/**
 * Who should have what, and why not: the whole of the deciding that needs no moment.
 *
 * Pure and total. The same inventory, policy, protections and intents give the same answer, in the same order, whatever
 * order events came in. What a VM has already in this boot it keeps while its rule allows it (semantics.md 4).
 */
import type { PciAddress } from "./address.js";
import type { AssignParts, Shortage } from "./assign-parts.js";
import type { Device } from "./device.js";
import { objectionTo } from "./eligibility.js";
import {
  type Claim,
  collectExactClaims,
  type ExactClaims,
  type ExactVerdict,
  ownerAmong,
  priorityOf,
} from "./exact-claims.js";
import { type DeviceFindings, type Findings, findingsOf, matchesByRule, openAbove } from "./findings.js";
import { decideGroups, type GroupDecision, type Owner } from "./groups.js";
import type { Held, HeldReason } from "./held.js";
import { heldDevices } from "./refusals.js";
import { collectSelectClaims, type SelectClaim } from "./select-claims.js";
import { type Forbidden, forbiddenKey, type Selection, select } from "./selection.js";
import { type AssignWorld, Situation } from "./situation.js";
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

/** How often a selection is made again because an IOMMU group turned out not to be takeable. */
const MOST_ROUNDS = 32;

/** Decides which VM each device belongs to. */
export function assign(world: AssignWorld, findings: Findings = findingsOf(world)): Assignment {
  const situation = new Situation(world);
  const matches = matchesByRule(findings);
  const exact = collectExactClaims(situation, matches);
  const verdicts = settleExact(exact, findings, situation);
  const claims = collectSelectClaims(situation, findings, matches, verdicts);
  const { decision, selections, forbidden } = chooseSoundly(claims, verdicts, exact, situation);
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

/** Who gets each device among the exact claims; a unit of several goes to one VM or to nobody. */
function settleExact(
  exact: ExactClaims,
  findings: Findings,
  situation: Situation,
): ReadonlyMap<PciAddress, ExactVerdict> {
  const verdicts = new Map<PciAddress, ExactVerdict>();
  for (const [address, claims] of exact) {
    const verdict = withOpenRules(ownerAmong(claims, situation.keeperOf(address)), findings.get(address));
    const keeper = selectKeeper(verdict, findings.get(address), situation);
    verdicts.set(address, keeper === null ? verdict : { kind: "waits", vm: keeper });
  }
  for (let isChanged = true; isChanged; ) {
    isChanged = false;
    for (const [address, verdict] of verdicts) {
      const isWhole =
        verdict.kind !== "owner" ||
        verdict.claim.unit.every((member) => hasOwner(verdicts, member, verdict.claim));
      if (!isWhole) {
        verdicts.set(address, { kind: "nobody" });
        isChanged = true;
      }
    }
  }
  return verdicts;
}

/** A rule of a higher priority that asks for a fact which is not known may yet want the device for another VM. */
function withOpenRules(verdict: ExactVerdict, found: DeviceFindings | undefined): ExactVerdict {
  const open = verdict.kind === "owner" ? openAbove(found, verdict.claim.vm, priorityOf(verdict.claim)) : [];
  return open.length === 0 ? verdict : { kind: "open", rules: open };
}

/** The VM that keeps the device by a select rule, against an exact claim that does not preempt it. */
function selectKeeper(
  verdict: ExactVerdict,
  found: DeviceFindings | undefined,
  situation: Situation,
): string | null {
  const vm = found === undefined ? undefined : situation.keeperOf(found.device.address);
  if (verdict.kind !== "owner" || verdict.claim.vm === vm || vm === undefined || found === undefined) {
    return null;
  }
  const { claim } = verdict;
  const isKept = found.matches.some(
    ({ rule }) =>
      rule.mode === "select" &&
      rule.vm === vm &&
      !situation.isSilent(rule, vm, found.device.address) &&
      objectionTo(rule, vm, found.device, situation.world) === null &&
      !(claim.rule.preempt && priorityOf(claim) > rule.priority),
  );
  return isKept ? vm : null;
}

function hasOwner(
  verdicts: ReadonlyMap<PciAddress, ExactVerdict>,
  member: PciAddress,
  { vm }: Claim,
): boolean {
  const verdict = verdicts.get(member);
  return verdict?.kind === "owner" && verdict.claim.vm === vm;
}

/** Chooses, looks at whole IOMMU groups, and chooses again without the units that cannot be taken after all. */
function chooseSoundly(
  claims: readonly SelectClaim[],
  verdicts: ReadonlyMap<PciAddress, ExactVerdict>,
  exact: ExactClaims,
  situation: Situation,
): Pick<AssignParts, "decision" | "selections" | "forbidden"> {
  const forbidden = new Map<string, HeldReason>();
  const rootsOf = (rule: string) => rootsOfExact(rule, verdicts, situation);
  for (let round = 1; ; round += 1) {
    const selections = select(claims, situation, forbidden, rootsOf);
    const owners = ownersOf(selections, verdicts);
    const decision = decideGroups(owners, exact, situation);
    const fresh = selections.flatMap(({ claim, units }) =>
      units.flatMap((unit) => {
        const key = forbiddenKey(claim.rule, unit);
        const reason = unit.map((member) => decision.refused.get(member.address)).find(Boolean);
        return reason === undefined || forbidden.has(key) ? [] : [[key, reason] as const];
      }),
    );
    if (fresh.length === 0 || round === MOST_ROUNDS) {
      return { decision, selections, forbidden };
    }
    for (const [key, reason] of fresh) {
      forbidden.set(key, reason);
    }
  }
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
      for (const address of unit) {
        owners.set(address, { rule: claim.rule, vm: claim.rule.vm, unit });
      }
    }
  }
  return owners;
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
    const { rule, pools, given } = claim;
    const pool = (pools[0] ?? []).filter((unit) => !forbidden.has(forbiddenKey(rule, unit)));
    const ownerOf = (unit: readonly Device[]) =>
      unit.map((member) => decision.owners.get(member.address)).find((owner) => owner !== undefined);
    const others = pool.map(ownerOf).filter((owner) => owner !== undefined && owner.rule !== rule);
    const holders = [...new Set(others.map((owner) => `${owner?.vm} (rule ${owner?.rule.name})`))].sort();
    const free = pool.filter((unit) => ownerOf(unit) === undefined).length;
    const needed = rule.alternatives[0]?.count.min ?? 0;
    return [{ rule: rule.name, vm: rule.vm, needed, found: given + units.length + free, holders }];
  });
}
