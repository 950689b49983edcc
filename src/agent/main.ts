/** The edge: the only place of the agent that touches the process, its clock and its signals. */
import { performance } from "node:perf_hooks";
import process from "node:process";

/** What the agent needs of the process that it runs in. */
export interface ProcessEdge {
  readonly pid: number;
  /** Of this program. */
  readonly version: string;
  readonly uid: number;
  /** Milliseconds that only ever go forward, whatever is done to the wall clock: what rests and waits are measured by. */
  readonly now: () => number;
  /** Milliseconds of the wall clock: what people are told. */
  readonly wallNow: () => number;
  /** One line on standard output. */
  readonly out: (line: string) => void;
  readonly errStream: NodeJS.WriteStream;
  /** Resolves with the name of the first signal that asks the process to end. */
  readonly stopSignal: () => Promise<string>;
  /** Hears each SIGHUP: the file is to be read again. */
  readonly onReloadSignal: (listener: () => void) => void;
  /** Hears what nobody caught: the process must end then. */
  readonly onUncaught: (listener: (error: unknown) => void) => void;
  /** Ends the process now, whatever is still open. */
  readonly exitNow: (code: number) => void;
}

export function processEdge(version: string): ProcessEdge {
  return {
    pid: process.pid,
    version,
    uid: process.getuid?.() ?? 0,
    now: () => Math.round(performance.timeOrigin + performance.now()),
    wallNow: () => Date.now(),
    out: (line) => {
      process.stdout.write(`${line}\n`);
    },
    errStream: process.stderr,
    stopSignal: () =>
      new Promise((resolve) => {
        for (const name of ["SIGTERM", "SIGINT"] as const) {
          process.once(name, () => resolve(name));
        }
      }),
    onReloadSignal: (listener) => {
      process.on("SIGHUP", listener);
    },
    onUncaught: (listener) => {
      process.on("uncaughtException", listener);
      process.on("unhandledRejection", listener);
    },
    exitNow: (code) => process.exit(code),
  };
}
