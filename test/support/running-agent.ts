/**
 * One life of the agent on a simulated host: started by compose(), waited for by what it knows, ended as by SIGTERM or
 * as by SIGKILL. Stands on an agent-world.ts, which keeps the host, the VMs and the state folder over many lives.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import type { Agent } from "../../src/agent/agent.js";
import { type Composition, compose } from "../../src/agent/compose.js";
import type { ProcessEdge } from "../../src/agent/main.js";
import type { AgentOptions } from "../../src/agent/options.js";
import type { PolicySource } from "../../src/agent/policy-file.js";
import type { AuditEntry } from "../../src/audit/record.js";
import type { Held } from "../../src/core/held.js";
import { describeHeld } from "../../src/core/held-text.js";
import { planAll } from "../../src/core/plan.js";
import type { Policy } from "../../src/core/policy.js";
import type { World } from "../../src/core/world.js";
import { hostRoot } from "../../src/host/root.js";
import type { StateFolder } from "../../src/host/state-folder.js";
import type { SimHost } from "../../src/sim/host.js";
import type { SimQemu } from "../../src/sim/qemu.js";
import { anAddress } from "./builders.js";
import { MortalHands, never } from "./mortal-hands.js";
import { inTime, waitFor } from "./waiting.js";

/** What a life of the agent stands on. */
export interface AgentStage {
  readonly dir: string;
  readonly stateDir: string;
  readonly host: SimHost;
  readonly now: () => number;
  readonly wallNow: () => number;
  readonly vm: (name: string) => SimQemu;
  readonly inVms: () => Record<string, string[]>;
}

export interface StartOptions extends Partial<Pick<AgentOptions, "isObserving" | "isDetachConfirmed">> {
  /** Where the policy comes from when it may change; by default it never does. */
  readonly file?: PolicySource;
  /** Shortest deadline for a write; the agent's own is twenty seconds. */
  readonly writeDeadlineMs?: number;
}

/** One life of the agent. */
export class RunningAgent {
  /** Every line of its audit, as it was written. */
  readonly entries: AuditEntry[] = [];
  /** What nobody answered for: none, in a good story. */
  readonly errors: unknown[] = [];
  readonly #world: AgentStage;
  readonly #folder: StateFolder;
  readonly #log = new PassThrough();
  readonly #hands: MortalHands;
  #parts: Composition | null = null;
  #isOver = false;

  private constructor(world: AgentStage, folder: StateFolder, writeDeadlineMs: number) {
    this.#world = world;
    this.#folder = folder;
    this.#hands = new MortalHands(world.host.io, writeDeadlineMs);
  }

  static async start(
    world: AgentStage,
    folder: StateFolder,
    policy: Policy,
    { writeDeadlineMs = Number.POSITIVE_INFINITY, file, ...options }: StartOptions,
  ): Promise<RunningAgent> {
    const running = new RunningAgent(world, folder, writeDeadlineMs);
    running.#log.resume();
    running.#parts = await compose({
      options: { ...agentOptions(world), ...options },
      edge: { ...anEdge(world), errStream: running.#log as unknown as NodeJS.WriteStream },
      root: hostRoot(world.host.dir),
      io: running.#hands,
      folder,
      policy,
      ...(file === undefined ? {} : { file }),
      onError: (error) => running.errors.push(error),
      onEntry: (entry) => running.entries.push(entry),
    });
    await inTime("start", running.#parts.start());
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
      JSON.stringify(this.inVm(vm)) === wanted &&
      JSON.stringify(this.#world.vm(vm).attached().sort()) === wanted;
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
    await inTime("the last step", this.agent.settled(), () => this.describe());
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
    this.#isOver = true;
    await inTime("stop", this.#parts?.stop() ?? Promise.resolve(), () => this.describe());
    this.#parts?.abandon();
    this.#folder.close();
  }

  /** At the end of the story: stops it if it still runs, closes what a crashed one has left open in this process. */
  async bury(): Promise<void> {
    if (!this.#isOver) {
      await this.stop();
    } else if (this.#hands.isDead) {
      this.#parts?.stop().catch(() => undefined);
    }
  }

  /** Ends as on SIGKILL: it does nothing any more, its sockets close, the lock goes, its control socket stays. */
  crash(): void {
    this.#isOver = true;
    this.#hands.isDead = true;
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

/** The process that an agent of a story seems to run in. */
export function anEdge({ now, wallNow }: AgentStage): Omit<ProcessEdge, "errStream"> {
  return {
    pid: 4242,
    version: "0.0.0-story",
    uid: process.getuid?.() ?? 0,
    now,
    wallNow,
    out: () => undefined,
    stopSignal: () => never(),
    onReloadSignal: () => undefined,
    onUncaught: () => undefined,
    exitNow: () => undefined,
  };
}

/** How an agent of a story is started. */
export function agentOptions(world: AgentStage): AgentOptions {
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
