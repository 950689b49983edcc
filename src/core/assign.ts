/**
 * Who should have what, and why not: the whole of the deciding that needs no moment.
 *
 * Pure and total. The same inventory, policy, protections and intents give the same answer, in the same order, whatever
 * order events came in. What a VM has already in this boot it keeps while its rule allows it (semantics.md 4).
 */
import type { PciAddress } from "./address.js";
import { type Assignment, joinDecisions } from "./assignment.js";
import { type Decision, decide } from "./decision.js";
import { isInForce } from "./eligibility.js";
import { type Findings, FindingsCache, findingsOf } from "./findings.js";
import { type Island, Islands } from "./islands.js";
import { type AssignWorld, isGraceOver, Situation } from "./situation.js";

/** Decides which VM each device belongs to. */
export function assign(world: AssignWorld, findings: Findings = findingsOf(world)): Assignment {
  return new AssignmentCache().of(world, findings);
}

/** An island's decision, and the part of the world that it was made from. */
interface Decided {
  readonly part: AssignWorld;
  readonly decision: Decision;
}

/**
 * Assignments of one world after the other: only islands on which something has changed are decided again. The answer
 * is that of {@link assign}.
 */
export class AssignmentCache {
  readonly #findings = new FindingsCache();
  readonly #islands = new Islands();
  #common: readonly unknown[] = [];
  #decided: ReadonlyMap<Island, Decided> = new Map();

  of(world: AssignWorld, findings: Findings = this.#findings.of(world)): Assignment {
    const climate = climateOf(world);
    const common = factsOf(climate);
    const known = isSameList(this.#common, common) ? this.#decided : new Map<Island, Decided>();
    const decided = new Map<Island, Decided>();
    for (const island of this.#islands.of(world, findings)) {
      const before = known.get(island);
      const isKnown = before !== undefined && isUnchanged(before.part, island, world);
      decided.set(island, isKnown ? before : decideOn(island, partOf(world, climate, island), findings));
    }
    this.#common = common;
    this.#decided = decided;
    const decisions = Array.from(decided.values(), ({ decision }) => decision);
    return joinDecisions(decisions, findings);
  }
}

function decideOn({ addresses, rules }: Island, part: AssignWorld, all: Findings): Decided {
  const findings = pick(all, addresses);
  const ranked = new Map(rules.map((entry) => [entry.rank, entry]));
  for (const { matches } of findings.values()) {
    for (const entry of matches) {
      ranked.set(entry.rank, entry);
    }
  }
  const inOrder = [...ranked.values()].sort((a, b) => a.rank - b.rank);
  return { part, decision: decide(new Situation(part, inOrder), findings) };
}

/** What all islands have in common. */
type Climate = Omit<AssignWorld, "devices" | "protections" | "leases">;

/** Without what no decision looks at: VMs that are up or unknown, and all of them where no rule says `whenDown: next`. */
function climateOf({ policy, dma, holds, intents, vms, nowMs, inventoryMovedMs }: AssignWorld): Climate {
  const isHeeded = policy?.rules.some(({ whenDown }) => whenDown === "next") === true;
  const absent = isHeeded ? [...vms].filter(([, status]) => status.kind === "absent") : [];
  return { policy, dma, holds, intents, vms: new Map(absent), nowMs, inventoryMovedMs };
}

/** Two climates are the same when these are; time counts only by what it has ended. */
function factsOf({ policy, dma, holds, intents, vms, nowMs, inventoryMovedMs }: Climate): readonly unknown[] {
  return [
    ...[policy, dma, holds, intents.pins, intents.orders, intents.quarantines, inventoryMovedMs === null],
    ...intents.reservations.filter((entry) => isInForce(entry, nowMs)),
    ...Array.from(vms, ([vm, status]) => `${vm} ${isGraceOver({ policy, nowMs }, status)}`),
  ];
}

function partOf(world: AssignWorld, climate: Climate, { addresses }: Island): AssignWorld {
  return {
    ...climate,
    devices: pick(world.devices, addresses),
    protections: pick(world.protections, addresses),
    leases: pick(world.leases, addresses),
  };
}

function pick<Value>(
  map: ReadonlyMap<PciAddress, Value>,
  addresses: readonly PciAddress[],
): ReadonlyMap<PciAddress, Value> {
  const picked = new Map<PciAddress, Value>();
  for (const address of addresses) {
    const value = map.get(address);
    if (value !== undefined) {
      picked.set(address, value);
    }
  }
  return picked;
}

/** Whether the devices of the island, and what is noted of each, are the very same as in its part of an earlier world. */
function isUnchanged(part: AssignWorld, { addresses }: Island, world: AssignWorld): boolean {
  return addresses.every(
    (address) =>
      part.devices.get(address) === world.devices.get(address) &&
      part.protections.get(address) === world.protections.get(address) &&
      part.leases.get(address) === world.leases.get(address),
  );
}

function isSameList(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((entry, index) => entry === b[index]);
}
