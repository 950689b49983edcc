/**
 * The course of a rehearsal: event after event, each when the agent is at rest after the one before, and what came of
 * it. Order of what is told: decisions by address, steps VM by VM, never by when they happened to end.
 */
import { clearTimeout, setTimeout } from "node:timers";
import { InvariantError } from "../base/error.js";
import type { RehearsalEvent } from "../config/events.js";
import { nextDueMs, planAll } from "../core/plan.js";
import type { Policy } from "../core/policy.js";
import {
  assignmentsIn,
  decisionsBetween,
  type Picture,
  pictureOf,
  type RehearsalReport,
  type RehearsedEvent,
  type RehearsedStep,
  vmsBetween,
} from "../core/rehearsal.js";
import { emptyWorld, type World } from "../core/world.js";
import type { Composition } from "./compose.js";
import { RehearsalError } from "./rehearse-cards.js";
import type { Stage } from "./rehearse-stage.js";

/** How long the agent may take, in real time, to come to rest. */
const REST_LIMIT_MS = 60_000;

/** The clock of a rehearsal: it stands still until it is set forward, so that a minute passes at once. */
export class RehearsalClock {
  #nowMs = 0;

  /** Simulated milliseconds since the start. */
  readonly now = (): number => this.#nowMs;

  /** Time never runs backwards. */
  setTo(ms: number): void {
    this.#nowMs = Math.max(this.#nowMs, ms);
  }
}

export interface PlayParts {
  readonly stage: Stage;
  readonly composition: Composition;
  readonly clock: RehearsalClock;
  /** The steps that have ended since it was asked last, in the order in which they did. */
  readonly takeSteps: () => RehearsedStep[];
  /** Rejects when the agent breaks, or the rehearsal is called off. */
  readonly broken: Promise<never>;
  /** The policy behind each path that the events name, as it is on the stage. */
  readonly policies: ReadonlyMap<string, Policy>;
  /** The text without what only this run of the rehearsal has: scratch folders. */
  readonly clean: (text: string) => string;
  /** Hears each event once everything has come of it. */
  readonly onEvent: (event: RehearsedEvent) => void;
}

export class Play {
  readonly #parts: PlayParts;
  readonly #timeline: RehearsedEvent[] = [];
  #before: Picture = pictureOf(emptyWorld);
  #present: Pick<RehearsedEvent, "atMs" | "kind" | "event"> = { atMs: 0, kind: "start", event: "" };
  /** When something other than time last happened. */
  #movedMs = 0;

  constructor(parts: PlayParts) {
    this.#parts = parts;
  }

  /** Plays all of it. @throws {RehearsalError} `rehearsal.impossible` at an event that cannot happen. */
  async run(
    beginning: string,
    events: readonly RehearsalEvent[],
  ): Promise<Pick<RehearsalReport, "timeline" | "assignments" | "held" | "rules">> {
    const { clock, composition } = this.#parts;
    this.#present = { ...this.#present, event: beginning };
    await this.#unbroken(composition.start());
    await this.#rest();
    for (const [index, event] of events.entries()) {
      await this.#passTo(event.atMs ?? (event.kind === "wait" ? clock.now() : this.#settledMs()));
      this.#close();
      this.#present = { atMs: clock.now(), kind: event.kind, event: describeEvent(event) };
      await this.#play(event, index + 1);
      await this.#rest();
    }
    await this.#passTo(this.#settledMs());
    this.#close();
    const { plan } = this.#before;
    return {
      timeline: this.#timeline,
      assignments: assignmentsIn(this.#before),
      held: plan.held.map((held) => ({ ...held, reason: this.#cleaned(held.reason) })),
      rules: plan.rules,
    };
  }

  async #play(event: RehearsalEvent, number: number): Promise<void> {
    const { stage, clock } = this.#parts;
    try {
      switch (event.kind) {
        case "wait":
          return await this.#passTo(clock.now() + event.ms);
        case "policy":
          return this.#changePolicy(event.path);
        case "vm-restart":
          await stage.play({ ...event, kind: "vm-stop" });
          await this.#rest();
          return await stage.play({ ...event, kind: "vm-start" });
        default:
          return await this.#unbroken(stage.play(event));
      }
    } catch (cause) {
      if (cause instanceof RehearsalError) {
        throw new RehearsalError(`cannot play event ${number} (${describeEvent(event)}): ${cause.message}`, {
          cause,
        });
      }
      throw cause;
    } finally {
      this.#movedMs = event.kind === "wait" ? this.#movedMs : clock.now();
    }
  }

  #changePolicy(path: string): void {
    const { policies, composition, clock } = this.#parts;
    const policy = policies.get(path);
    if (policy === undefined) {
      throw new RehearsalError(`${path} was not read`);
    }
    composition.agent.post([{ kind: "policy-loaded", atMs: clock.now(), policy }]);
  }

  /** The moment until which the agent is given time to settle by itself. */
  #settledMs(): number {
    return this.#movedMs + (this.#parts.composition.agent.world.policy?.settleMs ?? 0);
  }

  /** Lets time pass, stopping at each moment at which time alone changes a plan. */
  async #passTo(ms: number): Promise<void> {
    const { clock, composition } = this.#parts;
    while (clock.now() < ms) {
      clock.setTo(Math.min(nextDueMs(composition.agent.world) ?? ms, ms));
      composition.agent.post([{ kind: "tick", atMs: clock.now() }]);
      await this.#rest();
    }
  }

  /** Resolves when the agent sees the host and the VMs as they are, and wants to change nothing. */
  async #rest(): Promise<void> {
    const { stage, composition } = this.#parts;
    const { agent } = composition;
    const isQuiet = (world: World): boolean =>
      stage.isSeen(world) && world.running.size === 0 && planAll(world).steps.length === 0;
    const work = async (): Promise<void> => {
      do {
        // First the VMs: a card that has left its VM before it left the host must not look as if it were still in there.
        await agent.until((world) => stage.isSeen(world));
        await composition.look();
        await agent.until(isQuiet);
        await agent.settled();
      } while (!isQuiet(agent.world));
    };
    await this.#unbroken(work());
  }

  async #unbroken<T>(work: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const message = `the agent did not come to rest after: ${this.#present.event}`;
      timer = setTimeout(() => reject(new InvariantError(message)), REST_LIMIT_MS);
    });
    try {
      return await Promise.race([work, this.#parts.broken, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Tells what came of the present event. */
  #close(): void {
    const after = pictureOf(this.#parts.composition.agent.world);
    const event: RehearsedEvent = {
      ...this.#present,
      decisions: decisionsBetween(this.#before, after).map((decision) => ({
        ...decision,
        reason: decision.reason === null ? null : this.#cleaned(decision.reason),
      })),
      steps: this.#stepsByVm(after),
      vms: vmsBetween(this.#before, after),
    };
    this.#before = after;
    this.#timeline.push(event);
    this.#parts.onEvent(event);
  }

  #stepsByVm({ world }: Picture): RehearsedStep[] {
    const names = (world.policy?.vms ?? []).map((vm) => vm.name);
    const rank = ({ vm }: RehearsedStep): number => (names.includes(vm) ? names.indexOf(vm) : names.length);
    return this.#parts
      .takeSteps()
      .map((step) => ({
        ...step,
        why: step.why === null ? null : this.#parts.clean(step.why),
        detail: step.detail === null ? null : this.#parts.clean(step.detail),
      }))
      .sort((a, b) => rank(a) - rank(b));
  }

  #cleaned<T extends { readonly message: string }>(reason: T): T {
    return { ...reason, message: this.#parts.clean(reason.message) };
  }
}

function describeEvent(event: RehearsalEvent): string {
  switch (event.kind) {
    case "plug": {
      const { address, like, vendor, device } = event.plug;
      const made = vendor === undefined && device === undefined ? "" : ` (${vendor ?? "?"}:${device ?? "?"})`;
      return `plug ${address}${like === undefined ? made : `, a card like ${like}`}`;
    }
    case "unplug":
      return `unplug ${event.place}`;
    case "vm-start":
      return `VM ${event.vm} starts`;
    case "vm-stop":
      return `VM ${event.vm} stops`;
    case "vm-restart":
      return `VM ${event.vm} restarts`;
    case "eject":
      return `the guest of ${event.vm} ejects ${event.address}`;
    case "policy":
      return `the rules of ${event.path} take effect`;
    case "wait":
      return `${event.ms / 1000} s pass`;
  }
}
