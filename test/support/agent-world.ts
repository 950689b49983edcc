/**
 * The whole agent on a simulated host and simulated QEMUs: what the stories test/integration/agent-*.test.ts are told on.
 *
 * The agent is the real one, put together by compose(); only the kernel's seam and the clock are played. Waiting is for
 * a condition, with a hang guard that says what was so far; time that only passes is made to pass by `advance`.
 */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { expect } from "vitest";
import type { Agent } from "../../src/agent/agent.js";
import { type Composition, compose } from "../../src/agent/compose.js";
import type { ProcessEdge } from "../../src/agent/main.js";
import type { AgentOptions } from "../../src/agent/options.js";
import { type AuditEntry, type AuditRecord, parseRecord } from "../../src/audit/record.js";
import { formatIssues, parseConfig } from "../../src/config/load.js";
import { describeHeld, type Held } from "../../src/core/held.js";
import type { Lease } from "../../src/core/lease.js";
import { planAll } from "../../src/core/plan.js";
import type { Policy } from "../../src/core/policy.js";
import type { World } from "../../src/core/world.js";
import type { KernelIo } from "../../src/host/kernel-io.js";
import { hostRoot } from "../../src/host/root.js";
import { openStateFolder, type StateFolder } from "../../src/host/state-folder.js";
import type { SimCard } from "../../src/sim/card.js";
import { createSimulation, type Simulation, type SimulationOptions } from "../../src/sim/fleet.js";
import { createScratch, type Scratch } from "../../src/sim/scratch.js";
import { anAddress } from "./builders.js";

const HANG_GUARD_MS = 20_000;
const LOOK_AGAIN_MS = 5;

/** The operator's file, as far as a story cares; VMs left out are those of the simulation. */
export interface FileFacts {
  readonly vms?: readonly { readonly name: string; readonly qmp: string }[];
  readonly rules: readonly {
    readonly name: string;
    readonly match: Readonly<Record<string, string | readonly string[]>>;
    readonly vm: string;
  }[];
  readonly limits?: Readonly<Record<string, string>>;
  /** The file allows no less than a second; a story does not want to wait for that. */
  readonly rescanMs?: number;
}

export type StartOptions = Partial<Pick<AgentOptions, "isObserving" | "isDetachConfirmed">>;

/** A graphics card on nouveau, alone in an IOMMU group of its own. Made up. */
export function aCard(address: string, facts: Partial<SimCard> = {}): SimCard {
  return { address, vendor: "10de", device: "2204", class: "030000", driver: "nouveau", ...facts };
}

/** Root ports rp0, rp1, ... */
export function ports(count: number): { readonly id: string }[] {
  return Array.from({ length: count }, (_, index) => ({ id: `rp${index}` }));
}

export class AgentWorld {
  readonly sim: Simulation;
  readonly stateDir: string;
  readonly #scratch: Scratch;
  readonly #vms: readonly string[];
  readonly #agents: RunningAgent[] = [];
  #aheadMs = 0;

  private constructor(scratch: Scratch, sim: Simulation, vms: readonly string[]) {
    this.#scratch = scratch;
    this.sim = sim;
    this.#vms = vms;
    this.stateDir = join(scratch.dir, "state");
  }

  static async open(options: Omit<SimulationOptions, "dir">): Promise<AgentWorld> {
    const scratch = await createScratch();
    const sim = await createSimulation({ ...options, dir: join(scratch.dir, "host") });
    return new AgentWorld(
      scratch,
      sim,
      (options.vms ?? []).map((vm) => vm.name),
    );
  }

  /** The wall clock of every agent here: the real one, and what was made to pass. */
  readonly now = (): number => Date.now() + this.#aheadMs;

  get dir(): string {
    return this.#scratch.dir;
  }

  get host(): Simulation["host"] {
    return this.sim.host;
  }

  vm(name: string): ReturnType<Simulation["vm"]> {
    return this.sim.vm(name);
  }

  policy(file: FileFacts): Policy {
    const parsed = parseConfig(this.text(file), "story.yaml");
    if (!parsed.ok) {
      throw new Error(formatIssues(parsed.error));
    }
    const { policy } = parsed.value;
    return {
      ...policy,
      sources: { ...policy.sources, rescanMs: file.rescanMs ?? policy.sources.rescanMs },
    };
  }

  /** The file's text: JSON is valid YAML. */
  text(file: FileFacts): string {
    const vms = file.vms ?? this.#vms.map((name) => ({ name, qmp: this.sim.socketOf(name) }));
    const { rules, limits } = file;
    const sources = { udevadm: false };
    return JSON.stringify({ vms, rules, ...(limits === undefined ? {} : { limits }), sources });
  }

  /** Starts an agent on this world's state folder, as the first or after another one's end. */
  async start(file: FileFacts, options: StartOptions = {}): Promise<RunningAgent> {
    const folder = await openStateFolder(this.stateDir, this.#scratch.dir);
    const running = await RunningAgent.start(this, folder, this.policy(file), options);
    this.#agents.push(running);
    return running;
  }

  /** Lets time pass for every agent that runs. */
  advance(ms: number): void {
    this.#aheadMs += ms;
    for (const running of this.#agents) {
      running.agent.post([{ kind: "tick", atMs: this.now() }]);
    }
  }

  /** Waits for something that only a look at the simulation shows. */
  async until(what: string, isTrue: () => boolean): Promise<void> {
    await waitFor(what, isTrue, () => `in VMs: ${JSON.stringify(this.inVms())}`);
  }

  /** What each VM that runs really has. */
  inVms(): Record<string, string[]> {
    return Object.fromEntries(this.#vms.map((name) => [name, this.vm(name).attached()]));
  }

  /** Driver and override of a card, as the kernel has them. */
  hostStateOf(address: string): { readonly driver: string | null; readonly override: string | null } {
    return { driver: this.host.driverOf(address), override: this.host.overrideOf(address) };
  }

  /** How many things were done to the host and to the VMs so far. */
  deeds(): { readonly writes: number; readonly commands: number } {
    const commands = this.#vms.map((name) => this.vm(name).commands.length);
    return { writes: this.host.writes.length, commands: commands.reduce((sum, count) => sum + count, 0) };
  }

  /** The orders that moved devices of a VM, in order. */
  movesOf(vm: string): string[] {
    return this.vm(vm)
      .commands.filter(({ name }) => name === "device_add" || name === "device_del")
      .map(({ name, arguments: args }) => `${name} ${String(args["id"])}`);
  }

  /** The ledger as it is on disk now. */
  ledger(): readonly Lease[] {
    return (JSON.parse(readFileSync(join(this.stateDir, "ledger.json"), "utf8")) as { leases: Lease[] }).leases;
  }

  /** The audit as it is on disk now. */
  audit(): AuditRecord[] {
    const lines = readFileSync(join(this.stateDir, "audit.jsonl"), "utf8").split("\n").slice(0, -1);
    return lines.map((line) => {
      const record = parseRecord(line);
      if (record === null) {
        throw new Error(`not a record: ${line}`);
      }
      return record;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const running of this.#agents) {
      await running.stop();
    }
    await this.sim[Symbol.asyncDispose]();
    await this.#scratch[Symbol.asyncDispose]();
    for (const running of this.#agents) {
      expect(running.errors).toEqual([]);
    }
  }
}

/** One life of the agent. */
export class RunningAgent {
  /** Every line of its audit, as it was written. */
  readonly entries: AuditEntry[] = [];
  /** What nobody answered for: none, in a good story. */
  readonly errors: unknown[] = [];
  readonly #world: AgentWorld;
  readonly #folder: StateFolder;
  readonly #log = new PassThrough();
  readonly #hands: MortalHands;
  #parts: Composition | null = null;
  #isOver = false;

  private constructor(world: AgentWorld, folder: StateFolder) {
    this.#world = world;
    this.#folder = folder;
    this.#hands = new MortalHands(world.host.io);
  }

  static async start(
    world: AgentWorld,
    folder: StateFolder,
    policy: Policy,
    options: StartOptions,
  ): Promise<RunningAgent> {
    const running = new RunningAgent(world, folder);
    running.#log.resume();
    running.#parts = await compose({
      options: { ...agentOptions(world), ...options },
      edge: { ...anEdge(world.now), errStream: running.#log as unknown as NodeJS.WriteStream },
      root: hostRoot(world.host.dir),
      io: running.#hands,
      folder,
      policy,
      onError: (error) => running.errors.push(error),
      onEntry: (entry) => running.entries.push(entry),
    });
    await running.#parts.start();
    return running;
  }

  get agent(): Agent {
    if (this.#parts === null) {
      throw new Error("the agent was not composed");
    }
    return this.#parts.agent;
  }

  get world(): World {
    return this.agent.world;
  }

  /** Waits for the agent's world to be so. */
  async until(what: string, isMet: (world: World) => boolean): Promise<void> {
    await waitFor(
      what,
      () => isMet(this.world),
      () => this.describe(),
    );
  }

  /** Waits for a line of the audit. */
  async untilEntry(what: string, isIt: (entry: AuditEntry) => boolean): Promise<AuditEntry> {
    await waitFor(
      what,
      () => this.entries.some(isIt),
      () => this.describe(),
    );
    const entry = this.entries.find(isIt);
    if (entry === undefined) {
      throw new Error(`lost: ${what}`);
    }
    return entry;
  }

  /** Waits until the VM is seen to have exactly these cards, really has them, and nothing is left to do. */
  async untilIn(vm: string, addresses: readonly string[]): Promise<void> {
    const wanted = JSON.stringify([...addresses].sort());
    const isSo = (): boolean =>
      JSON.stringify(this.inVm(vm)) === wanted && JSON.stringify(this.#world.vm(vm).attached().sort()) === wanted;
    await waitFor(`${wanted} in ${vm}`, isSo, () => this.describe());
    await this.rest();
  }

  /** Waits until a device is held for a reason of this kind; gives the sentence. */
  async untilHeld(address: string, kind: Held["reason"]["kind"]): Promise<string> {
    await waitFor(
      `${address} held: ${kind}`,
      () => this.heldAs(address).some((reason) => reason.kind === kind),
      () => this.describe(),
    );
    const reason = this.heldAs(address).find((entry) => entry.kind === kind);
    return reason === undefined ? "" : describeHeld(reason);
  }

  /** Waits until a fresh look at the host calls for no step and no lane runs. */
  async rest(): Promise<void> {
    await this.look();
    await waitFor(
      "rest",
      () => this.world.running.size === 0 && planAll(this.world).steps.length === 0,
      () => this.describe(),
    );
    await this.agent.settled();
  }

  /** Waits for a whole look at the host that begins now. */
  async look(): Promise<void> {
    // The look under way may have begun before: the second one has not.
    for (const _ of [1, 2]) {
      const { protections } = this.world;
      this.agent.post([{ kind: "look-wanted", source: "rescan" }]);
      await this.until("a look", (world) => world.protections !== protections);
    }
  }

  /** Counts the looks at the host from now on. */
  countLooks(): () => number {
    let looks = 0;
    let { protections } = this.world;
    void this.agent.until((world) => {
      looks += world.protections === protections ? 0 : 1;
      protections = world.protections;
      return false;
    });
    return () => looks;
  }

  /** Addresses that the VM is seen to have. */
  inVm(vm: string): string[] {
    const status = this.world.vms.get(vm);
    return status?.kind === "up"
      ? status.view.attached.map((entry) => entry.address ?? entry.id ?? entry.path).sort()
      : [];
  }

  heldAs(address: string): readonly Held["reason"][] {
    const wanted = anAddress(address);
    return planAll(this.world)
      .held.filter((held) => held.address === wanted)
      .map((held) => held.reason);
  }

  /** Kind and outcome of every step that has ended. */
  steps(): string[] {
    return this.entries.flatMap((entry) =>
      entry.event === "step-ended" ? [`${entry.step.kind} ${entry.after.kind}`] : [],
    );
  }

  /** Ends as on SIGTERM. Resolves when it has ended. */
  async stop(): Promise<void> {
    if (this.#isOver) {
      return;
    }
    this.#isOver = true;
    await this.#parts?.stop();
    this.#parts?.abandon();
    this.#folder.close();
  }

  /** Ends as on SIGKILL: it does nothing any more, its sockets close, the lock goes, its control socket stays. */
  crash(): void {
    this.#isOver = true;
    this.#hands.die();
    this.agent.abandon();
    this.#folder.close();
    // A dead process does not listen: its file is only in the way.
    rmSync(join(this.#world.stateDir, "control.sock"), { force: true });
  }

  describe(): string {
    const { steps, held } = planAll(this.world);
    return [
      `in VMs: ${JSON.stringify(this.#world.inVms())}`,
      `seen: ${JSON.stringify([...this.world.vms].map(([vm, status]) => [vm, status.kind, this.inVm(vm)]))}`,
      `plan: ${JSON.stringify(steps)}`,
      `held: ${held.map((entry) => `${entry.address} ${describeHeld(entry.reason)}`).join("; ")}`,
      `errors: ${this.errors.map(String).join("; ")}`,
      `steps: ${this.steps().slice(-10).join(", ")}`,
    ].join("\n");
  }
}

/** The kernel's seam in the hands of a process that can die: what it asked for then never comes back. */
class MortalHands implements KernelIo {
  readonly #io: KernelIo;
  #isDead = false;

  constructor(io: KernelIo) {
    this.#io = io;
  }

  die(): void {
    this.#isDead = true;
  }

  read(path: string, deadlineMs: number): ReturnType<KernelIo["read"]> {
    return this.#ifAlive(() => this.#io.read(path, deadlineMs));
  }

  write(path: string, text: string, deadlineMs: number): ReturnType<KernelIo["write"]> {
    return this.#ifAlive(() => this.#io.write(path, text, deadlineMs));
  }

  chown(path: string, uid: number, gid: number, deadlineMs: number): ReturnType<KernelIo["chown"]> {
    return this.#ifAlive(() => this.#io.chown(path, uid, gid, deadlineMs));
  }

  async #ifAlive<T>(act: () => Promise<T>): Promise<T> {
    const result = this.#isDead ? await never<T>() : await act();
    return this.#isDead ? await never<T>() : result;
  }
}

function never<T>(): Promise<T> {
  return new Promise<T>(() => undefined);
}

/** The process that an agent of a story seems to run in. */
export function anEdge(now: () => number): Omit<ProcessEdge, "errStream"> {
  return {
    pid: 4242,
    version: "0.0.0-story",
    uid: process.getuid?.() ?? 0,
    now,
    out: () => undefined,
    stopSignal: () => never(),
    onUncaught: () => undefined,
    exitNow: () => undefined,
  };
}

/** How an agent of a story is started. */
export function agentOptions(world: AgentWorld): AgentOptions {
  return {
    version: "0.0.0-story",
    configPath: join(world.dir, "story.yaml"),
    stateDir: world.stateDir,
    rootDir: world.host.dir,
    isObserving: false,
    isOnce: false,
    isDetachConfirmed: false,
    logLevel: "error",
    traceDir: null,
  };
}

/** Opens a world, tells the story in it, and leaves nothing behind. */
export async function inWorld(
  options: Omit<SimulationOptions, "dir">,
  story: (world: AgentWorld) => Promise<void>,
): Promise<void> {
  const world = await AgentWorld.open(options);
  try {
    await story(world);
  } finally {
    await world[Symbol.asyncDispose]();
  }
}

async function waitFor(what: string, isTrue: () => boolean, soFar: () => string): Promise<void> {
  const giveUpAt = Date.now() + HANG_GUARD_MS;
  while (!isTrue()) {
    if (Date.now() > giveUpAt) {
      throw new Error(`waited in vain for ${what}\n${soFar()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}
