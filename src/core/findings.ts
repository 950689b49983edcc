/**
 * What the rules say about each device, before anybody's moment, IOMMU group or neighbour is looked at.
 */
import type { PciAddress } from "./address.js";
import { inAddressOrder } from "./address-order.js";
import type { Device } from "./device.js";
import type { HeldReason } from "./held.js";
import { type Policy, type Rule, vmsOf } from "./policy.js";
import { type RankedRule, rankRules } from "./ranking.js";
import { RuleIndex } from "./rule-index.js";
import { evaluateSelector, verdictOf } from "./selector.js";
import { nameOfKey } from "./selector-key.js";
import { anyOf } from "./verdict.js";
import type { World } from "./world.js";

/** Why no rule may have a device: the top-level `never` and `allow`; `unknown`: what they ask for is not known. */
export type Exclusion = "never" | "not-allowed" | "unknown";

/** What the rules say about one device. */
export interface DeviceFindings {
  readonly device: Device;
  readonly exclusion: Exclusion | null;
  /** The rules that match for certain, first in rank first. */
  readonly matches: readonly RankedRule[];
  /** The rules that ask for a fact that is not known (semantics.md 3). */
  readonly open: readonly RankedRule[];
}

/** The devices that any rule speaks of, in address order. */
export type Findings = ReadonlyMap<PciAddress, DeviceFindings>;

/** Rule -> the devices that match it for certain, in the order of the inventory. */
export type MatchesByRule = ReadonlyMap<Rule, readonly Device[]>;

/** The findings the other way round. */
export function matchesByRule(findings: Findings): MatchesByRule {
  const matched = new Map<Rule, Device[]>();
  for (const { device, matches } of findings.values()) {
    for (const { rule } of matches) {
      const devices = matched.get(rule);
      if (devices === undefined) {
        matched.set(rule, [device]);
      } else {
        devices.push(device);
      }
    }
  }
  return matched;
}

/**
 * The rules that would go before this one, or be in conflict with it, and want the device for another VM, should a fact
 * of it that is not known yet turn out as they ask. Until then nobody takes it: the order in which facts come to light
 * must not show (semantics.md 3 and 4).
 */
export function openRivals(
  found: DeviceFindings | undefined,
  vm: string | null,
  claim: RankedRule,
  priority: number,
): readonly RankedRule[] {
  const { open = [], matches = [] } = found ?? {};
  return open.filter(
    (other) =>
      vmsOf(other.rule).some((name) => name !== vm) &&
      (other.rule.priority > priority ||
        (other.rule.priority === priority && isRival(other, claim, vm, [claim, ...matches]))),
  );
}

/** Whether a rule of the same priority would keep another one's VM from a device, for which these rules speak, too. */
function isRival(
  open: RankedRule,
  claim: RankedRule,
  vm: string | null,
  others: readonly RankedRule[],
): boolean {
  const goesFirst = open.rank < claim.rank;
  if (open.rule.mode === "select") {
    return claim.rule.mode === "select" && goesFirst;
  }
  // As two claims agree that are both known (exact-claims.ts).
  const isAgreed =
    open.rule.onConflict === "first" &&
    others.some(
      ({ rule, rank }) =>
        rule.mode !== "select" &&
        rule.onConflict === "first" &&
        rule.priority === open.rule.priority &&
        rank < open.rank &&
        vmsOf(rule).some((name) => name === vm),
    );
  return claim.rule.mode === "select" || !isAgreed || goesFirst;
}

/** The keys on which these rules ask for what is not known of the device. */
export function unknownKeysOf(
  open: readonly RankedRule[],
  found: DeviceFindings | undefined,
): readonly string[] {
  const keys = open.flatMap(({ rule }) =>
    found === undefined
      ? []
      : evaluateSelector(rule.match, found.device).keys.filter((entry) => entry.verdict === "unknown"),
  );
  return [...new Set(keys.map(nameOfKey))];
}

/** Evaluates every rule on every device. */
export function findingsOf(world: Pick<World, "policy" | "devices">): Findings {
  return new FindingsCache().of(world);
}

/**
 * Findings of one world after the other: only devices that have changed are evaluated again. The answer is that of
 * {@link findingsOf}.
 */
export class FindingsCache {
  #policy: Policy | null = null;
  #devices: World["devices"] | null = null;
  #index: RuleIndex = new RuleIndex([]);
  #findings: Findings = new Map();
  /** Devices that no rule speaks of. */
  #ignored = new WeakSet<Device>();

  of({ policy, devices }: Pick<World, "policy" | "devices">): Findings {
    if (this.#policy === policy && this.#devices === devices) {
      return this.#findings;
    }
    if (this.#policy !== policy) {
      this.#index = new RuleIndex(policy === null ? [] : rankRules(policy));
      this.#findings = new Map();
      this.#ignored = new WeakSet();
    }
    const findings = new Map<PciAddress, DeviceFindings>();
    for (const [address, device] of policy === null ? [] : inAddressOrder(devices)) {
      const before = this.#findings.get(address);
      const found = before?.device === device ? before : this.#find(policy, device);
      if (found !== null) {
        findings.set(address, found);
      }
    }
    this.#policy = policy;
    this.#devices = devices;
    this.#findings = findings;
    return findings;
  }

  #find(policy: Policy | null, device: Device): DeviceFindings | null {
    if (policy === null || this.#ignored.has(device)) {
      return null;
    }
    const matches: RankedRule[] = [];
    const open: RankedRule[] = [];
    for (const ranked of this.#index.candidates(device)) {
      const verdict = verdictOf(ranked.rule.match, device);
      if (verdict !== "no-match") {
        (verdict === "match" ? matches : open).push(ranked);
      }
    }
    if (matches.length + open.length === 0) {
      this.#ignored.add(device);
      return null;
    }
    return { device, exclusion: exclusionOf(policy, device), matches, open };
  }
}

/** Whether `never` or `allow` keeps the device from every rule. */
export function exclusionOf(
  { never, allow }: Pick<Policy, "never" | "allow">,
  device: Device,
): Exclusion | null {
  const isNever = anyOf(never.map((selector) => verdictOf(selector, device)));
  const isAllowed = allow === null ? "match" : anyOf(allow.map((selector) => verdictOf(selector, device)));
  if (isNever === "match") {
    return "never";
  }
  if (isAllowed === "no-match") {
    return "not-allowed";
  }
  // Nothing is taken on it, and nothing is given up (semantics.md 3).
  return isNever === "unknown" || isAllowed === "unknown" ? "unknown" : null;
}

/** An exclusion as a reason. */
export function excludedBy(exclusion: Exclusion): HeldReason {
  return exclusion === "unknown" ? { kind: "fact-unknown", keys: ["never or allow"] } : { kind: exclusion };
}
