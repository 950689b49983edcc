/**
 * Finds out what a rule's say about a device came to, from what `assign` decided. Decides nothing by itself.
 */
import type { PciAddress } from "./address.js";
import { ruleOf } from "./assignment-report.js";
import type { Device } from "./device.js";
import type { Claim } from "./exact-claims.js";
import { excludedBy } from "./findings.js";
import type { HeldReason } from "./held.js";
import { listed, type Outcome } from "./outcome.js";
import { type Preference, type Rule, type SelectRule, vmsOf } from "./policy.js";
import { byPreference, compareBy, type Tastes } from "./preference.js";
import type { Scene } from "./scene.js";
import type { Selection } from "./selection.js";
import { evaluateSelector } from "./selector.js";
import { Situation } from "./situation.js";
import { splitGroup } from "./takeable.js";
import type { Unit } from "./unit.js";

type Candidate = readonly Device[];

/** Made afresh for each scene. */
export class OutcomeFinder {
  readonly #scene: Scene;
  readonly #situation: Situation;
  readonly #ranks: ReadonlyMap<string, number>;
  readonly #held: ReadonlyMap<PciAddress, HeldReason>;

  constructor(scene: Scene) {
    this.#scene = scene;
    this.#situation = new Situation(scene.world);
    this.#ranks = new Map(this.#situation.ranked.map(({ rule, rank }) => [rule.name, rank]));
    this.#held = new Map(scene.assignment.held.map(({ address, reason }) => [address, reason]));
  }

  /** Place of a rule in the order of who goes first, from 0; an operator's order stands before all. */
  rankOf(rule: string): number {
    return this.#ranks.get(rule) ?? -1;
  }

  /** The devices that an exact claim or a select rule speaks of beyond what matches it: followed cards, whole units. */
  broughtInBy(rule: Rule): readonly PciAddress[] {
    const { exact, selections } = this.#scene.assignment;
    const claimed = [...exact].flatMap(([address, claims]) =>
      claims.some((claim) => claim.rule === rule) ? [address] : [],
    );
    const chosen = selections.flatMap(({ claim, units }) =>
      claim.rule === rule
        ? [...claim.objections.keys(), ...units.flat().map((member) => member.address)]
        : [],
    );
    return [...new Set([...claimed, ...chosen])];
  }

  /** What became of the device by this rule. */
  of(rule: Rule, device: Device): Outcome {
    const claimed = rule.mode === "select" ? this.#ofSelection(rule, device) : this.#ofClaims(rule, device);
    return claimed ?? this.#unclaimed(rule, device);
  }

  /** The rule claims nothing of the device. */
  #unclaimed(rule: Rule, device: Device): Outcome {
    const { verdict, keys } = evaluateSelector(rule.match, device);
    const [vm = ""] = vmsOf(rule);
    const exclusion = this.#scene.assignment.findings.get(device.address)?.exclusion ?? null;
    const failing = keys.filter((entry) => entry.verdict === verdict).map((entry) => entry.key);
    switch (verdict) {
      case "no-match":
        return { kind: "no-match", keys: failing };
      case "unknown":
        return exclusion === null
          ? { kind: "unknown", keys: failing }
          : { kind: "held", vm: null, reason: excludedBy(exclusion) };
      case "match":
        return this.#givenTo(vm, device.address) ?? { kind: "silent", vm };
    }
  }

  #ofClaims(rule: Rule, { address }: Device): Outcome | null {
    const claims = this.#scene.assignment.exact.get(address) ?? [];
    const own = claims.filter((claim) => claim.rule === rule);
    const claim = own.find(({ objection }) => objection === null) ?? own[0];
    if (claim === undefined) {
      return null;
    }
    if (claim.objection !== null) {
      return { kind: "held", vm: claim.vm, reason: claim.objection };
    }
    const unit = this.#scene.assignment.byDevice.get(address);
    return unit === undefined
      ? { kind: "held", vm: claim.vm, reason: this.#unownedReason(claim, claims) }
      : this.#besideOwner(rule, claim.vm, address, unit);
  }

  /** Nobody has it, though the claim itself has nothing against it. */
  #unownedReason(claim: Claim, claims: readonly Claim[]): HeldReason {
    const reason = this.#held.get(claim.device.address);
    const first = claims.find(({ objection }) => objection === null) ?? claim;
    if (reason?.kind !== "conflict" && first.rule !== claim.rule && first.vm !== claim.vm) {
      return { kind: "outranked", rule: first.rule.name, vm: first.vm ?? "" };
    }
    return reason ?? { kind: "unit-incomplete", member: claim.device.address, why: "another rule has it" };
  }

  #besideOwner(rule: Rule, vm: string | null, address: PciAddress, unit: Unit): Outcome {
    const owner = ruleOf(unit, address);
    if (owner === rule.name) {
      return { kind: "takes", vm: unit.vm };
    }
    if (unit.vm === vm) {
      return { kind: "given", vm, rule: owner };
    }
    const reason: HeldReason =
      this.rankOf(owner) < this.rankOf(rule.name)
        ? { kind: "outranked", rule: owner, vm: unit.vm }
        : { kind: "kept-elsewhere", vm: unit.vm };
    return { kind: "held", vm, reason };
  }

  #givenTo(vm: string, address: PciAddress): Outcome | null {
    const unit = this.#scene.assignment.byDevice.get(address);
    return unit?.vm === vm ? { kind: "given", vm, rule: ruleOf(unit, address) } : null;
  }

  /** The rule counts the device, and another rule of its VM gives it. */
  #givenByOther(rule: SelectRule, address: PciAddress): Outcome | null {
    const given = this.#givenTo(rule.vm, address);
    return given?.kind === "given" && given.rule !== rule.name ? given : null;
  }

  #ofSelection(rule: SelectRule, device: Device): Outcome | null {
    const { selections, byDevice } = this.#scene.assignment;
    const selection = selections.find(({ claim }) => claim.rule === rule);
    if (selection === undefined) {
      return null;
    }
    const { vm } = rule;
    const { address } = device;
    const isChosen = [...selection.given, ...selection.units].some((unit) => isIn(unit, address));
    const unit = byDevice.get(address);
    if (isChosen) {
      const reason = this.#held.get(address);
      return (
        this.#givenByOther(rule, address) ??
        (unit !== undefined || reason === undefined ? { kind: "takes", vm } : { kind: "held", vm, reason })
      );
    }
    const objection = selection.claim.objections.get(address);
    if (objection !== undefined) {
      return { kind: "held", vm, reason: objection };
    }
    const pool = selection.claim.pools.findIndex((candidates) =>
      candidates.some((candidate) => isIn(candidate, address)),
    );
    const candidate = selection.claim.pools[pool]?.find((entry) => isIn(entry, address));
    if (candidate === undefined) {
      return this.#outsidePools(selection, device);
    }
    return this.#leftOver(selection, candidate, unit);
  }

  /** Matches the rule, but none of its alternatives; or is given to its VM by an exact rule. */
  #outsidePools({ claim }: Selection, { address }: Device): Outcome | null {
    const isMatched = this.#scene.assignment.findings
      .get(address)
      ?.matches.some(({ rule }) => rule === claim.rule);
    const { vm } = claim.rule;
    if (isMatched !== true) {
      return null;
    }
    const isSilent = this.#situation.isSilent(claim.rule, vm, address);
    const left: Outcome = { kind: "spare", vm, why: "fits none of its alternatives" };
    return this.#givenTo(vm, address) ?? (isSilent ? { kind: "silent", vm } : left);
  }

  /** In the pool, and not chosen. */
  #leftOver(selection: Selection, candidate: Candidate, unit: Unit | undefined): Outcome {
    const { rule } = selection.claim;
    const { vm } = rule;
    const address = candidate[0]?.address;
    if (this.#hasEnough(selection)) {
      return { kind: "spare", vm, why: this.#whyOthers(selection, candidate) };
    }
    if (unit !== undefined && address !== undefined) {
      return this.#besideOwner(rule, vm, address, unit);
    }
    const reason =
      this.#groupObjection(rule, candidate) ??
      (this.#situation.isSettling ? { kind: "settling" as const } : this.#shortage(rule));
    return reason === null
      ? { kind: "spare", vm, why: "cannot be had beside what others have" }
      : { kind: "held", vm, reason };
  }

  #hasEnough({ alternative, given, units, claim }: Selection): boolean {
    const max = claim.rule.alternatives[alternative ?? 0]?.count.max ?? 0;
    return alternative !== null && given.length + units.length >= max;
  }

  #whyOthers({ units, claim, alternative }: Selection, candidate: Candidate): string {
    const chosen = units.flatMap((unit) => unit.map(({ address }) => address));
    const { rule } = claim;
    const last = units.at(-1);
    const have =
      chosen.length === 0
        ? `has enough: ${rule.vm} has it by other rules`
        : `has enough with ${listed(chosen)}`;
    const isInPool = claim.pools[alternative ?? 0]?.includes(candidate) === true;
    if (last === undefined || !isInPool) {
      return have;
    }
    const tastes: Tastes = {
      numaNode: this.#situation.numaNodeOf(rule.vm),
      rootsOf: (name) => this.#rootsOf(name),
    };
    const better = rule.prefer.find((entry) => compareBy(entry, last, candidate, tastes) !== 0);
    if (byPreference(rule, tastes)(last, candidate) <= 0) {
      return `${have} (preferred: ${describePreference(better)})`;
    }
    // It is liked better than what was taken, and was not taken all the same.
    const reason = this.#groupObjection(rule, candidate);
    return reason?.kind === "iommu-group-blocked" || reason?.kind === "iommu-group-unfit"
      ? `${have}, for IOMMU group ${reason.iommuGroup} cannot be had whole`
      : `${have}, so that other rules have their minimum`;
  }

  #rootsOf(rule: string): ReadonlySet<PciAddress> {
    const { byDevice } = this.#scene.assignment;
    const roots = [...byDevice].flatMap(([address, unit]) =>
      ruleOf(unit, address) === rule ? (this.#scene.world.devices.get(address)?.root ?? []) : [],
    );
    return new Set(roots);
  }

  #shortage(rule: SelectRule): HeldReason | null {
    const shortage = this.#scene.assignment.shortages.find((entry) => entry.rule === rule.name);
    if (shortage === undefined) {
      return null;
    }
    const { needed, found, holders } = shortage;
    return { kind: "short", needed, found, holders };
  }

  /** Why the IOMMU groups of a candidate could not be taken for the rule's VM; `null` where they could. */
  #groupObjection(rule: SelectRule, candidate: Candidate): HeldReason | null {
    const { byDevice, exact } = this.#scene.assignment;
    for (const { iommuGroup } of candidate) {
      const { objection } = splitGroup(
        {
          iommuGroup: iommuGroup ?? -1,
          endpoints: this.#situation.topology.groups.get(iommuGroup ?? -1) ?? [],
          vm: rule.vm,
          isWanted: (address) => byDevice.get(address)?.vm === rule.vm || isIn(candidate, address),
          ownerOf: (address) => byDevice.get(address)?.vm,
          isContested: (address) => !byDevice.has(address) && exact.has(address),
          isOptedIn: rule.companions === "bind",
        },
        this.#situation,
      );
      if (objection !== null) {
        return objection;
      }
    }
    return null;
  }
}

function isIn(unit: Candidate, address: PciAddress): boolean {
  return unit.some((member) => member.address === address);
}

function describePreference(preference: Preference | undefined): string {
  switch (preference?.by) {
    case undefined:
      return "the lowest address";
    case "numa":
      return "closer to the VM's NUMA node";
    case "sameRootAs":
      return `below the same root port as what rule ${preference.rule} has`;
    case "address":
      return `the ${preference.order} address`;
    case "memory":
      return `the ${preference.order} memory`;
  }
}
