/** What a story is, and what it has to work with. One story runs at a time; what it leaves behind is its failure. */
import { Agent } from "./agent.js";
import { Cards } from "./cards.js";
import type { Guest } from "./guest.js";
import type { Host } from "./host.js";
import type { Machine } from "./machine.js";
import type { QemuBuild } from "./qemu-build.js";
import { Vm, type VmPlan } from "./vm.js";

/** A story: a sentence about behaviour, and the code that tells it. */
export interface Story {
  readonly number: number;
  readonly name: string;
  readonly sentence: string;
  /** False for stories that prove the lab itself. */
  readonly needsAgent: boolean;
  readonly tell: (lab: Lab) => Promise<void>;
}

export interface StoryNote {
  readonly number: number;
  readonly name: string;
  readonly needsAgent?: boolean;
}

/** Declares a story. */
export function story(sentence: string, note: StoryNote, tell: (lab: Lab) => Promise<void>): Story {
  return { number: note.number, name: note.name, sentence, needsAgent: note.needsAgent ?? true, tell };
}

export interface LabParts {
  readonly machine: Machine;
  readonly qemu: QemuBuild;
  readonly guest: Guest;
  readonly host: Host;
  /** Told what the story saw, as it sees it. */
  readonly saw: (what: string) => void;
}

/** Everything that one story makes in one machine; `clean` takes all of it away again. */
export class Lab {
  readonly host: Host;
  readonly cards: Cards;
  readonly saw: (what: string) => void;
  readonly #parts: LabParts;
  readonly #vms: Vm[] = [];
  readonly #agents: Agent[] = [];
  readonly #undo: (() => Promise<unknown>)[] = [];

  constructor(parts: LabParts) {
    this.#parts = parts;
    this.host = parts.host;
    this.saw = parts.saw;
    this.cards = new Cards(parts.machine.qmp, parts.host, parts.machine.folder);
  }

  /** Makes a VM and starts it. */
  async vm(plan: VmPlan): Promise<Vm> {
    const { machine, qemu, guest } = this.#parts;
    const vm = new Vm(plan, machine.channel, this.host, qemu, guest);
    this.#vms.push(vm);
    await vm.start();
    return vm;
  }

  /** Makes an agent with a state folder of its own; the story starts it. */
  agent(): Agent {
    const state = `/var/lib/pciplug-lab/${this.#agents.length + 1}/state`;
    const agent = new Agent(this.#parts.machine.channel, this.host, state);
    this.#agents.push(agent);
    return agent;
  }

  /** Registers what must be undone after the story, also when it fails; run in reverse order. */
  undo(step: () => Promise<unknown>): void {
    this.#undo.push(step);
  }

  /**
   * Asks until the answer is neither `undefined` nor `false`, and gives it.
   * The deadline is only a hang guard: these emulated CPUs are 10 to 30 times slower than a host's.
   */
  async until<T>(what: string, ask: () => Promise<T | undefined | false>, deadlineMs = 120_000): Promise<T> {
    const startedMs = performance.now();
    for (;;) {
      const answer = await ask();
      if (answer !== undefined && answer !== false) {
        this.saw(`${what} (after ${((performance.now() - startedMs) / 1000).toFixed(1)} s)`);
        return answer;
      }
      if (performance.now() - startedMs > deadlineMs)
        throw new Error(`not seen within ${deadlineMs} ms: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }

  /**
   * Ends the agents, kills the VMs, pulls the cards, removes the state.
   * @throws Error naming whatever is then still bound to vfio-pci or overridden.
   */
  async clean(): Promise<void> {
    for (const agent of this.#agents) await agent.kill();
    for (const vm of this.#vms) await vm.kill();
    for (const step of this.#undo.splice(0).reverse()) await step();
    await this.cards.pullAll();
    await this.host.sh("rm -rf /var/lib/pciplug-lab");
    const left = await this.host.leftovers();
    if (left.length > 0) throw new Error(`the story left the host unclean: ${left.join("; ")}`);
  }

  /** Forgets the files of the VMs and agents: after a story that passed. */
  async forget(): Promise<void> {
    await this.host.sh("rm -rf /run/pciplug-lab/vm-* /run/pciplug-lab/agent");
  }
}
