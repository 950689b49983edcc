/**
 * The built program as a child process: what a shell, systemd or a check from outside sees of it.
 * `npm test` builds dist/ first. Nothing is replaced: arguments in, two streams and an exit status out.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import type { Readable } from "node:stream";

const MAIN = resolve(import.meta.dirname, "../../dist/cli/main.js");
const HANG_GUARD_MS = 40_000;

/** What is left of a program that has ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProgramOptions {
  /** Words before `node`, such as `setpriv ...`. */
  readonly prefix?: readonly string[];
}

/** One run of the program. */
export class Program {
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #ended: Promise<unknown>;
  #stdout = "";
  #stderr = "";

  constructor(args: readonly string[], { prefix = [] }: ProgramOptions = {}) {
    const [command = "", ...words] = [...prefix, process.execPath, MAIN, ...args];
    this.#child = spawn(command, words, { stdio: ["ignore", "pipe", "pipe"] });
    this.#child.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.#stdout += text;
    });
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr += text;
    });
    this.#ended = once(this.#child, "close");
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Resolves when standard output, or the named stream, holds a text that matches. */
  async until(pattern: RegExp, stream: "stdout" | "stderr" = "stdout"): Promise<void> {
    const deadline = AbortSignal.timeout(HANG_GUARD_MS);
    while (!pattern.test(this[stream])) {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        throw new Error(`ended before ${pattern}: ${this.#stdout}${this.#stderr}`);
      }
      await Promise.race([
        once(this.#child[stream], "data", { signal: deadline }).catch(() => {
          throw new Error(`never said ${pattern}: ${this.#stdout}${this.#stderr}`);
        }),
        this.#ended,
      ]);
    }
  }

  /** Stops reading, as `| head -0` does. */
  closeStdout(): void {
    this.#child.stdout.destroy();
  }

  /** The lines of the log, parsed. */
  log(): Readonly<Record<string, unknown>>[] {
    return this.#stderr
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** Sends a signal and waits for nothing. */
  send(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Sends a signal, if any, and waits for the end. */
  async end(signal?: NodeJS.Signals): Promise<Ended> {
    if (signal !== undefined) {
      this.#child.kill(signal);
    }
    const guard = setTimeout(() => this.#child.kill("SIGKILL"), HANG_GUARD_MS);
    await this.#ended;
    clearTimeout(guard);
    const { exitCode: code, signalCode } = this.#child;
    return { code, signal: signalCode, stdout: this.#stdout, stderr: this.#stderr };
  }
}

/** Runs the program to its end. */
export function runProgram(args: readonly string[], options?: ProgramOptions): Promise<Ended> {
  return new Program(args, options).end();
}
