/**
 * Tells stories one after the other in one machine, with a clean-up between them. A failed story costs its machine:
 * the next one gets a fresh one. A machine whose QEMU aborts (facts.md 12) is booted again once, and that is counted.
 */
import { existsSync } from "node:fs";
import { keepInner, keepOuter } from "./evidence.js";
import type { Guest } from "./guest.js";
import { Host } from "./host.js";
import { Machine, type MachinePlan, OuterQemuAborted } from "./machine.js";
import { agentProgram } from "./paths.js";
import { within } from "./qmp.js";
import { attachShell } from "./shell.js";
import { Lab, type Story } from "./story.js";

/** Hang guard for a whole story. */
const storyDeadlineMs = 900_000;
const allowedRepeats = 1;

export interface RunPlan {
  readonly machine: MachinePlan;
  readonly guest: Guest;
  readonly isKeep: boolean;
  /** Prints one line. */
  readonly say: (line: string) => void;
}

export interface Tally {
  readonly passed: number;
  readonly failed: number;
  /** How many times the outer QEMU aborted and its boot was repeated. */
  readonly repeats: number;
}

interface Booted {
  readonly machine: Machine;
  readonly host: Host;
}

export class Runner {
  readonly #plan: RunPlan;
  #booted: Booted | undefined;
  #repeats = 0;
  #isKept = false;

  constructor(plan: RunPlan) {
    this.#plan = plan;
  }

  /** Whether the stories are told and the machine is only up for a person, who may end it by a signal. */
  get isKept(): boolean {
    return this.#isKept;
  }

  /** Tells the stories and gives the count. Failures are said, not thrown. */
  async tell(stories: readonly Story[]): Promise<Tally> {
    let passed = 0;
    for (const story of stories) {
      this.#plan.say(`\n${story.number} ${story.name}: ${story.sentence}`);
      if (await this.#tellOnce(story)) passed++;
      else if (this.#plan.isKeep) break;
    }
    if (this.#plan.isKeep) {
      const { machine } = await this.#boot();
      this.#isKept = true;
      await attachShell(machine);
    }
    await this.end();
    return { passed, failed: stories.length - passed, repeats: this.#repeats };
  }

  /** Ends the machine that is up, if any. */
  async end(): Promise<void> {
    const booted = this.#booted;
    this.#booted = undefined;
    await booted?.machine.stop();
    booted?.machine.forget();
  }

  async #tellOnce(story: Story): Promise<boolean> {
    const startedMs = performance.now();
    const record: string[] = [];
    const seconds = () => ((performance.now() - startedMs) / 1000).toFixed(1).padStart(6);
    const saw = (what: string) => {
      record.push(`${seconds()} s  ${what}`);
      this.#plan.say(`  ${seconds()} s  ${what}`);
    };
    try {
      if (story.needsAgent && !existsSync(agentProgram)) {
        throw new Error("the agent is not built: dist/cli/main.js is missing (npm run build)");
      }
      await this.#tellIn(await this.#boot(), story, saw);
      this.#plan.say(`  passed in ${seconds().trim()} s`);
      return true;
    } catch (error) {
      if (await this.#isRepeatable(error)) return await this.#tellOnce(story);
      saw(`FAILED: ${error instanceof Error ? error.message : String(error)}`);
      await this.#keepEvidence(story, record);
      return false;
    }
  }

  async #tellIn({ machine, host }: Booted, story: Story, saw: (what: string) => void): Promise<void> {
    const { guest, machine: plan } = this.#plan;
    const lab = new Lab({ machine, host, guest, qemu: plan.qemu, saw });
    await within(story.tell(lab), storyDeadlineMs, "the story did not end");
    await lab.clean();
    await lab.forget();
  }

  async #boot(): Promise<Booted> {
    if (this.#booted !== undefined) return this.#booted;
    const startedMs = performance.now();
    const machine = await Machine.boot(this.#plan.machine);
    const host = new Host(machine.channel);
    this.#booted = { machine, host };
    await host.until("the modules loaded", "[ -e /run/pciplug-lab/modules-loaded ]");
    await Promise.all([host.startUdev(), host.recordUevents()]);
    const left = await host.leftovers();
    if (left.length > 0) throw new Error(`a fresh machine is not clean: ${left.join("; ")}`);
    this.#plan.say(
      `  (booted Linux ${await host.sh("uname -r")} in ${((performance.now() - startedMs) / 1000).toFixed(1)} s)`,
    );
    return this.#booted;
  }

  /** Only an abort of the outer QEMU itself, and only so often; any other failure is final. */
  async #isRepeatable(error: unknown): Promise<boolean> {
    const abort = error instanceof OuterQemuAborted ? error : await this.#booted?.machine.abort();
    if (abort === undefined || this.#repeats >= allowedRepeats) return false;
    this.#repeats++;
    this.#plan.say(
      `  ${abort.message}: a known fault of the outer QEMU, not of the story; booting once more`,
    );
    await this.end();
    return true;
  }

  /** Keeps the evidence and gives up the machine, unless a person wants to look into it. */
  async #keepEvidence(story: Story, record: readonly string[]): Promise<void> {
    const booted = this.#booted;
    if (booted === undefined) return;
    const folder = await keepInner(story, booted.host);
    keepOuter(folder, booted.machine, record);
    this.#plan.say(`  evidence: ${folder}`);
    if (!this.#plan.isKeep) await this.end();
  }
}
