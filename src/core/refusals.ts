/** The devices that rules speak of and nobody gets, each with the one reason that its highest rule would give. */
import type { PciAddress } from "./address.js";
import type { AssignParts } from "./assign-parts.js";
import type { Claim } from "./exact-claims.js";
import { type DeviceFindings, unknownKeysOf } from "./findings.js";
import type { Held, HeldReason } from "./held.js";
import { sortedAddresses } from "./iommu-group.js";
import { vmsOf } from "./policy.js";
import { forbiddenKey, type Selection } from "./selection.js";

/** Sorted by address, one for each device. */
export function heldDevices(parts: AssignParts): readonly Held[] {
  const addresses = new Set([
    ...parts.findings.keys(),
    ...parts.exact.keys(),
    ...parts.decision.refused.keys(),
  ]);
  const given = new Set(parts.decision.units.flatMap((unit) => unit.members));
  const bySelect = selectReasons(parts.selections, parts);
  return sortedAddresses(addresses).flatMap((address) => {
    if (given.has(address)) {
      return [];
    }
    const held =
      refusedHeld(address, parts) ??
      exactHeld(address, parts) ??
      bySelect.get(address) ??
      openHeld(address, parts.findings.get(address));
    return held === null ? [] : [held];
  });
}

function refusedHeld(address: PciAddress, { decision }: AssignParts): Held | null {
  const reason = decision.refused.get(address);
  const owner = decision.owners.get(address);
  return reason === undefined
    ? null
    : { address, vm: owner?.vm ?? null, rule: owner?.rule.name ?? null, reason };
}

function exactHeld(address: PciAddress, { exact, verdicts, findings }: AssignParts): Held | null {
  const found = findings.get(address);
  const [first] = exact.get(address) ?? [];
  const verdict = verdicts.get(address);
  if (verdict?.kind === "conflict") {
    const names = verdict.claims.map(({ rule }) => rule.name);
    const vms = [...new Set(verdict.claims.flatMap(({ vm }) => vm ?? []))];
    return { address, vm: null, rule: names[0] ?? null, reason: { kind: "conflict", rules: names, vms } };
  }
  if (verdict?.kind === "open") {
    const [rule] = verdict.rules;
    const keys = unknownKeysOf(verdict.rules, found);
    return { address, vm: null, rule: rule?.rule.name ?? null, reason: { kind: "fact-unknown", keys } };
  }
  if (first === undefined) {
    return null;
  }
  const reason: HeldReason =
    first.objection ??
    (verdict?.kind === "waits" ? { kind: "kept-elsewhere", vm: verdict.vm } : brokenUnit(first));
  return { address, vm: first.vm, rule: first.rule.name, reason };
}

/** A claim without an objection of its own that still came to nothing belongs to a unit that is not whole. */
function brokenUnit({ unit, device }: Claim): HeldReason {
  const member = unit.find((address) => address !== device.address) ?? device.address;
  return { kind: "unit-incomplete", member, why: "another rule has it" };
}

/** What select rules may not have, or do not take because they are short. What is merely spare is not held. */
function selectReasons(selections: readonly Selection[], parts: AssignParts): ReadonlyMap<PciAddress, Held> {
  const reasons = new Map<PciAddress, Held>();
  for (const selection of selections) {
    const { vm, name } = selection.claim.rule;
    for (const [address, reason] of [...unfitReasons(selection), ...shortReasons(selection, parts)]) {
      if (!reasons.has(address)) {
        reasons.set(address, { address, vm, rule: name, reason });
      }
    }
  }
  return reasons;
}

function unfitReasons({ claim }: Selection): readonly (readonly [PciAddress, HeldReason])[] {
  return [...claim.objections].filter(([, objection]) => objection.kind !== "outranked");
}

/** What a rule that is short of its minimum could have had. */
function shortReasons(
  { claim, alternative }: Selection,
  { shortages, decision, situation, forbidden }: AssignParts,
): readonly (readonly [PciAddress, HeldReason])[] {
  const shortage = shortages.find((entry) => entry.rule === claim.rule.name);
  if (alternative !== null || shortage === undefined) {
    return [];
  }
  const { needed, found, holders } = shortage;
  const reason: HeldReason = situation.isSettling
    ? { kind: "settling" }
    : { kind: "short", needed, found, holders };
  return claim.pools
    .flat()
    .flatMap((unit) =>
      unit
        .filter((member) => !decision.owners.has(member.address))
        .map((member) => [member.address, forbidden.get(forbiddenKey(claim.rule, unit)) ?? reason] as const),
    );
}

function openHeld(address: PciAddress, found: DeviceFindings | undefined): Held | null {
  const [first] = found?.matches.length === 0 ? found.open : [];
  if (found === undefined || first === undefined) {
    return null;
  }
  const reason: HeldReason =
    found.exclusion === null
      ? { kind: "fact-unknown", keys: unknownKeysOf(found.open, found) }
      : { kind: found.exclusion };
  return { address, vm: vmsOf(first.rule)[0] ?? null, rule: first.rule.name, reason };
}
