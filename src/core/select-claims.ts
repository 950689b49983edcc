/** Select rules: what each of them could have, and why not what else it matches. Who gets what is selection.ts. */
import type { PciAddress } from "./address.js";
import type { Device } from "./device.js";
import { type Claim, type ExactClaims, type ExactVerdict, priorityOf } from "./exact-claims.js";
import {
  type DeviceFindings,
  type Findings,
  type MatchesByRule,
  openRivals,
  unknownKeysOf,
} from "./findings.js";
import type { HeldReason } from "./held.js";
import { describeHeld } from "./held-text.js";
import { holdOn } from "./holds.js";
import { followPins, type Pinned } from "./pinning.js";
import type { Alternative, SelectRule } from "./policy.js";
import type { RankedRule } from "./ranking.js";
import { verdictOf } from "./selector.js";
import type { Situation } from "./situation.js";

/** A select rule with everything that it could have. */
export interface SelectClaim {
  readonly ranked: RankedRule;
  readonly rule: SelectRule;
  /** What it may not have, and why. */
  readonly objections: ReadonlyMap<PciAddress, HeldReason>;
  /** For each alternative: the units that it may take. */
  readonly pools: readonly (readonly (readonly Device[])[])[];
  /** Devices that its VM gets by exact claims anyway: they count. */
  readonly given: ReadonlySet<PciAddress>;
  /** The cards that it was pinned to: it keeps to them, whatever it prefers (semantics.md 5). */
  readonly learnt: ReadonlySet<PciAddress>;
}

/** What select rules have to heed of the exact ones. */
export interface ExactPicture {
  readonly claims: ExactClaims;
  /** What became of the claims on each device. */
  readonly verdicts: ReadonlyMap<PciAddress, ExactVerdict>;
  /** What other VMs choose, so that it is not given to anybody for sure. */
  readonly coveted: ReadonlySet<PciAddress>;
}

/** Finds the candidates of every select rule. */
export function collectSelectClaims(
  situation: Situation,
  findings: Findings,
  matches: MatchesByRule,
  exact: ExactPicture,
): readonly SelectClaim[] {
  return situation.ranked.flatMap((ranked) => {
    const { rule } = ranked;
    return rule.mode === "select" ? [collect({ ...ranked, rule }, situation, findings, matches, exact)] : [];
  });
}

function collect(
  ranked: RankedRule & { readonly rule: SelectRule },
  situation: Situation,
  findings: Findings,
  matches: MatchesByRule,
  exact: ExactPicture,
): SelectClaim {
  const { rule } = ranked;
  const { devices, drifted, learnt } = meantBy(rule, situation, matches);
  const objections = new Map(drifted);
  const fit: Device[] = [];
  const given = new Set<PciAddress>();
  for (const device of devices.filter(({ address }) => !situation.isSilent(rule, rule.vm, address))) {
    const { address } = device;
    const verdict = exact.verdicts.get(address);
    const isGiven = verdict?.kind === "owner" && verdict.claim.vm === rule.vm;
    const objection =
      candidateObjection(rule, device, situation, exact) ??
      (isGiven ? null : openObjection(ranked, findings.get(address), situation));
    if (objection !== null) {
      noteUnfit(rule, device, objection, situation, objections);
      continue;
    }
    fit.push(device);
    if (isGiven && !exact.coveted.has(address)) {
      given.add(address);
    }
  }
  const pools = rule.alternatives.map((alternative) =>
    poolOf(rule, alternative, fit, situation, objections, exact),
  );
  return { ranked, rule, objections, pools, given, learnt };
}

/** Notes a device that a rule may not have, and with it what the VM has of its unit: a unit is not torn apart. */
function noteUnfit(
  rule: SelectRule,
  device: Device,
  objection: HeldReason,
  situation: Situation,
  objections: Map<PciAddress, HeldReason>,
): void {
  objections.set(device.address, objection);
  for (const { address } of situation.topology.unitOf(device, rule)) {
    if (!objections.has(address) && situation.keeperOf(address) === rule.vm) {
      objections.set(address, {
        kind: "unit-incomplete",
        member: device.address,
        why: describeHeld(objection),
      });
    }
  }
}

function meantBy(rule: SelectRule, situation: Situation, matches: MatchesByRule): Pinned {
  const matched = matches.get(rule) ?? [];
  const { intents, devices } = situation.world;
  return rule.isPinned
    ? followPins(rule, matched, intents.pins, devices)
    : { devices: matched, drifted: new Map(), learnt: new Set() };
}

function candidateObjection(
  rule: SelectRule,
  device: Device,
  situation: Situation,
  exact: ExactPicture,
  isNamed = true,
): HeldReason | null {
  const hold = holdOn(situation.world, rule.vm, device.address);
  // What the VM has let go of is not chosen anew for it; what is still leased to it stays its own.
  if (hold !== undefined && situation.keeperOf(device.address) !== rule.vm) {
    return { kind: "hold", cause: hold.cause, detail: hold.detail };
  }
  return (
    situation.objectionTo(rule, rule.vm, device, isNamed) ??
    rivalObjection(rule, exact.verdicts.get(device.address), situation.keeperOf(device.address)) ??
    keptObjection(rule, device, situation, exact)
  );
}

/** What another VM has by a claim that stands for itself is not chosen, though the rest of its unit cannot be had. */
function keptObjection(
  rule: SelectRule,
  { address }: Device,
  situation: Situation,
  { claims, verdicts }: ExactPicture,
): HeldReason | null {
  if (verdicts.get(address)?.kind !== "nobody") {
    return null;
  }
  const kept = claims
    .get(address)
    ?.find(
      (claim) =>
        claim.objection === null &&
        claim.vm !== null &&
        claim.vm !== rule.vm &&
        situation.keeperBy(claim.rule, address) === claim.vm,
    );
  const { vm = null } = kept ?? {};
  const isPreempted = kept !== undefined && rule.preempt && rule.priority > priorityOf(kept);
  return vm === null || isPreempted ? null : { kind: "kept-elsewhere", vm };
}

/** What another rule may yet want before this one is not chosen anew; what the VM has already it keeps. */
function openObjection(
  ranked: RankedRule & { readonly rule: SelectRule },
  found: DeviceFindings | undefined,
  situation: Situation,
): HeldReason | null {
  const { rule } = ranked;
  const open = openRivals(found, rule.vm, ranked, rule.priority);
  return found === undefined || open.length === 0 || situation.keeperOf(found.device.address) === rule.vm
    ? null
    : { kind: "fact-unknown", keys: unknownKeysOf(open, found) };
}

/** Exact claims are fixed before select rules of their own or a lower priority choose. */
function rivalObjection(
  rule: SelectRule,
  verdict: ExactVerdict | undefined,
  keeper: string | undefined,
): HeldReason | null {
  if (verdict?.kind !== "owner" && verdict?.kind !== "conflict") {
    return null;
  }
  if (verdict.kind === "owner" && verdict.claim.vm === rule.vm) {
    return null;
  }
  const claims = verdict.kind === "owner" ? [verdict.claim] : verdict.claims;
  const [strongest] = claims;
  const isInTheWay = verdict.kind === "owner" && keeper === verdict.claim.vm && !rule.preempt;
  const mayTake = strongest === undefined || (rule.priority > priorityOf(strongest) && !isInTheWay);
  return mayTake ? null : outrankedBy(strongest, verdict);
}

function outrankedBy(claim: Claim, verdict: ExactVerdict): HeldReason {
  if (verdict.kind === "conflict") {
    const vms = [...new Set(verdict.claims.flatMap(({ vm }) => vm ?? []))];
    return { kind: "conflict", rules: verdict.claims.map(({ rule }) => rule.name), vms };
  }
  return { kind: "outranked", rule: claim.rule.name, vm: claim.vm ?? "" };
}

/** The units of one alternative; units that cannot be taken whole leave their reason with the device that matched. */
function poolOf(
  rule: SelectRule,
  { match }: Alternative,
  fit: readonly Device[],
  situation: Situation,
  objections: Map<PciAddress, HeldReason>,
  exact: ExactPicture,
): readonly (readonly Device[])[] {
  const units = new Map<string, readonly Device[]>();
  for (const device of fit) {
    const verdict = match === null ? "match" : verdictOf(match, device);
    if (verdict === "unknown" && situation.keeperOf(device.address) === rule.vm) {
      // What is not known yet takes nothing away.
      objections.set(device.address, { kind: "fact-unknown", keys: ["alternatives"] });
    }
    if (verdict !== "match") {
      continue;
    }
    const unit = situation.topology.unitOf(device, rule);
    const unfit = unit.find(
      (member) => member !== device && candidateObjection(rule, member, situation, exact, false) !== null,
    );
    if (unfit === undefined) {
      units.set(unitKey(unit), unit);
    } else {
      noteUnfit(
        rule,
        device,
        { kind: "unit-incomplete", member: unfit.address, why: "it may not be taken" },
        situation,
        objections,
      );
      // The one that cannot be taken may be with the VM already.
      if (situation.keeperOf(unfit.address) === rule.vm && !objections.has(unfit.address)) {
        objections.set(unfit.address, {
          kind: "unit-incomplete",
          member: device.address,
          why: "it may not be taken",
        });
      }
    }
  }
  return [...units.values()];
}

/** Text that tells one unit from another. */
export function unitKey(unit: readonly Device[]): string {
  return unit.map((member) => member.address).join(" ");
}
