/**
 * The agent under test, as an operator would run it: `node dist/cli/main.js agent --config FILE --state DIR` in the L1
 * machine. Its standard output, its log and its audit are read from files; its word is never the proof of a story.
 */
import type { Channel } from "./channel.js";
import type { Host } from "./host.js";
import { agentProgram } from "./paths.js";

/** The operator's file; written as JSON, which is valid YAML. */
export interface AgentConfig {
  readonly vms: readonly Readonly<Record<string, unknown>>[];
  readonly rules: readonly Readonly<Record<string, unknown>>[];
  readonly sources?: Readonly<Record<string, unknown>>;
  readonly limits?: Readonly<Record<string, unknown>>;
}

/** One line of the audit: at least what happened, and to which device. */
export type AuditLine = Readonly<Record<string, unknown>>;

const readyDeadlineMs = 120_000;
const endDeadlineMs = 60_000;
const folder = "/run/pciplug-lab/agent";

export class Agent {
  readonly state: string;
  readonly #channel: Channel;
  readonly #host: Host;
  #pid: number | undefined;
  #starts = 0;

  /** @param state the state folder; one agent is started on it again and again. */
  constructor(channel: Channel, host: Host, state: string) {
    this.#channel = channel;
    this.#host = host;
    this.state = state;
  }

  /** Starts the agent with a file and waits for its `Ready` line, which it gives. */
  async start(config: AgentConfig, options: readonly string[] = []): Promise<string> {
    const files = this.#files(++this.#starts);
    await this.#host.sh(`mkdir -p ${folder} ${this.state.slice(0, this.state.lastIndexOf("/"))}`);
    await this.#host.write(files.config, `${JSON.stringify(config, null, 2)}\n`);
    const argv = [process.execPath, agentProgram, "agent", "--config", files.config, "--state", this.state];
    const { pid } = await this.#channel.ask("spawn", {
      argv: [...argv, ...options],
      stdout: files.output,
      stderr: files.log,
    });
    this.#pid = pid;
    const wait = { path: files.output, pattern: "^Ready", pid, deadlineMs: readyDeadlineMs };
    const { line, isRunning } = await this.#channel.ask("said", wait);
    if (line !== null) return line;
    const log = (await this.#host.read(files.log)) ?? "";
    const why = isRunning ? `no Ready line within ${readyDeadlineMs} ms` : "it ended before it was ready";
    throw new Error(`the agent did not start: ${why}\n${log.split("\n").slice(-5).join("\n")}`);
  }

  /** Puts another file in the place of the operator's, by rename, as editors do: the agent sees it by itself. */
  async replaceFile(config: AgentConfig): Promise<void> {
    const { config: path } = this.#files(this.#starts);
    await this.#host.write(`${path}.new`, `${JSON.stringify(config, null, 2)}\n`);
    await this.#host.sh(`mv ${path}.new ${path}`);
  }

  /** SIGTERM; waits for the orderly end and gives the exit code. */
  async stop(): Promise<number | null> {
    return await this.#end("SIGTERM");
  }

  /** SIGKILL, as in a crash. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Whether it still runs. */
  async isRunning(): Promise<boolean> {
    if (this.#pid === undefined) return false;
    return (await this.#channel.ask("ended", { pid: this.#pid, deadlineMs: 0 })).kind === "running";
  }

  /** Runs another command of `pciplug` on this agent's state folder and gives what it printed as JSON. */
  async query(verb: "status" | "plan" | "devices" | "reload --confirm"): Promise<unknown> {
    const config = verb === "plan" ? `--config ${this.#files(this.#starts).config}` : "";
    const command = `${process.execPath} ${agentProgram} ${verb} --json --state ${this.state} ${config}`;
    const result = await this.#host.exec(command, endDeadlineMs);
    // `plan` exits with 2 when something is held (semantics.md 10): its answer is on standard output all the same.
    try {
      return JSON.parse(result.stdout);
    } catch {
      throw new Error(
        `in L1, \`${command}\`: exit ${result.code}, no JSON\n${result.stdout}${result.stderr}`,
      );
    }
  }

  /** The audit so far. */
  async audit(): Promise<AuditLine[]> {
    return jsonLines(await this.#host.read(`${this.state}/audit.jsonl`));
  }

  /** The agent's operational log since its latest start. */
  async log(): Promise<AuditLine[]> {
    return jsonLines(await this.#host.read(this.#files(this.#starts).log));
  }

  /** The text of the ledger: what the agent says it has changed on the host. */
  async ledger(): Promise<string> {
    return (await this.#host.read(this.ledgerPath)) ?? "";
  }

  get ledgerPath(): string {
    return `${this.state}/ledger.json`;
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    if (this.#pid === undefined) return null;
    await this.#channel.ask("signal", { pid: this.#pid, signal });
    const state = await this.#channel.ask("ended", { pid: this.#pid, deadlineMs: endDeadlineMs });
    if (state.kind === "running")
      throw new Error(`the agent did not end by ${signal} within ${endDeadlineMs} ms`);
    this.#pid = undefined;
    return state.code;
  }

  #files(start: number) {
    const base = `${folder}/${this.state.replaceAll("/", "_")}-${start}`;
    return { config: `${base}.yaml`, output: `${base}.out`, log: `${base}.log` };
  }
}

function jsonLines(text: string | null): AuditLine[] {
  const lines = (text ?? "").split("\n").filter((line) => line.startsWith("{"));
  return lines.flatMap((line) => {
    try {
      return [JSON.parse(line) as AuditLine];
    } catch {
      return []; // the line that is just being written
    }
  });
}
