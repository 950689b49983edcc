/**
 * The whole agent on a simulated host and simulated QEMUs: what the stories test/integration/agent-*.test.ts are told on.
 *
 * The agent is the real one, put together by compose(); only the kernel's seam and the clock are played. Waiting is for
 * a condition, with a hang guard that says what was so far; time that only passes is made to pass by `advance`.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { type AuditRecord, parseRecord } from "../../src/audit/record.js";
import { formatIssues, loadConfig, parseConfig } from "../../src/config/load.js";
import { watchConfig } from "../../src/config/watch.js";
import { askReload, getStatus } from "../../src/control/client.js";
import type { ReloadResponse, StatusResponse } from "../../src/control/schema.js";
import type { Lease } from "../../src/core/lease.js";
import type { Policy } from "../../src/core/policy.js";
import { openStateFolder } from "../../src/host/state-folder.js";
import type { SimCard } from "../../src/sim/card.js";
import { createSimulation, type Simulation, type SimulationOptions } from "../../src/sim/fleet.js";
import { createScratch, type Scratch } from "../../src/sim/scratch.js";
import { type AgentStage, RunningAgent, type StartOptions } from "./running-agent.js";
import { waitFor } from "./waiting.js";

/** The operator's file, as far as a story cares; VMs left out are those of the simulation. */
export interface FileFacts {
  readonly vms?: readonly Readonly<Record<string, string>>[];
  readonly rules: readonly {
    readonly name: string;
    readonly match: Readonly<Record<string, string | readonly string[]>>;
    readonly vm: string;
    readonly unit?: string;
    readonly plug?: string;
    readonly acceptNoRoom?: string;
  }[];
  readonly limits?: Readonly<Record<string, string>>;
  /** The file allows no less than a second; a story does not want to wait for that. */
  readonly rescanMs?: number;
}

/** A graphics card on nouveau, alone in an IOMMU group of its own. Made up. */
export function aCard(address: string, facts: Partial<SimCard> = {}): SimCard {
  return { address, vendor: "10de", device: "2204", class: "030000", driver: "nouveau", ...facts };
}

/** Root ports rp0, rp1, ... */
export function ports(count: number): { readonly id: string }[] {
  return Array.from({ length: count }, (_, index) => ({ id: `rp${index}` }));
}

export class AgentWorld implements AgentStage {
  readonly sim: Simulation;
  readonly stateDir: string;
  readonly #scratch: Scratch;
  readonly #vms: readonly string[];
  readonly #agents: RunningAgent[] = [];
  #aheadMs = 0;
  #wallAheadMs = 0;

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

  /** The clock by which every agent here measures: the real time, and what was made to pass. */
  readonly now = (): number => Math.round(performance.timeOrigin + performance.now()) + this.#aheadMs;
  readonly wallNow = (): number => Date.now() + this.#wallAheadMs;

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

  /** Starts an agent that watches the operator's file, which `write` then changes. */
  startOnFile(file: FileFacts, options: StartOptions = {}): Promise<RunningAgent> {
    this.write(this.text(file));
    const { file: path } = this;
    const source = { path, load: () => loadConfig(path), news$: watchConfig(path) };
    return this.start(file, { ...options, file: source });
  }

  /** Path of the operator's file. */
  get file(): string {
    return join(this.dir, "story.yaml");
  }

  /** Writes the operator's file in place. */
  write(text: string): void {
    writeFileSync(this.file, text);
  }

  /** Has the agent read the file again, through its socket. */
  reload(isConfirmed = false): Promise<ReloadResponse> {
    return askReload(this.#controlSocket, isConfirmed);
  }

  status(): Promise<StatusResponse> {
    return getStatus(this.#controlSocket);
  }

  get #controlSocket(): string {
    return join(this.stateDir, "control.sock");
  }

  /** Lets time pass for every agent that runs. */
  advance(ms: number): void {
    this.#aheadMs += ms;
    for (const running of this.#agents) {
      running.agent.post([{ kind: "tick", atMs: this.now() }]);
    }
  }

  /** Sets the wall clock that much ahead of the real one. */
  setWallClock(aheadMs: number): void {
    this.#wallAheadMs = aheadMs;
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
    return (JSON.parse(readFileSync(join(this.stateDir, "ledger.json"), "utf8")) as { leases: Lease[] })
      .leases;
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
      await running.bury();
    }
    await this.sim[Symbol.asyncDispose]();
    await this.#scratch[Symbol.asyncDispose]();
    for (const running of this.#agents) {
      expect(running.errors).toEqual([]);
    }
  }
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
