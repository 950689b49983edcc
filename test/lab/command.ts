/** Programs run on the runner's own machine: apt, dpkg-deb, depmod, cpio. Progress goes to standard error. */
import { spawnSync } from "node:child_process";

/** Says one line of progress. */
export function progress(text: string): void {
  process.stderr.write(`lab: ${text}\n`);
}

export interface RunOptions {
  readonly cwd?: string;
  readonly input?: string | Buffer;
  readonly deadlineMs?: number;
}

/**
 * Runs a program to its end and gives what it printed.
 * @throws Error with the program's own words when it fails or misses the deadline (10 minutes unless told).
 */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Buffer {
  const result = spawnSync(program, args, {
    cwd: options.cwd,
    input: options.input,
    timeout: options.deadlineMs ?? 600_000,
    maxBuffer: 1024 ** 3,
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" },
  });
  if (result.error !== undefined) throw new Error(`cannot run ${program}: ${result.error.message}`);
  if (result.status === 0) return result.stdout;
  const words = `${result.stderr}`.trim().split("\n").slice(-5).join("\n");
  throw new Error(
    `cannot run ${program} ${args.join(" ")}: exit ${result.status ?? result.signal}\n${words}`,
  );
}

/** The same, as trimmed text. */
export function read(program: string, args: readonly string[], options: RunOptions = {}): string {
  return run(program, args, options).toString().trim();
}
