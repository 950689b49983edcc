/**
 * The loop: turns come in, lanes are woken, what they do comes back in by the front door.
 *
 * Holds the newest world for those who ask (control, lanes); nobody else keeps a copy. The one subscribe() is here.
 */
import { clearTimeout, setTimeout } from "node:timers";
import type { Subscription } from "rxjs";
import { detachObjection } from "../core/lost.js";
import { isVmTransparent } from "../core/occupancy.js";
import { lanesOf, nextDueMs } from "../core/plan.js";
import type { SceneCache } from "../core/scene.js";
import type { Signal } from "../core/signal.js";
import type { Step } from "../core/step.js";
import { emptyWorld, type World } from "../core/world.js";
import type { HostEye } from "./host-eye.js";
import { createPass } from "./lane.js";
import { openPipeline, type Pipeline, type Sources, type Turn } from "./pipeline.js";
import type { PolicyFile, Reading } from "./policy-file.js";
import type { Tools } from "./tools.js";
import { Workqueue } from "./workqueue.js";

export interface AgentParts {
  /** Shared by everybody who asks what was decided in a world. */
  readonly scenes: SceneCache;
  readonly now: () => number;
  /** The host's wakes, the VMs' links, the watch over the operator's file. */
  readonly sources: Sources;
  readonly eye: HostEye;
  /** Everything the steps work with; the world and the door are the agent's own. */
  readonly tools: (world: () => World, post: Pipeline["post"]) => Tools;
  readonly announce: (step: Step) => Promise<void>;
  /** Is told of every turn before the lanes are woken: the audit, the intents file. */
  readonly onTurn: (turn: Turn) => void;
  /** Reads the operator's file; what is to be told the world comes back as signals. */
  readonly file: PolicyFile;
  /** A broken promise that nobody below could answer for. The process is expected to end. */
  readonly onError: (error: unknown) => void;
}

export class Agent {
  readonly #parts: AgentParts;
  readonly #pipeline: Pipeline;
  readonly #queue: Workqueue;
  #world: World = emptyWorld;
  #subscription: Subscription | null = null;
  #timer: NodeJS.Timeout | null = null;
  #watchers: { isMet: (world: World) => boolean; resolve: () => void }[] = [];

  constructor(parts: AgentParts) {
    this.#parts = parts;
    this.#pipeline = openPipeline(parts.sources);
    const pass = createPass({
      scenes: parts.scenes,
      tools: parts.tools(() => this.#world, this.post),
      post: this.post,
      announce: parts.announce,
      isStopping: () => this.#queue.isStopping,
    });
    this.#queue = new Workqueue(pass, parts.onError);
  }

  get world(): World {
    return this.#world;
  }

  /** The front door. */
  readonly post = (signals: readonly Signal[]): void => {
    this.#pipeline.post(signals);
  };

  /** Begins: what is known from the start first, then the sources. */
  start(first: readonly Signal[]): void {
    this.#subscription = this.#pipeline.turns$.subscribe({
      next: (turn) => this.#onTurn(turn),
      error: this.#parts.onError,
    });
    this.post(first);
  }

  /** Resolves when the world fulfils the condition, at once if it does already. */
  until(isMet: (world: World) => boolean): Promise<void> {
    if (isMet(this.#world)) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#watchers.push({ isMet, resolve });
    });
  }

  /** Reads the operator's file and, if it is good, puts it in force. `isConfirmed`: what it takes from VMs is meant. */
  reload(isConfirmed: boolean): Promise<Reading> {
    return this.#parts.file.read(this, isConfirmed);
  }

  /** Resolves when no lane has anything to do. */
  settled(): Promise<void> {
    return this.#queue.idle();
  }

  /** Ends: no new step, sources closed. Resolves when the running steps have ended; the caller sets the limit. */
  stop(): Promise<void> {
    this.#queue.stop();
    if (this.#timer !== null) {
      clearTimeout(this.#timer);
    }
    const idle = this.#queue.idle();
    return idle.finally(() => this.#subscription?.unsubscribe());
  }

  /** Closes the sources without waiting for anything. */
  abandon(): void {
    this.#subscription?.unsubscribe();
  }

  #onTurn(turn: Turn): void {
    this.#world = turn.world;
    this.#parts.onTurn(turn);
    for (const signal of turn.signals) {
      this.#answer(turn, signal);
    }
    this.#watchers = this.#watchers.filter((watcher) => {
      const isMet = watcher.isMet(turn.world);
      if (isMet) {
        watcher.resolve();
      }
      return !isMet;
    });
    for (const lane of lanesOf(turn.world)) {
      this.#queue.wake(lane);
    }
    this.#bar(turn.world);
    this.#arm();
  }

  /** What a signal asks for beyond being remembered. */
  #answer(turn: Turn, signal: Signal): void {
    if (signal.kind === "look-wanted") {
      this.#look(signal.source);
    } else if (signal.kind === "reload-wanted") {
      this.reload(false).catch(this.#parts.onError);
    } else if (signal.kind === "policy-loaded" && turn.before.policy !== null) {
      // Its rules may ask for facts that were not read so far.
      this.#look("policy");
    }
  }

  /** A policy that loses too much stays barred, though VMs and cards may go one by one (semantics.md 6). */
  #bar(world: World): void {
    const { policy } = world;
    // A VM that does not answer counts with all its leases: right for now, too much to stay barred for.
    if (policy === null || !policy.vms.every((vm) => isVmTransparent(world, vm.name))) {
      return;
    }
    const objection = detachObjection(world, this.#parts.scenes.of(world).assignment);
    if (objection?.kind === "detach-limit" && world.detachBar?.policy !== policy.version) {
      this.post([{ kind: "detach-barred", policy: policy.version, count: objection.count }]);
    }
  }

  #look(source: Parameters<HostEye["look"]>[0]): void {
    this.#parts.eye.look(source).then((signal) => this.post([signal]), this.#parts.onError);
  }

  /** Sets the alarm for the moment at which time alone changes a plan. */
  #arm(): void {
    if (this.#timer !== null) {
      clearTimeout(this.#timer);
      this.#timer = null;
    }
    const due = nextDueMs(this.#world);
    if (due === null || this.#queue.isStopping) {
      return;
    }
    const delayMs = Math.max(10, due - this.#parts.now());
    this.#timer = setTimeout(() => this.post([{ kind: "tick", atMs: this.#parts.now() }]), delayMs);
  }
}
