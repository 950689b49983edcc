/**
 * What a rehearsal has shown, in the shape in which people and programs are told of it (contrib/doc/json.md).
 * Versioned; keys are only ever added within a version. Holds nothing of the machine it was played on: no path, no
 * process id, no time of day.
 */
import type { PciAddress } from "./address.js";
import { compareAddresses } from "./address.js";
import { type DeviceState, reportDevices } from "./device-report.js";
import { EXIT, type ExitCode } from "./exit-code.js";
import type { HeldReason } from "./held.js";
import { type HeldReport, type PlanReport, reportPlan } from "./report.js";
import { type Scene, setScene } from "./scene.js";
import type { Outcome, Step } from "./step.js";
import { processKey, type VmStatus } from "./vm.js";
import { vmStatus, type World } from "./world.js";

export interface RehearsalReport {
  readonly schema: "pciplug-rehearsal/1";
  /** What was assumed, because the recording does not say it. */
  readonly notes: readonly string[];
  readonly timeline: readonly RehearsedEvent[];
  /** Who has, or is to have, what at the end; sorted by address. */
  readonly assignments: readonly RehearsedAssignment[];
  /** What is held at the end, sorted by address. */
  readonly held: readonly HeldReport[];
  readonly rules: PlanReport["rules"];
}

/** One event and everything that came of it until the next one. */
export interface RehearsedEvent {
  /** Simulated milliseconds since the start. */
  readonly atMs: number;
  /** `start`, or the key of the event in the events file. */
  readonly kind: string;
  /** The same for people. */
  readonly event: string;
  readonly decisions: readonly RehearsedDecision[];
  readonly steps: readonly RehearsedStep[];
  readonly vms: readonly RehearsedVm[];
}

/**
 * A change of mind about one device. `clear`: nobody is to have it any more, and nothing is held; `gone`: the same,
 * because it has left the host.
 */
export interface RehearsedDecision {
  readonly address: PciAddress;
  readonly verdict: "assigned" | "held" | "clear" | "gone";
  readonly vm: string | null;
  readonly rule: string | null;
  readonly reason: { readonly kind: HeldReason["kind"]; readonly message: string } | null;
}

/** A step that has ended. Steps of one VM stand in their order, those of several VMs one VM after the other. */
export interface RehearsedStep {
  readonly atMs: number;
  readonly kind: Step["kind"];
  readonly vm: string;
  readonly addresses: readonly PciAddress[];
  readonly why: string | null;
  readonly outcome: Outcome["kind"];
  readonly detail: string | null;
}

/** A VM that is not as it was before the event, or that has another process. */
export interface RehearsedVm {
  readonly name: string;
  readonly state: VmStatus["kind"];
  readonly runState: string | null;
  readonly attached: readonly PciAddress[];
}

export interface RehearsedAssignment {
  readonly address: PciAddress;
  readonly vm: string;
  readonly rule: string;
  readonly state: DeviceState;
}

/** One moment of a rehearsal: the world, and what is decided in it. */
export interface Picture {
  readonly world: World;
  readonly scene: Scene;
  readonly plan: PlanReport;
}

/** The picture of a world. */
export function pictureOf(world: World): Picture {
  const scene = setScene(world);
  return { world, scene, plan: reportPlan(world, "agent", scene) };
}

/** Each device about which the mind was changed, sorted by address. */
export function decisionsBetween(before: Picture, after: Picture): RehearsedDecision[] {
  const [was, is] = [decisionsIn(before), decisionsIn(after)];
  const news = [...is].flatMap(([key, decision]) => (was.has(key) ? [] : [decision]));
  const spoken = new Set([...is.values()].map((decision) => decision.address));
  const cleared = new Set(
    [...was.values()].map((decision) => decision.address).filter((address) => !spoken.has(address)),
  );
  const clear = [...cleared].map(
    (address): RehearsedDecision => ({
      address,
      verdict: after.world.devices.has(address) ? "clear" : "gone",
      vm: null,
      rule: null,
      reason: null,
    }),
  );
  return [...news, ...clear].sort((a, b) => compareAddresses(a.address, b.address));
}

function decisionsIn({ scene, plan }: Picture): ReadonlyMap<string, RehearsedDecision> {
  const assigned = [...scene.assignment.byDevice].map(
    ([address, { vm, rule }]): RehearsedDecision => ({
      address,
      verdict: "assigned",
      vm,
      rule,
      reason: null,
    }),
  );
  const waiting = plan.held.map(
    (held): RehearsedDecision => ({
      address: held.address,
      verdict: "held",
      vm: held.vm,
      rule: held.rule,
      reason: held.reason,
    }),
  );
  return new Map([...assigned, ...waiting].map((decision) => [JSON.stringify(decision), decision]));
}

/** Each VM that has changed, in the order of the file. */
export function vmsBetween(before: Picture, after: Picture): RehearsedVm[] {
  return (after.world.policy?.vms ?? []).flatMap(({ name }) => {
    const [was, is] = [vmIn(before, name), vmIn(after, name)];
    const isSameProcess = processIn(before, name) === processIn(after, name);
    return isSameProcess && JSON.stringify(was) === JSON.stringify(is) ? [] : [is];
  });
}

function processIn({ world }: Picture, name: string): string | null {
  const status = vmStatus(world, name);
  return status.kind === "up" ? processKey(status.view.process) : null;
}

function vmIn({ world }: Picture, name: string): RehearsedVm {
  const status = vmStatus(world, name);
  const attached = status.kind === "up" ? status.view.attached.flatMap((entry) => entry.address ?? []) : [];
  return {
    name,
    state: status.kind,
    runState: status.kind === "up" ? status.view.runState : null,
    attached: attached.sort(compareAddresses),
  };
}

/** Who has what at the end. */
export function assignmentsIn({ world, scene }: Picture): RehearsedAssignment[] {
  const states = new Map(reportDevices(world, scene).map(({ address, state }) => [address, state]));
  return [...scene.assignment.byDevice]
    .map(([address, { vm, rule }]) => ({ address, vm, rule, state: states.get(address) ?? "waiting" }))
    .sort((a, b) => compareAddresses(a.address, b.address));
}

/** How a step has ended. */
export function rehearsedStep(
  atMs: number,
  step: Step,
  addresses: readonly PciAddress[],
  outcome: Outcome,
): RehearsedStep {
  return {
    atMs,
    kind: step.kind,
    vm: step.vm,
    addresses,
    why: "why" in step ? step.why : null,
    outcome: outcome.kind,
    detail: "detail" in outcome ? (outcome.detail ?? null) : null,
  };
}

/** What the rehearsal says to its caller: everything as wanted, something held, or no rule that matches anything. */
export function exitCodeOfRehearsal({ held, assignments, rules }: RehearsalReport): ExitCode {
  if (held.length > 0) {
    return EXIT.held;
  }
  return assignments.length === 0 && rules.every((rule) => rule.matches === 0) ? EXIT.noMatch : EXIT.ok;
}
