/** Which VMs need not give a device back, should they have it: the other half of "no rule claims it any more". */
import type { PciAddress } from "./address.js";
import type { AssignParts } from "./assign-parts.js";
import type { HeldReason } from "./held.js";
import { vmsOf } from "./policy.js";

type Stay = readonly [address: PciAddress, vm: string];

/**
 * Device -> VMs that it may stay in. A fact that is not known takes nothing away, nor does a conflict, a reservation or
 * a protection that came later; `never`, a rule that goes first and preempts, and a select rule that chose less do.
 */
export function staying(parts: AssignParts): ReadonlyMap<PciAddress, ReadonlySet<string>> {
  const stay = new Map<PciAddress, Set<string>>();
  for (const [address, vm] of [...exactStays(parts), ...openStays(parts), ...selectStays(parts)]) {
    stay.set(address, (stay.get(address) ?? new Set()).add(vm));
  }
  return stay;
}

function exactStays({ exact, verdicts, selections }: AssignParts): readonly Stay[] {
  const chosenFor = new Map(
    selections.flatMap(({ claim, units }) =>
      units.flat().map(({ address }) => [address, claim.rule.vm] as const),
    ),
  );
  return [...exact].flatMap(([address, claims]) => {
    const verdict = verdicts.get(address);
    const preemptor = verdict?.kind === "owner" && verdict.claim.rule.preempt ? verdict.claim.vm : null;
    const only = chosenFor.get(address) ?? preemptor;
    return claims.flatMap(({ vm, objection }): readonly Stay[] =>
      vm === null || isExcluding(objection) || (only !== null && only !== vm) ? [] : [[address, vm]],
    );
  });
}

function openStays({ findings }: AssignParts): readonly Stay[] {
  return [...findings.values()].flatMap(({ device, open, exclusion }) =>
    exclusion === null || exclusion === "unknown"
      ? open.flatMap(({ rule }) => vmsOf(rule).map((vm): Stay => [device.address, vm]))
      : [],
  );
}

function selectStays({ selections }: AssignParts): readonly Stay[] {
  return selections.flatMap(({ claim, units }) => {
    const { vm } = claim.rule;
    const chosen = units.flat().map(({ address }): Stay => [address, vm]);
    const unfit = [...claim.objections].flatMap(([address, objection]): readonly Stay[] =>
      isExcluding(objection) || objection.kind === "outranked" ? [] : [[address, vm]],
    );
    return [...chosen, ...unfit];
  });
}

/** `never` and `allow` win over everything, also over what a VM has. */
function isExcluding(objection: HeldReason | null): boolean {
  return objection?.kind === "never" || objection?.kind === "not-allowed";
}
