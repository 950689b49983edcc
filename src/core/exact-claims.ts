/**
 * Exact claims: what batch and group rules, and the operator's own orders, want of each device; and who of several
 * gets it (semantics.md 4).
 */
import type { PciAddress } from "./address.js";
import { classify } from "./classes.js";
import type { Device } from "./device.js";
import type { MatchesByRule } from "./findings.js";
import type { HeldReason } from "./held.js";
import { describeHeld } from "./held-text.js";
import { followPins } from "./pinning.js";
import { type GroupRule, type Rule, vmsOf } from "./policy.js";
import type { RankedRule } from "./ranking.js";
import type { Situation } from "./situation.js";

/** That one rule wants one device for one VM. */
export interface Claim {
  readonly rule: Rule;
  /** Place in the order of the rules; orders of the operator stand before all. */
  readonly rank: number;
  /** `null`: the rule would have to say which, and it may not have the device anyway. */
  readonly vm: string | null;
  readonly device: Device;
  /** Why it may not have it for the device's own sake. */
  readonly objection: HeldReason | null;
  /** Everything that is taken together with the device, itself included. */
  readonly unit: readonly PciAddress[];
}

/** Device -> what exact rules want of it, first in rank first. */
export type ExactClaims = ReadonlyMap<PciAddress, readonly Claim[]>;

/** Rank of an operator's own `attach`: above all rules (semantics.md 5). */
const ORDER_RANK = -1;

/** Collects what batch rules, group rules and orders want. */
export function collectExactClaims(situation: Situation, matches: MatchesByRule): ExactClaims {
  const collector = new Collector(situation);
  for (const order of situation.orders) {
    const device = situation.world.devices.get(order.address);
    if (device !== undefined) {
      collector.add({ rule: order.rule, rank: ORDER_RANK }, order.vm, device);
    }
  }
  for (const ranked of situation.ranked) {
    collector.addRule(ranked, matches.get(ranked.rule) ?? []);
  }
  return collector.claims();
}

class Collector {
  readonly #situation: Situation;
  readonly #claims = new Map<PciAddress, Claim[]>();

  constructor(situation: Situation) {
    this.#situation = situation;
  }

  claims(): ExactClaims {
    return this.#claims;
  }

  addRule(ranked: RankedRule, matched: readonly Device[]): void {
    const { rule } = ranked;
    if (rule.mode === "select" || (matched.length === 0 && !rule.isPinned)) {
      return;
    }
    const { intents, devices } = this.#situation.world;
    const { devices: meant, drifted } = rule.isPinned
      ? followPins(rule, matched, intents.pins, devices)
      : { devices: matched, drifted: new Map<PciAddress, HeldReason>() };
    if (rule.mode === "batch") {
      for (const device of meant) {
        this.add(ranked, rule.vm, device);
      }
    } else {
      this.#addClasses({ ...ranked, rule }, meant);
    }
    for (const [address, objection] of drifted) {
      const device = devices.get(address);
      if (device !== undefined) {
        const vm = rule.mode === "batch" ? rule.vm : this.#keeperFor(rule, address);
        this.#put({ ...ranked, vm, device, objection, unit: [address] });
      }
    }
  }

  #addClasses(ranked: RankedRule & { readonly rule: GroupRule }, matched: readonly Device[]): void {
    const { rule } = ranked;
    const byAddress = [...matched].sort(this.#situation.inOrder);
    const objections = new Map(
      byAddress.map((device) => [device.address, this.#situation.objectionTo(rule, null, device)]),
    );
    const fit = this.#anchorsOf(
      rule,
      byAddress.filter((device) => objections.get(device.address) === null),
    );
    const keptBy = (address: PciAddress) => this.#situation.keeperBy(rule, address);
    for (const { device, class: name, vm } of classify(rule, fit, keptBy)) {
      if (vm === null) {
        this.#putUnfit(ranked, device, { kind: "no-class", class: name });
      } else {
        this.add(ranked, vm, device);
      }
    }
    for (const [address, objection] of objections) {
      const device = this.#situation.world.devices.get(address);
      if (objection !== null && device !== undefined) {
        this.#putUnfit(ranked, device, objection);
      }
    }
  }

  /** The devices that units are made around: one that comes along with an earlier one makes no unit of its own. */
  #anchorsOf(rule: GroupRule, devices: readonly Device[]): readonly Device[] {
    const covered = new Set<PciAddress>();
    return devices.filter((device) => {
      const isAnchor = !covered.has(device.address);
      for (const { address } of isAnchor ? this.#situation.topology.unitOf(device, rule) : []) {
        covered.add(address);
      }
      return isAnchor;
    });
  }

  /** A unit that a group rule may not have now, for the sake of the device that matched. */
  #putUnfit(ranked: RankedRule & { readonly rule: GroupRule }, device: Device, reason: HeldReason): void {
    const members = this.#situation.topology.unitOf(device, ranked.rule);
    const unit = members.map((member) => member.address);
    for (const member of members) {
      const isAnchor = member === device;
      const objection: HeldReason = isAnchor
        ? reason
        : { kind: "unit-incomplete", member: device.address, why: describeHeld(reason) };
      const vm = this.#keeperFor(ranked.rule, member.address);
      if (isAnchor || vm !== null) {
        this.#put({ ...ranked, vm, device: member, objection, unit });
      }
    }
  }

  /** Where a device is that a group rule may not have now: there it stays. */
  #keeperFor(rule: GroupRule, address: PciAddress): string | null {
    const keeper = this.#situation.keeperOf(address);
    return keeper !== undefined && vmsOf(rule).includes(keeper) ? keeper : null;
  }

  /** Adds the claims of a whole unit around a device that matched. */
  add(ranked: RankedRule, vm: string, device: Device): void {
    if (this.#situation.isSilent(ranked.rule, vm, device.address)) {
      return;
    }
    const { rule, rank } = ranked;
    const members = this.#situation.topology.unitOf(device, rule);
    const unit = members.map((member) => member.address);
    const objections = members.map((member) =>
      this.#situation.objectionTo(rule, vm, member, member === device),
    );
    members.forEach((member, index) => {
      const objection = objections[index] ?? incompleteBy(member, members, objections);
      this.#put({ rule, rank, vm, device: member, objection, unit });
    });
  }

  /** One claim of a rule for a VM on a device is enough, and one without an objection is the better one. */
  #put(claim: Claim): void {
    const claims = this.#claims.get(claim.device.address) ?? [];
    const twin = claims.findIndex((other) => other.rank === claim.rank && other.vm === claim.vm);
    if (twin < 0) {
      claims.push(claim);
    } else if (claims[twin]?.objection !== null && claim.objection === null) {
      claims[twin] = claim;
    }
    this.#claims.set(claim.device.address, claims);
  }
}

/** That another member of its unit may not be taken. */
function incompleteBy(
  member: Device,
  members: readonly Device[],
  objections: readonly (HeldReason | null)[],
): HeldReason | null {
  for (const [index, objection] of objections.entries()) {
    const other = members[index];
    if (objection !== null && other !== undefined && other !== member) {
      return { kind: "unit-incomplete", member: other.address, why: describeHeld(objection) };
    }
  }
  return null;
}

/** Who gets a device among exact claims. */
export type ExactVerdict =
  | { readonly kind: "owner"; readonly claim: Claim; readonly isKept: boolean }
  | { readonly kind: "conflict"; readonly claims: readonly Claim[] }
  /** A VM has it already, by a select rule, and keeps it. */
  | { readonly kind: "waits"; readonly vm: string }
  /** Rules that would go first, or be in conflict, ask for facts of it that are not known. */
  | { readonly kind: "open"; readonly rules: readonly RankedRule[] }
  | { readonly kind: "nobody" };

/**
 * The first in rank of those that may; equal priorities of two VMs conflict, unless both say `onConflict: first`.
 * `isKept`: whether the device is where it is by this very claim; it stays there while the claim stands, unless a strictly
 * higher priority preempts.
 */
export function ownerAmong(claims: readonly Claim[], isKept: (claim: Claim) => boolean): ExactVerdict {
  const fit = claims.filter((claim) => claim.objection === null);
  const [first] = fit;
  if (first === undefined) {
    return { kind: "nobody" };
  }
  const kept = fit.find(isKept);
  if (kept !== undefined && !(first.rule.preempt && priorityOf(first) > priorityOf(kept))) {
    return { kind: "owner", claim: kept, isKept: true };
  }
  const equals = fit.filter((claim) => priorityOf(claim) === priorityOf(first));
  return equals.some((claim) => isAgainst(claim, first.vm, equals))
    ? { kind: "conflict", claims: equals }
    : { kind: "owner", claim: first, isKept: false };
}

/** Whether a claim of another VM stands against the first one's: it, and one of that VM before it, must say `first`. */
function isAgainst(claim: Claim, vm: string | null, equals: readonly Claim[]): boolean {
  const yields = ({ rule }: Claim) => rule.onConflict === "first";
  const isSettled = equals.some((own) => own.vm === vm && own.rank < claim.rank && yields(own));
  return claim.vm !== vm && !(yields(claim) && isSettled);
}

/** Priority of a claim; an operator's order stands above every rule. */
export function priorityOf(claim: Pick<Claim, "rank" | "rule">): number {
  return claim.rank === ORDER_RANK ? Number.POSITIVE_INFINITY : claim.rule.priority;
}
