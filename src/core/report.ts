/**
 * The world in the shape in which people and programs are told of it: `status` and `plan`. Versioned; keys are only
 * ever added within a version.
 */
import { compareAddresses, type PciAddress } from "./address.js";
import { type AssignmentReport, reportAssignments } from "./assignment-report.js";
import { type DeviceReport, reportDevices } from "./device-report.js";
import type { Held, HeldReason } from "./held.js";
import { describeHeld } from "./held-text.js";
import { isOurs } from "./occupancy.js";
import { type Leaving, leavingOf } from "./passage.js";
import { planAll } from "./plan.js";
import type { MonitorUse, SourceName, VmSpec } from "./policy.js";
import { remarksOn, type VmRemark } from "./remarks.js";
import { type RuleReport, reportRules } from "./rule-report.js";
import { type Scene, setScene } from "./scene.js";
import { withShunned } from "./shunned-ports.js";
import type { SourceState } from "./signal.js";
import { addressesOf, type Step } from "./step.js";
import type { VmProcess, VmStatus } from "./vm.js";
import type { World } from "./world.js";

export interface PlanReport {
  readonly schema: "pciplug-plan/1";
  /** Whether the running agent answered, or the host was only scanned. */
  readonly source: "agent" | "offline";
  readonly steps: readonly StepReport[];
  /** Who is to have what, whether it is there already or not; sorted by address. */
  readonly assignments: readonly AssignmentReport[];
  /** Sorted by address, VM and rule. Offline, nothing is held only because its VM was not asked. */
  readonly held: readonly HeldReport[];
  /** In file order. */
  readonly rules: readonly RuleReport[];
  /** About the VMs that answer; absent where there are none. */
  readonly remarks?: readonly (VmRemark & { readonly vm: string })[];
}

export interface StepReport {
  readonly kind: Step["kind"];
  readonly vm: string;
  readonly addresses: readonly PciAddress[];
  readonly why?: string;
}

export interface HeldReport {
  readonly address: PciAddress;
  readonly vm: string | null;
  readonly rule: string | null;
  readonly reason: { readonly kind: HeldReason["kind"]; readonly message: string };
}

/** What would happen now and why not. */
export function reportPlan(
  world: World,
  source: PlanReport["source"],
  scene: Scene = setScene(world),
): PlanReport {
  const plan = planAll(world, scene);
  return {
    schema: "pciplug-plan/1",
    source,
    steps: plan.steps.map(reportStep),
    assignments: reportAssignments(scene),
    held: reportAllHeld(plan.held, source),
    rules: reportRules(scene),
    ...reportRemarks(world),
  };
}

function reportRemarks(world: World): Pick<PlanReport, "remarks"> {
  const remarks = (world.policy?.vms ?? []).flatMap(({ name }) => {
    const status = world.vms.get(name);
    return status?.kind === "up"
      ? remarksOn(name, status.view).map((remark) => ({ ...remark, vm: name }))
      : [];
  });
  return remarks.length === 0 ? {} : { remarks };
}

/** What is held, in its one order. A VM that nobody could ask holds nothing: that is said once, not for each device. */
export function reportAllHeld(held: readonly Held[], source: PlanReport["source"]): readonly HeldReport[] {
  return held
    .filter(({ reason }) => source === "agent" || reason.kind !== "vm-unknown")
    .map(reportHeld)
    .sort((a, b) => compareAddresses(a.address, b.address) || compareTexts(textOf(a), textOf(b)));
}

function textOf({ vm, rule, reason }: HeldReport): string {
  return `${vm ?? ""} ${rule ?? ""} ${reason.kind}`;
}

function compareTexts(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

/** A step as it is told. */
export function reportStep(step: Step): StepReport {
  const base = { kind: step.kind, vm: step.vm, addresses: addressesOf(step) };
  return "why" in step ? { ...base, why: step.why } : base;
}

function reportHeld(held: Held): HeldReport {
  return {
    address: held.address,
    vm: held.vm,
    rule: held.rule,
    reason: { kind: held.reason.kind, message: describeHeld(held.reason) },
  };
}

export interface VmReport {
  readonly name: string;
  readonly state: VmStatus["kind"];
  readonly runState?: string;
  /** The word for a migration that is under way. */
  readonly migration?: string;
  readonly machine?: string;
  readonly pid?: number;
  readonly reason?: string;
  readonly ports?: { readonly free: number; readonly plugged: number; readonly unusable: number };
  /** What its operator should know of it, though no device waits for it; absent where there is nothing. */
  readonly remarks?: readonly VmRemark[];
  readonly attached: readonly {
    readonly address: PciAddress | null;
    readonly id: string | null;
    readonly bus: string | null;
    readonly ours: boolean;
    /** Whether the guest has given it addresses; left out where that cannot be told. */
    readonly inUse?: boolean;
  }[];
}

/** One VM as it was last seen. */
export function reportVm(world: World, name: string): VmReport {
  const status = world.vms.get(name) ?? { kind: "unknown" };
  if (status.kind !== "up") {
    const reason = status.kind === "unknown" ? {} : { reason: status.reason };
    return { name, state: status.kind, ...reason, attached: [] };
  }
  const view = withShunned(world, name, status.view);
  const remarks = remarksOn(name, view);
  const count = (kind: string) => view.ports.filter((port) => port.state.kind === kind).length;
  return {
    name,
    state: "up",
    runState: view.runState,
    ...(view.migration === undefined ? {} : { migration: view.migration }),
    machine: view.machine,
    ...(view.process === null ? {} : { pid: view.process.pid }),
    ports: { free: count("free"), plugged: count("plugged"), unusable: count("unusable") },
    ...(remarks.length === 0 ? {} : { remarks }),
    attached: view.attached.map((entry) => ({
      address: entry.address,
      id: entry.id,
      bus: entry.bus,
      ours: isOurs(world, name, entry),
      ...(entry.isInUse === undefined ? {} : { inUse: entry.isInUse }),
    })),
  };
}

/** A VM with what the running agent knows of it beyond the last look. */
export interface VmStatusReport extends VmReport {
  /** Path of its QMP socket. */
  readonly socket: string;
  readonly monitor: MonitorUse;
  /** The path with `{vm}` that it comes from; left out for a VM that has an entry of its own. */
  readonly pattern?: string;
  /** What QEMU runs as; left out while that is not known. */
  readonly process?: Pick<VmProcess, "pid" | "uid" | "gid" | "memlockBytes" | "executable" | "cgroup">;
  /** What it was asked to let go of, and has not; left out where there is nothing. */
  readonly leaving?: readonly Leaving[];
  /** When its machine was reset last; left out where nobody has seen that. */
  readonly lastReset?: { readonly at: string; readonly byGuest: boolean };
  /** What went wrong last, also when all is well again; `null`: nothing since the agent started. */
  readonly lastError: { readonly at: string; readonly message: string } | null;
}

export interface StatusReport {
  readonly schema: "pciplug-status/1";
  readonly agent: {
    readonly version: string;
    readonly pid: number;
    readonly bootId: string;
    readonly mode: "act" | "observe";
    readonly startedAt: string;
  };
  /** `null` before the first policy. */
  readonly policy: {
    /** The file, as the agent was told of it. */
    readonly file: string;
    /** Digest of its text when it was read. */
    readonly version: string;
    readonly loadedAt: string;
    /** Why the file as it is now was not taken. */
    readonly refused: { readonly at: string; readonly reasons: readonly string[] } | null;
  } | null;
  readonly sources: readonly {
    readonly name: SourceName;
    readonly state: SourceState["kind"];
    readonly detail: string;
  }[];
  readonly vms: readonly VmStatusReport[];
  readonly devices: readonly DeviceReport[];
}

/** What the world itself does not know about the agent. */
export interface AgentFacts extends Pick<StatusReport["agent"], "version" | "pid" | "startedAt"> {
  /** The operator's file. */
  readonly file: string;
  /** A time of the world's clock as people write it: ISO 8601, UTC. */
  readonly wallTimeOf: (ms: number) => string;
  /** Now, by the world's clock: newer than what the world has been told. */
  readonly now: () => number;
}

/** The whole of what the agent knows, for `status`. */
export function reportStatus(world: World, about: AgentFacts, scene: Scene = setScene(world)): StatusReport {
  const { version, pid, startedAt } = about;
  return {
    schema: "pciplug-status/1",
    agent: { version, pid, startedAt, bootId: world.bootId, mode: world.mode },
    policy: reportPolicy(world, about),
    sources: [...world.sources].map(([name, { kind, detail }]) => ({ name, state: kind, detail })),
    vms: (world.policy?.vms ?? []).map((vm) => reportVmStatus(world, vm, about)),
    devices: reportDevices(world, scene),
  };
}

function reportVmStatus(world: World, vm: VmSpec, about: AgentFacts): VmStatusReport {
  const { wallTimeOf } = about;
  const leaving = leavingOf(world, vm.name, about);
  const reset = world.resets.get(vm.name);
  const status = world.vms.get(vm.name);
  const found = status?.kind === "up" ? status.view.process : null;
  const error = world.vmErrors.get(vm.name);
  return {
    ...reportVm(world, vm.name),
    socket: vm.qmp,
    monitor: vm.monitor ?? "dedicated",
    ...(vm.pattern === undefined ? {} : { pattern: vm.pattern }),
    ...(found === null ? {} : { process: reportProcess(found) }),
    ...(leaving.length === 0 ? {} : { leaving }),
    ...(reset === undefined ? {} : { lastReset: { at: wallTimeOf(reset.atMs), byGuest: reset.isByGuest } }),
    lastError: error === undefined ? null : { at: wallTimeOf(error.atMs), message: error.message },
  };
}

function reportProcess({ pid, uid, gid, memlockBytes, executable, cgroup }: VmProcess) {
  return { pid, uid, gid, memlockBytes, executable, cgroup };
}

function reportPolicy(world: World, { file, wallTimeOf }: AgentFacts): StatusReport["policy"] {
  const { policy, policyLoadedMs, policyRefusal } = world;
  if (policy === null) {
    return null;
  }
  const refused =
    policyRefusal === null ? null : { at: wallTimeOf(policyRefusal.atMs), reasons: policyRefusal.reasons };
  return { file, version: policy.version, loadedAt: wallTimeOf(policyLoadedMs), refused };
}
