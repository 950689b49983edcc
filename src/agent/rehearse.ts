/**
 * Rehearses a policy: the real agent, on a simulated copy of a recorded host, through a list of events.
 *
 * The same script gives the same report, byte for byte: the clock stands still but for what the script lets pass, the
 * host is looked at when an event has happened, and what is told is what was decided once the agent was at rest.
 * Nothing is written outside of a scratch folder, which is removed at the end.
 */
import { join } from "node:path";
import type { AuditEntry } from "../audit/record.js";
import { counted } from "../base/counted.js";
import { AgentError } from "../base/error.js";
import type { RehearsalEvent } from "../config/events.js";
import type { Device } from "../core/device.js";
import { isBridgeDevice } from "../core/iommu-group.js";
import type { Policy, VmSpec } from "../core/policy.js";
import { type DmaSafety, NO_FACTS, type ProtectionFacts } from "../core/protection.js";
import {
  type RehearsalReport,
  type RehearsedEvent,
  type RehearsedStep,
  rehearsedStep,
} from "../core/rehearsal.js";
import { addressesOf } from "../core/step.js";
import { hostRoot } from "../host/root.js";
import { openStateFolder } from "../host/state-folder.js";
import { createSimulation } from "../sim/fleet.js";
import { machineOf } from "../sim/recorded-machine.js";
import { createScratch } from "../sim/scratch.js";
import { compose, type Ingredients } from "./compose.js";
import type { ProcessEdge } from "./main.js";
import { CardIndex } from "./rehearse-cards.js";
import { Play, RehearsalClock } from "./rehearse-play.js";
import { Stage, simVmOf, stagedPolicy } from "./rehearse-stage.js";

/** What is rehearsed. */
export interface RehearsalScript {
  /** The host, as recorded or as scanned. */
  readonly devices: readonly Device[];
  /** What that host stands on; `null`: not recorded, so nothing but bridges is protected. */
  readonly protectionFacts: ProtectionFacts | null;
  /** How well it keeps devices apart; `null`: not recorded, so well enough. */
  readonly dma: DmaSafety | null;
  readonly policy: Policy;
  readonly events: readonly RehearsalEvent[];
  /** The policy behind each path that the events name. */
  readonly policies: ReadonlyMap<string, Policy>;
  /** Whether devices whose IOMMU group is not known get one per card. */
  readonly isAssumingGroups: boolean;
}

export interface RehearsalHooks {
  /** Hears what was assumed, before anything happens. */
  readonly onNotes?: (notes: readonly string[]) => void;
  /** Hears each event once everything has come of it. */
  readonly onEvent?: (event: RehearsedEvent) => void;
  /** Calls the rehearsal off. */
  readonly signal?: AbortSignal;
}

/** Functions of one slot. */
const FUNCTIONS = 8;

/**
 * Plays the script.
 *
 * @throws {AgentError} `rehearsal.impossible` at an event that cannot happen, `rehearsal.called-off`.
 */
export async function rehearse(
  script: RehearsalScript,
  edge: ProcessEdge,
  hooks: RehearsalHooks = {},
): Promise<RehearsalReport> {
  const machine = machineOf(script.devices, script);
  const notes = [...machine.notes, ...(script.protectionFacts === null ? [UNPROTECTED] : [])];
  hooks.onNotes?.(notes);
  const clock = new RehearsalClock();
  const failure = createFailure(hooks.signal);
  await using scratch = await createScratch();
  await using simulation = await createSimulation({ dir: join(scratch.dir, "host"), cards: machine.cards });
  const vms = everyVm(script);
  const socketOf = (name: string): string =>
    join(scratch.dir, `${vms.findIndex((vm) => vm.name === name)}.sock`);
  const specs = vms.map((vm) => simVmOf(vm, socketOf(vm.name), portsNeeded(script)));
  const cards = new CardIndex(machine.cards, machine.devices);
  const stage = new Stage(simulation, cards, specs);
  await startVms(stage, vms, script.events);
  const folder = await openStateFolder(join(scratch.dir, "state"), scratch.dir);
  const steps: RehearsedStep[] = [];
  const composition = await compose({
    ...quietly(edge, clock, folder.path, simulation.host.dir),
    root: hostRoot(simulation.host.dir),
    io: simulation.host.io,
    folder,
    policy: stagedPolicy(script.policy, socketOf),
    recorded: {
      protectionFacts: script.protectionFacts ?? NO_FACTS,
      dma: script.dma ?? { weaknesses: [] },
      show: (device) => cards.show(device),
      isDriverKnown: (address) => cards.isDriverKnown(address),
    },
    onError: failure.report,
    onEntry: (entry) => steps.push(...endedStep(entry, clock.now())),
  });
  const play = new Play({
    stage,
    composition,
    clock,
    takeSteps: () => steps.splice(0),
    broken: failure.happened,
    policies: new Map([...script.policies].map(([path, policy]) => [path, stagedPolicy(policy, socketOf)])),
    clean: cleaner(vms, socketOf, [simulation.host.dir, scratch.dir]),
    onEvent: hooks.onEvent ?? (() => undefined),
  });
  const { devices, policy, events } = script;
  try {
    const course = await play.run(
      `the host as recorded: ${counted(devices.length, "device")}, ${counted(policy.vms.length, "VM")}`,
      events,
    );
    return { schema: "pciplug-rehearsal/1", notes, ...course };
  } finally {
    await composition.stop();
    composition.abandon();
    folder.close();
  }
}

const UNPROTECTED = "what the host stands on was not recorded: nothing but bridges is protected";

/** The agent as it is started here: only its clock and its ends are not the process's own. */
function quietly(
  edge: ProcessEdge,
  clock: RehearsalClock,
  stateDir: string,
  rootDir: string,
): Pick<Ingredients, "edge" | "options"> {
  return {
    edge: { ...edge, now: clock.now, wallNow: clock.now },
    options: {
      version: edge.version,
      configPath: "",
      stateDir,
      rootDir,
      isObserving: false,
      isOnce: false,
      isDetachConfirmed: false,
      logLevel: "error",
      traceDir: null,
    },
  };
}

function endedStep(entry: AuditEntry, atMs: number): RehearsedStep[] {
  return entry.event === "step-ended"
    ? [rehearsedStep(atMs, entry.step, addressesOf(entry.step), entry.after)]
    : [];
}

/** The VMs of every file, each as the first one says that names it. */
function everyVm({ policy, policies }: RehearsalScript): readonly VmSpec[] {
  const named = [policy, ...policies.values()].flatMap(({ vms }) => vms).reverse();
  return [...new Map(named.map((vm) => [vm.name, vm])).values()].reverse();
}

async function startVms(
  stage: Stage,
  vms: readonly VmSpec[],
  events: readonly RehearsalEvent[],
): Promise<void> {
  for (const { name } of vms.filter((vm) => isUpAtFirst(vm.name, events))) {
    await stage.play({ kind: "vm-start", vm: name, atMs: null });
  }
}

/** A VM runs from the start, unless the first thing that happens to it is that it starts. */
function isUpAtFirst(name: string, events: readonly RehearsalEvent[]): boolean {
  const first = events.find((event) => "vm" in event && event.vm === name);
  return first?.kind !== "vm-start";
}

/** Room for everything that could ever come to one VM. */
function portsNeeded({ devices, events }: RehearsalScript): number {
  const endpoints = devices.filter((device) => !isBridgeDevice(device)).length;
  return endpoints + FUNCTIONS * events.filter((event) => event.kind === "plug").length;
}

/** Puts the operator's own sockets back into texts, and takes scratch folders out of them. */
function cleaner(
  vms: readonly VmSpec[],
  socketOf: (vm: string) => string,
  folders: readonly string[],
): (text: string) => string {
  return (text) => {
    const own = vms.reduce((told, vm) => told.replaceAll(socketOf(vm.name), vm.qmp), text);
    return folders.reduce((told, folder) => told.replaceAll(folder, ""), own);
  };
}

/** The first thing that ends the rehearsal before its time. */
function createFailure(signal: AbortSignal | undefined): {
  readonly happened: Promise<never>;
  readonly report: (error: unknown) => void;
} {
  let report: (error: unknown) => void = () => undefined;
  const happened = new Promise<never>((_, reject) => {
    report = reject;
    const callOff = (): void =>
      reject(new AgentError("rehearsal.called-off", "the rehearsal was called off"));
    signal?.addEventListener("abort", callOff, { once: true });
    if (signal?.aborted === true) {
      callOff();
    }
  });
  happened.catch(() => undefined);
  return { happened, report };
}
