/**
 * Writes down what happens: every turn into the audit and the log, every change of the holds into the intents file.
 *
 * A step or a host write waits for its own line; the lines of a turn follow it in order. If the audit fails, no new
 * step begins (its line cannot be written), and the log says so once.
 */
import type { Log } from "../audit/log.js";
import type { AuditEntry } from "../audit/record.js";
import type { AuditSink } from "../audit/sink.js";
import { messageOf } from "../base/error.js";
import type { SceneCache } from "../core/scene.js";
import type { Step } from "../core/step.js";
import { DecisionLog } from "./decision-log.js";
import type { Memory } from "./memory.js";
import { narrate, stepStarted } from "./narrator.js";
import type { Turn } from "./pipeline.js";
import { RemarkLog } from "./remark-log.js";

export interface ChronicleDeps {
  readonly scenes: SceneCache;
  readonly audit: AuditSink;
  readonly log: Log;
  readonly now: () => number;
  readonly saveIntents: Memory["saveIntents"];
  readonly onEntry: (entry: AuditEntry) => void;
  readonly onError: (error: unknown) => void;
}

/** Who is writing. */
export interface AgentAbout {
  readonly version: string;
  readonly pid: number;
  readonly bootId: string;
  readonly mode: "act" | "observe";
  /** Bytes of a line that a crash had cut off. */
  readonly tornBytes: number;
}

export class Chronicle {
  readonly #deps: ChronicleDeps;
  readonly #decisions = new DecisionLog();
  readonly #remarks = new RemarkLog();
  #lastSave: Promise<void> = Promise.resolve();
  #isAuditBroken = false;

  constructor(deps: ChronicleDeps) {
    this.#deps = deps;
  }

  /** The first lines: who we are, what an earlier life has left, and what was damaged. */
  begin(about: AgentAbout, memory: Memory): void {
    const { version, pid, bootId, mode, tornBytes } = about;
    const after = { version, pid, bootId, mode };
    const atMs = this.#deps.now();
    this.note({
      atMs,
      event: "agent-started",
      who: "agent",
      what: `pciplug ${about.version} started`,
      after: tornBytes === 0 ? after : { ...after, tornBytes },
    });
    for (const lease of memory.archived) {
      const what = `the lease of ${lease.address} is of another boot: nothing is written on its word`;
      this.note({
        atMs,
        event: "lease-archived",
        who: "agent",
        what,
        address: lease.address,
        vm: lease.vm,
        before: lease,
      });
    }
    if (memory.ledgerDamagedAs !== null) {
      this.#deps.log.error(
        "The ledger was damaged and is kept aside; what devices were before is not known",
        {
          file: memory.ledgerDamagedAs,
        },
      );
    }
    if (memory.areIntentsLost) {
      this.#deps.log.error(
        "The intents file was damaged: nothing new is attached until `pciplug state accept-loss`",
      );
    }
  }

  /** The last line; resolves when everything is on disk. */
  async end(): Promise<void> {
    const atMs = this.#deps.now();
    this.note({
      atMs,
      event: "agent-stopping",
      who: "agent",
      what: "pciplug stops; VMs and devices stay as they are",
    });
    await this.#lastSave;
    await this.#deps.audit.close();
  }

  /** Is told of every turn. */
  readonly onTurn = (turn: Turn): void => {
    for (const entry of [
      ...narrate(turn),
      ...this.#remarks.news(turn.world),
      ...this.#decisions.news(turn.world, this.#deps.scenes.of(turn.world)),
    ]) {
      this.note(entry);
    }
    const { holds, intents } = turn.world;
    const isLoaded = turn.signals.some((signal) => signal.kind === "intents-read");
    if ((holds !== turn.before.holds || intents !== turn.before.intents) && !isLoaded) {
      const save = this.#lastSave.then(() => this.#deps.saveIntents(holds, intents));
      this.#lastSave = save.catch((error) => this.#deps.onError(error));
    }
  };

  /** Resolves once the line about a step is on disk, and every hold made before it. */
  readonly announceStep = async (step: Step): Promise<void> => {
    await this.#lastSave;
    await this.#append(stepStarted(this.#deps.now(), step));
  };

  /** Resolves once the line about a host write is on disk. */
  readonly announceWrite = async (write: { readonly path: string; readonly text: string }): Promise<void> => {
    await this.#append({
      atMs: this.#deps.now(),
      event: "host-write",
      who: "agent",
      what: `write to ${write.path}`,
      after: { path: write.path, text: write.text },
    });
  };

  /** Writes a line that nobody waits for. */
  note(entry: AuditEntry): void {
    this.#append(entry).catch((error) => {
      if (!this.#isAuditBroken) {
        this.#isAuditBroken = true;
        this.#deps.log.error("The audit cannot be written: no new step will begin", {
          error: messageOf(error),
        });
      }
    });
  }

  /** The world's clock only measures; what is written down carries the wall clock's time. */
  #append(untimed: AuditEntry): Promise<void> {
    const entry = { ...untimed, atMs: this.#deps.now() };
    this.#tell(entry);
    this.#deps.onEntry(entry);
    return this.#deps.audit.append(entry);
  }

  /** The same for whoever watches the log now. */
  #tell(entry: AuditEntry): void {
    const { atMs: _, event, what, ...fields } = entry;
    const outcome = event === "step-ended" ? entry.after.kind : undefined;
    const isTrouble =
      event === "policy-refused" ||
      event === "vm-remark" ||
      outcome === "failed" ||
      outcome === "refused" ||
      outcome === "timed-out";
    this.#deps.log[isTrouble ? "warn" : "info"](`${capitalised(event)}: ${what}`, fields);
  }
}

function capitalised(event: string): string {
  const words = event.replaceAll("-", " ");
  return words.slice(0, 1).toUpperCase() + words.slice(1);
}
