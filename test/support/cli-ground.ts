/**
 * Where the command line is tried: a simulated host as `--root`, a file, and a state folder in a place that the program
 * accepts (semantics.md 9 refuses /tmp). The simulation runs in the test's process, so its sockets answer the program,
 * but what the program writes to its sysfs stays plain text: no driver moves.
 */
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { unsafeReason } from "../../src/host/state-folder.js";
import type { SimCard } from "../../src/sim/card.js";
import { createSimulation, type Simulation, type SimulationOptions } from "../../src/sim/fleet.js";
import { Program } from "./program.js";

/** A graphics card that stands on vfio-pci already, so that no driver has to move. Made up. */
export const readyCard: SimCard = {
  address: "0000:41:00.0",
  vendor: "10de",
  device: "2204",
  class: "030000",
  driver: "vfio-pci",
  iommuGroup: 27,
};

/** The same on its host driver. */
export const hostCard: SimCard = {
  ...readyCard,
  address: "0000:01:00.0",
  driver: "nouveau",
  iommuGroup: 13,
};

/** Commands that look at a host. */
type Command = "agent" | "plan" | "explain" | "devices" | "status" | "reload";

export class CliGround {
  readonly dir: string;
  readonly sim: Simulation;
  readonly #agents: Program[] = [];

  private constructor(dir: string, sim: Simulation) {
    this.dir = dir;
    this.sim = sim;
  }

  static async open(options: Omit<SimulationOptions, "dir">): Promise<CliGround> {
    const dir = mkdtempSync(join(safePlace(), "pciplug-cli-"));
    const root = join(dir, "host");
    mkdirSync(root);
    return new CliGround(dir, await createSimulation({ ...options, dir: root }));
  }

  get root(): string {
    return this.sim.host.dir;
  }

  get state(): string {
    return join(this.dir, "state");
  }

  get config(): string {
    return join(this.dir, "config.yaml");
  }

  /** Writes a file of this ground; `config.yaml` is the one that the commands read. */
  write(text: string, name = "config.yaml"): string {
    const path = join(this.dir, name);
    writeFileSync(path, text, { mode: 0o644 });
    return path;
  }

  /** Writes the usual file: every NVIDIA card goes to the VM of this name. */
  writeUsual(vm = "build"): string {
    return this.write(fileFor([[vm, this.sim.socketOf(vm)]], [["nvidia", '{ vendor: "10de" }', vm]]));
  }

  /** The command with the options that lead it here, and more. */
  args(command: Command, ...more: readonly string[]): string[] {
    const root = command === "status" || command === "reload" ? [] : ["--root", this.root];
    const config = ["agent", "plan", "explain"].includes(command) ? ["--config", this.config] : [];
    return [command, ...root, ...config, "--state", this.state, ...more];
  }

  /** Starts an agent here; what still runs at the end is killed. */
  agent(...more: readonly string[]): Program {
    const program = new Program(this.args("agent", ...more));
    this.#agents.push(program);
    return program;
  }

  /** The agent, once it has said that it is ready. */
  async readyAgent(...more: readonly string[]): Promise<Program> {
    const agent = this.agent(...more);
    await agent.until(/^Ready/m);
    return agent;
  }

  /** Everything there is below a folder: kind, mode, age and contents of each entry. */
  snapshot(folder: "." | "host" | "host/sys" = "."): Readonly<Record<string, string>> {
    const top = join(this.dir, folder);
    return Object.fromEntries(entriesBelow(top).map((path) => [path.slice(top.length), describe(path)]));
  }

  async close(): Promise<void> {
    await Promise.all(this.#agents.map((agent) => agent.end("SIGKILL")));
    await this.sim[Symbol.asyncDispose]();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Runs something on a ground of its own. */
export async function onGround<T>(
  options: Omit<SimulationOptions, "dir">,
  use: (ground: CliGround) => Promise<T>,
): Promise<T> {
  const ground = await CliGround.open(options);
  try {
    return await use(ground);
  } finally {
    await ground.close();
  }
}

/** The text of an operator's file: VMs as [name, socket], rules as [name, match, vm]. */
export function fileFor(
  vms: readonly (readonly [string, string])[],
  rules: readonly (readonly [string, string, string])[],
): string {
  return [
    "vms:",
    ...vms.map(([name, qmp]) => `  - { name: ${name}, qmp: ${qmp} }`),
    "rules:",
    ...rules.map(([name, match, vm]) => `  - { name: ${name}, match: ${match}, vm: ${vm} }`),
    "",
  ].join("\n");
}

/** A folder of ours that nobody else can put something in the place of. */
function safePlace(): string {
  const uid = process.getuid?.() ?? 0;
  const places = [() => `/run/user/${uid}`, homedir, () => resolve(import.meta.dirname, "../../build")];
  const safe = places.find((place) => isSafe(place, uid));
  if (safe === undefined) {
    throw new Error("no place for a state folder: the home folder or build/ must be ours alone, up to /");
  }
  return safe();
}

function isSafe(place: () => string, uid: number): boolean {
  try {
    const facts = [];
    for (let path = place(); ; path = dirname(path)) {
      const { uid: owner, mode } = statSync(path);
      facts.push({ path, uid: owner, mode });
      if (path === dirname(path)) {
        break;
      }
    }
    const [own, ...above] = facts;
    return own !== undefined && unsafeReason(own, above, uid) === null;
  } catch {
    return false;
  }
}

function entriesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? [path, ...entriesBelow(path)] : [path];
  });
}

function describe(path: string): string {
  const stats = lstatSync(path);
  const head = `${stats.mode.toString(8)} ${stats.ino}`;
  if (stats.isSymbolicLink()) {
    return `${head} -> ${readlinkSync(path)}`;
  }
  return stats.isFile() ? `${head} ${stats.mtimeMs} ${readFileSync(path, "latin1")}` : head;
}
