/** Remembers what was decided last about each device, so that only a change of mind becomes a line of the audit. */
import type { AuditEntry } from "../audit/record.js";
import type { PciAddress } from "../core/address.js";
import { describeHeld } from "../core/held-text.js";
import { type Plan, planAll } from "../core/plan.js";
import type { Scene } from "../core/scene.js";
import { addressesOf } from "../core/step.js";
import type { Unit } from "../core/unit.js";
import type { World } from "../core/world.js";

type DecisionEntry = Extract<AuditEntry, { event: "decision" }>;

export class DecisionLog {
  #last: ReadonlyMap<string, DecisionEntry> = new Map();
  /** Device -> the decision about whose it is, in one text. */
  #owners: ReadonlyMap<PciAddress, string> = new Map();

  /** What was decided anew in this world: who waits and why, who waits no more, and, observing, what would be done. */
  news(world: World, scene: Scene): AuditEntry[] {
    if (world.policy === null || !world.isHostSeen) {
      return [];
    }
    const plan = planAll(world, scene);
    const entries = [
      ...heldEntries(world, plan),
      ...(world.mode === "observe" ? wouldEntries(world, plan) : []),
    ];
    const now = new Map(entries.map((entry) => [keyOf(entry), entry]));
    const news = [...now].filter(([key]) => !this.#last.has(key)).map(([, entry]) => entry);
    const waiting = new Set(entries.map((entry) => entry.address));
    const cleared = new Set(
      [...this.#last.values()].map((entry) => entry.address).filter((address) => !waiting.has(address)),
    );
    this.#last = now;
    return [
      ...this.#newOwners(world, scene),
      ...[...cleared].map((address) => clearEntry(world, address)),
      ...news,
    ];
  }

  /** Devices that belong to another VM, or to one by another rule or right, than at the last turn. */
  #newOwners(world: World, scene: Scene): DecisionEntry[] {
    const before = this.#owners;
    const { byDevice } = scene.assignment;
    this.#owners = new Map(
      [...byDevice].map(([address, unit]) => [address, ownerText(world, address, unit, before.get(address))]),
    );
    return [...byDevice]
      .filter(([address]) => before.get(address) !== this.#owners.get(address))
      .map(([address, unit]) => assignedEntry(world, address, unit));
  }
}

function assignedEntry(world: World, address: PciAddress, unit: Unit): DecisionEntry {
  const { vm, iommuGroup, members } = unit;
  const rule = unit.rules.get(address)?.name ?? unit.rule;
  const override = overriddenBy(world, address, unit);
  return {
    atMs: world.nowMs,
    event: "decision",
    who: "agent",
    what: `${address} belongs to ${vm}`,
    why: override === null ? `rule ${rule} matches it` : `rule ${rule} overrides its protection: ${override}`,
    vm,
    rule,
    address,
    after: { verdict: "assigned", iommuGroup, members, ...(override === null ? {} : { override }) },
  };
}

/**
 * Whose the device is and by what right, in one text. Having it in spite of a protection is another decision, also where
 * the protection came later; that nothing protects it once its driver has let go is none.
 */
function ownerText(world: World, address: PciAddress, unit: Unit, before: string | undefined): string {
  const owner = `${unit.vm}/${unit.rules.get(address)?.name ?? unit.rule}`;
  const overriding = `${owner}/override`;
  return overriddenBy(world, address, unit) !== null || before === overriding ? overriding : owner;
}

/** Why the host needs the device that an override gives away (semantics.md 8); `null`: no override was needed. */
function overriddenBy(world: World, address: PciAddress, { rules }: Unit): string | null {
  return rules.get(address)?.isOverride === true ? (world.protections.get(address)?.because ?? null) : null;
}

function heldEntries(world: World, plan: Plan): DecisionEntry[] {
  // A VM that was not looked at yet is no decision: it is the agent that is not ready.
  const decided = plan.held.filter((held) => held.reason.kind !== "vm-unknown");
  return decided.map((held) => ({
    atMs: world.nowMs,
    event: "decision",
    who: "agent",
    what: `${held.address} is held`,
    why: describeHeld(held.reason),
    ...(held.vm === null ? {} : { vm: held.vm }),
    ...(held.rule === null ? {} : { rule: held.rule }),
    address: held.address,
    after: { verdict: "held", reason: held.reason },
  }));
}

function wouldEntries(world: World, plan: Plan): DecisionEntry[] {
  return plan.steps.flatMap((step) =>
    addressesOf(step).map((address) => ({
      atMs: world.nowMs,
      event: "decision",
      who: "agent",
      what: `${address}: would ${step.kind}`,
      vm: step.vm,
      address,
      after: { verdict: "planned", step },
      would: true,
    })),
  );
}

function clearEntry(world: World, address: PciAddress): DecisionEntry {
  const what = `${address} waits no more`;
  return { atMs: world.nowMs, event: "decision", who: "agent", what, address, after: { verdict: "clear" } };
}

/** The decision without its moment. */
function keyOf({ atMs: _, ...decision }: DecisionEntry): string {
  return JSON.stringify(decision);
}
