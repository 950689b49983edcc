/** Who gets each device among the exact claims on it: rank, conflict, what is kept, and units that stay together. */
import type { PciAddress } from "./address.js";
import type { Device } from "./device.js";
import { type Claim, type ExactClaims, type ExactVerdict, ownerAmong, priorityOf } from "./exact-claims.js";
import { type DeviceFindings, type Findings, openRivals } from "./findings.js";
import type { Situation } from "./situation.js";

/** Who gets each device among the exact claims; a unit of several goes to one VM, or its claims count for nothing. */
export function settleExact(
  exact: ExactClaims,
  broken: ReadonlySet<Claim>,
  findings: Findings,
  situation: Situation,
): ReadonlyMap<PciAddress, ExactVerdict> {
  const out = new Set(broken);
  for (;;) {
    const verdicts = new Map<PciAddress, ExactVerdict>();
    for (const [address, claims] of exact) {
      const left = out.size === 0 ? claims : claims.filter((claim) => !out.has(claim));
      verdicts.set(address, verdictOn(address, left, findings, situation));
    }
    const parted = [...verdicts.values()].flatMap((verdict) =>
      verdict.kind === "owner" &&
      !verdict.claim.unit.every((member) => hasOwner(verdicts, member, verdict.claim))
        ? [verdict.claim]
        : [],
    );
    if (parted.length === 0) {
      return verdicts;
    }
    // The first in rank goes first: without it what comes after may be whole.
    const rank = Math.min(...parted.map((claim) => claim.rank));
    for (const claim of parted.filter((entry) => entry.rank === rank)) {
      out.add(claim);
    }
  }
}

function verdictOn(
  address: PciAddress,
  claims: readonly Claim[],
  findings: Findings,
  situation: Situation,
): ExactVerdict {
  const isKept = ({ rule, vm }: Claim) => vm !== null && situation.keeperBy(rule, address) === vm;
  const found = findings.get(address);
  const verdict = withOpenRules(ownerAmong(claims, isKept), found);
  const keeper = selectKeeper(address, verdict, findings, situation);
  return keeper === null ? verdict : { kind: "waits", vm: keeper };
}

/** Rules that ask for a fact which is not known may yet want the device for another VM. What a VM has it keeps. */
function withOpenRules(verdict: ExactVerdict, found: DeviceFindings | undefined): ExactVerdict {
  if (verdict.kind !== "owner") {
    return verdict;
  }
  const { claim, isKept } = verdict;
  const open = isKept ? [] : openRivals(found, claim.vm, claim, priorityOf(claim));
  return open.length === 0 ? verdict : { kind: "open", rules: open };
}

/** The VM that keeps the device by a select rule, against an exact claim that does not preempt it. */
function selectKeeper(
  address: PciAddress,
  verdict: ExactVerdict,
  findings: Findings,
  situation: Situation,
): string | null {
  const vm = situation.keeperOf(address);
  const device = situation.world.devices.get(address);
  if (verdict.kind !== "owner" || verdict.claim.vm === vm || vm === undefined || device === undefined) {
    return null;
  }
  const { claim } = verdict;
  const isKept = situation.ranked.some(({ rule }) => {
    const matches = (member: Device) =>
      findings.get(member.address)?.matches.some((entry) => entry.rule === rule) === true;
    return (
      rule.mode === "select" &&
      rule.vm === vm &&
      situation.keeperBy(rule, address) === vm &&
      // Also what only came along with a device that the rule chose is kept with it.
      situation.topology.unitOf(device, rule).some(matches) &&
      !situation.isSilent(rule, vm, address) &&
      situation.objectionTo(rule, vm, device, matches(device)) === null &&
      !(claim.rule.preempt && priorityOf(claim) > rule.priority)
    );
  });
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
