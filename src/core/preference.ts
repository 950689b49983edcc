/** What a select rule likes better: the order in which its candidates are tried (semantics.md 4). */
import { compareAddresses, type PciAddress } from "./address.js";
import type { Device } from "./device.js";
import type { Preference, SelectRule } from "./policy.js";

/** What preferences look at beside the candidates. */
export interface Tastes {
  /** The NUMA node of the VM; `undefined` where its entry names none. */
  readonly numaNode: number | undefined;
  /** Root ports of what another rule, decided earlier, was given. */
  readonly rootsOf: (rule: string) => ReadonlySet<PciAddress>;
}

/** A candidate: what is taken together. The first member's facts speak for it. */
type Unit = readonly Device[];

/** Orders candidates: the first preference first, the lowest address in the end. */
export function byPreference(rule: Pick<SelectRule, "prefer">, tastes: Tastes): (a: Unit, b: Unit) => number {
  return (a, b) => {
    for (const preference of rule.prefer) {
      const difference = compareBy(preference, a, b, tastes);
      if (difference !== 0) {
        return difference;
      }
    }
    return compareUnits(a, b);
  };
}

/** Compares two candidates by one preference alone; 0 where it has nothing to choose between them. */
export function compareBy(preference: Preference, a: Unit, b: Unit, tastes: Tastes): number {
  switch (preference.by) {
    case "numa":
      return distance(a, tastes.numaNode) - distance(b, tastes.numaNode);
    case "sameRootAs": {
      const roots = tastes.rootsOf(preference.rule);
      return Number(isBelow(b, roots)) - Number(isBelow(a, roots));
    }
    case "address":
      return preference.order === "lowest" ? compareUnits(a, b) : compareUnits(b, a);
    case "memory": {
      const sign = preference.order === "smallest" ? 1 : -1;
      return (memoryOf(a, sign) - memoryOf(b, sign)) * sign;
    }
  }
}

function compareUnits([a]: Unit, [b]: Unit): number {
  return a === undefined || b === undefined ? 0 : compareAddresses(a.address, b.address);
}

/** The VM's own node, then others, then what has none. */
function distance([first]: Unit, node: number | undefined): number {
  const own = first?.numaNode;
  if (node === undefined) {
    return 0;
  }
  return own === undefined || own < 0 ? 2 : Number(own !== node);
}

function isBelow([first]: Unit, roots: ReadonlySet<PciAddress>): boolean {
  return typeof first?.root === "string" && roots.has(first.root);
}

/** What is not known comes last, whichever end is wanted. */
function memoryOf(unit: Unit, sign: number): number {
  const known = unit.map((device) => device.memory);
  return known.includes(undefined)
    ? sign * Number.MAX_SAFE_INTEGER
    : known.reduce<number>((sum, bytes) => sum + (bytes ?? 0), 0);
}
