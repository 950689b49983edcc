/** Who should have what, and why not: the decisions of all islands as one. */
import { compareAddresses, type PciAddress } from "./address.js";
import type { Shortage } from "./assign-parts.js";
import type { Decision } from "./decision.js";
import type { Findings } from "./findings.js";
import type { Unit } from "./unit.js";

export interface Assignment extends Decision {
  /** Device -> unit, for the members of every unit. */
  readonly byDevice: ReadonlyMap<PciAddress, Unit>;
  /** VM -> its units, sorted like all of them. */
  readonly byVm: ReadonlyMap<string, readonly Unit[]>;
  /** What the rules say about every device that any of them speaks of. */
  readonly findings: Findings;
}

/** Joins decisions that have nothing in common. */
export function joinDecisions(decisions: readonly Decision[], findings: Findings): Assignment {
  const units = decisions.flatMap((decision) => decision.units).sort(byFirstMember);
  const selections = decisions.flatMap((decision) => decision.selections);
  return {
    units,
    held: decisions
      .flatMap((decision) => decision.held)
      .sort((a, b) => compareAddresses(a.address, b.address)),
    exact: joinMaps(decisions.map(({ exact }) => exact)),
    selections: selections.sort((a, b) => a.claim.ranked.rank - b.claim.ranked.rank),
    shortages: inOrderOf(
      selections,
      decisions.flatMap((decision) => decision.shortages),
    ),
    staying: joinMaps(decisions.map((decision) => decision.staying)),
    byDevice: unitsByDevice(units),
    byVm: unitsByVm(units),
    findings,
  };
}

function inOrderOf(selections: Decision["selections"], shortages: readonly Shortage[]): readonly Shortage[] {
  const byRule = new Map(shortages.map((shortage) => [shortage.rule, shortage]));
  return selections.flatMap(({ claim }) => byRule.get(claim.rule.name) ?? []);
}

function byFirstMember({ members: [a] }: Unit, { members: [b] }: Unit): number {
  return a === undefined || b === undefined ? 0 : compareAddresses(a, b);
}

function joinMaps<Key, Value>(maps: readonly ReadonlyMap<Key, Value>[]): ReadonlyMap<Key, Value> {
  const joined = new Map<Key, Value>();
  for (const map of maps) {
    for (const [key, value] of map) {
      joined.set(key, value);
    }
  }
  return joined;
}

function unitsByDevice(units: readonly Unit[]): ReadonlyMap<PciAddress, Unit> {
  const byDevice = new Map<PciAddress, Unit>();
  for (const unit of units) {
    for (const member of unit.members) {
      byDevice.set(member, unit);
    }
  }
  return byDevice;
}

function unitsByVm(units: readonly Unit[]): ReadonlyMap<string, readonly Unit[]> {
  const byVm = new Map<string, Unit[]>();
  for (const unit of units) {
    const others = byVm.get(unit.vm);
    if (others === undefined) {
      byVm.set(unit.vm, [unit]);
    } else {
      others.push(unit);
    }
  }
  return byVm;
}
