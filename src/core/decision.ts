/** Who should have what, and why not, in one situation: the steps of the deciding in their order. */
import type { PciAddress } from "./address.js";
import type { Shortage } from "./assign-parts.js";
import type { Device } from "./device.js";
import {
  type Claim,
  collectExactClaims,
  type ExactClaims,
  type ExactVerdict,
  ownerAmong,
  priorityOf,
} from "./exact-claims.js";
import { type DeviceFindings, type Findings, matchesByRule } from "./findings.js";
import { decideGroups, type GroupDecision, type Owner } from "./groups.js";
import type { Held } from "./held.js";
import { heldDevices } from "./refusals.js";
import { collectSelectClaims, type SelectClaim } from "./select-claims.js";
import { forbiddenKey, type Selection, select } from "./selection.js";
import type { Situation } from "./situation.js";
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

/** How often a selection is made again because an IOMMU group turned out not to be takeable. */
const MOST_ROUNDS = 32;

/** Decides which VM each device belongs to. `findings`: what the rules say about the devices of the situation. */
export function decide(situation: Situation, findings: Findings): Decision {
  const matches = matchesByRule(findings);
  const exact = collectExactClaims(situation, matches);
  const verdicts = settleExact(exact, findings, situation);
  const claims = collectSelectClaims(situation, matches, verdicts);
  const { decision, selections } = chooseSoundly(claims, verdicts, exact, situation);
  const shortages = shortagesOf(selections, decision);
  const parts = { situation, findings, exact, verdicts, selections, decision, shortages };
  return {
    units: decision.units,
    held: heldDevices(parts),
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
    const verdict = ownerAmong(claims, situation.keeperOf(address));
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
      situation.objectionTo(rule, vm, found.device) === null &&
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
): { readonly decision: GroupDecision; readonly selections: readonly Selection[] } {
  const forbidden = new Set<string>();
  const rootsOf = (rule: string) => rootsOfExact(rule, verdicts, situation);
  for (let round = 1; ; round += 1) {
    const selections = select(claims, situation, forbidden, rootsOf);
    const owners = ownersOf(selections, verdicts);
    const decision = decideGroups(owners, exact, situation);
    const refused = selections.flatMap(({ claim, units }) =>
      units
        .filter((unit) => unit.some((member) => decision.refused.has(member.address)))
        .map((unit) => ({ claim, unit })),
    );
    const fresh = refused.filter(({ claim, unit }) => !forbidden.has(forbiddenKey(claim.rule, unit)));
    if (fresh.length === 0 || round === MOST_ROUNDS) {
      return { decision, selections };
    }
    for (const { claim, unit } of fresh) {
      forbidden.add(forbiddenKey(claim.rule, unit));
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

function shortagesOf(selections: readonly Selection[], decision: GroupDecision): readonly Shortage[] {
  return selections.flatMap(({ claim, alternative, units }) => {
    if (alternative !== null) {
      return [];
    }
    const { rule, pools, given } = claim;
    const pool = pools[0] ?? [];
    const ownerOf = (unit: readonly Device[]) =>
      unit.map((member) => decision.owners.get(member.address)).find((owner) => owner !== undefined);
    const others = pool.map(ownerOf).filter((owner) => owner !== undefined && owner.rule !== rule);
    const holders = [...new Set(others.map((owner) => `${owner?.vm} (rule ${owner?.rule.name})`))].sort();
    const free = pool.filter((unit) => ownerOf(unit) === undefined).length;
    const needed = rule.alternatives[0]?.count.min ?? 0;
    return [{ rule: rule.name, vm: rule.vm, needed, found: given + units.length + free, holders }];
  });
}
