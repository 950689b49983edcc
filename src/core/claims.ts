/**
 * What the rules say about each device, before anybody's moment, group or neighbour is looked at.
 */
import type { PciAddress } from "./address.js";
import type { Device } from "./device.js";
import type { HeldReason } from "./held.js";
import { isBridgeDevice } from "./iommu-group.js";
import { delicacyOf } from "./pci-class.js";
import { type Policy, type Rule, vmsOf } from "./policy.js";
import type { Protection } from "./protection.js";
import { evaluateSelector, verdictOf } from "./selector.js";
import type { World } from "./world.js";

/** A device that one or more rules speak of. */
export interface DeviceClaim {
  readonly device: Device;
  /** The rules that match, in file order. */
  readonly rules: readonly Rule[];
  /** Why nobody may have it for its own sake; `null` when nothing stands against it. */
  readonly against: HeldReason | null;
}

/**
 * Evaluates every rule on every device.
 *
 * Claims for the same VM never conflict; claims of two VMs on one device do, and then nobody gets it
 * (semantics.md 4). An unknown fact is no match: the device is held until it is known (semantics.md 3).
 */
export function claimsOf({ policy, devices, protections }: ClaimFacts): Claims {
  const claims = new Map<PciAddress, DeviceClaim>();
  for (const device of policy === null ? [] : devices.values()) {
    const claim = policy === null ? null : claimOf(policy, device, protections.get(device.address));
    if (claim !== null) {
      claims.set(device.address, claim);
    }
  }
  return claims;
}

/** What claims depend on. */
export type ClaimFacts = Pick<World, "policy" | "devices" | "protections">;
export type Claims = ReadonlyMap<PciAddress, DeviceClaim>;

/**
 * Claims of one world after the other: only what has changed since the last one is evaluated again. The answer is that
 * of {@link claimsOf}; 4,096 devices and 200 rules take about a second from scratch.
 */
export class ClaimCache {
  #facts: ClaimFacts | null = null;
  #known = new Map<
    PciAddress,
    { device: Device; protection: Protection | undefined; claim: DeviceClaim | null }
  >();
  #claims: Claims = new Map();

  of(world: World): Claims {
    const { policy, devices, protections } = world;
    const last = this.#facts;
    if (last?.policy === policy && last.devices === devices && last.protections === protections) {
      return this.#claims;
    }
    const known = last?.policy === policy ? this.#known : new Map();
    this.#facts = { policy, devices, protections };
    this.#known = new Map();
    const claims = new Map<PciAddress, DeviceClaim>();
    for (const device of policy === null ? [] : devices.values()) {
      const protection = protections.get(device.address);
      const before = known.get(device.address);
      const isSame = before?.device === device && before.protection === protection;
      const claim = isSame || policy === null ? (before?.claim ?? null) : claimOf(policy, device, protection);
      this.#known.set(device.address, { device, protection, claim });
      if (claim !== null) {
        claims.set(device.address, claim);
      }
    }
    this.#claims = claims;
    return claims;
  }
}

/** What one rule says about one device, where it says anything. */
type Finding =
  | { readonly kind: "match"; readonly rule: Rule }
  | { readonly kind: "unknown"; readonly keys: readonly string[] }
  | { readonly kind: "delicate"; readonly what: string };

function claimOf(policy: Policy, device: Device, protection: Protection | undefined): DeviceClaim | null {
  const findings = policy.rules.flatMap((rule) => findingOf(rule, device));
  const rules = findings.flatMap((finding) => (finding.kind === "match" ? [finding.rule] : []));
  if (rules.length > 0) {
    return { device, rules, against: objectionTo(device, rules, protection) };
  }
  const keys = findings.flatMap((finding) => (finding.kind === "unknown" ? finding.keys : []));
  if (keys.length > 0) {
    return { device, rules, against: { kind: "fact-unknown", keys: [...new Set(keys)] } };
  }
  const [first] = findings;
  return first?.kind === "delicate"
    ? { device, rules, against: { kind: "delicate-class", what: first.what } }
    : null;
}

function findingOf(rule: Rule, device: Device): Finding[] {
  const verdict = verdictOf(rule.match, device);
  if (verdict === "no-match") {
    return [];
  }
  if (verdict === "unknown") {
    const { keys } = evaluateSelector(rule.match, device);
    return [{ kind: "unknown", keys: keys.filter((key) => key.verdict === "unknown").map((key) => key.key) }];
  }
  const what = rule.match.isWildcardOnly ? delicacyOf(device.class) : undefined;
  return [what === undefined ? { kind: "match", rule } : { kind: "delicate", what }];
}

function objectionTo(
  device: Device,
  rules: readonly Rule[],
  protection: Protection | undefined,
): HeldReason | null {
  const because = isBridgeDevice(device) ? "bridges are never taken" : protection?.because;
  if (because !== undefined) {
    return { kind: "protected", because };
  }
  const vms = [...new Set(rules.flatMap(vmsOf))];
  if (vms.length > 1) {
    return { kind: "conflict", rules: rules.map((rule) => rule.name), vms };
  }
  if (typeof device.iommuGroup !== "number") {
    return { kind: "no-iommu-group" };
  }
  return null;
}

/** The VM that a claim is for; `undefined` when nobody may have the device. */
export function claimant(claim: DeviceClaim | undefined): string | undefined {
  const [rule] = claim?.rules ?? [];
  return claim === undefined || claim.against !== null || rule === undefined ? undefined : vmsOf(rule)[0];
}
