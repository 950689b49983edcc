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

/** How often a selection is made again because an IOMMU group turned out not to be takeable. */
const MOST_ROUNDS = 64;

/** Chooses, looks at whole IOMMU groups, and chooses again without the units that cannot be taken after all. */
export function chooseSoundly(
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
    const fresh = refusedUnits(selections, decision, forbidden);
    if (fresh.length === 0 || round === MOST_ROUNDS) {
      return { decision, selections, forbidden };
    }
    for (const [key, reason] of fresh) {
      forbidden.set(key, reason);
    }
  }
}

/**
 * The chosen units that cannot be taken. Where an IOMMU group lacks only what the same VM could have as well, the other
 * units go first: without them the choice may take the group whole. Else the last of them goes.
 */
function refusedUnits(
  selections: readonly Selection[],
  decision: GroupDecision,
  forbidden: Forbidden,
): readonly (readonly [string, HeldReason])[] {
  const refused = selections.flatMap(({ claim, units }) =>
    units.flatMap((unit) => {
      const key = forbiddenKey(claim.rule, unit);
      const reason = unit.map((member) => decision.refused.get(member.address)).find(Boolean);
      return reason === undefined || forbidden.has(key) ? [] : [{ key, reason, vm: claim.rule.vm }];
    }),
  );
  const isOpen = (address: PciAddress, vm: string) =>
    selections.some(
      ({ claim: { rule, pools } }) =>
        rule.vm === vm &&
        pools
          .flat()
          .some(
            (unit) =>
              unit.some((member) => member.address === address) && !forbidden.has(forbiddenKey(rule, unit)),
          ),
    );
  const hopeless = refused.filter(
    ({ reason, vm }) =>
      reason.kind !== "iommu-group-blocked" ||
      !reason.blockers.every((blocker) => isOpen(blocker.address, vm)),
  );
  return (hopeless.length > 0 ? hopeless : refused.slice(-1)).map(
    ({ key, reason }) => [key, reason] as const,
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
