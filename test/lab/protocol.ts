/**
 * What the runner and the little server inside the L1 machine say to each other: one JSON object per line
 * over a virtio-serial port. Requests carry an id; answers carry the same id and either a value or an error.
 */
import type { QmpCommand, QmpReply } from "./qmp.js";

/** What became of a command: an exit code, or the signal that ended it. */
export interface ExecResult {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  /** True when the deadline passed and the command was killed. */
  readonly timedOut: boolean;
}

/** How a wait ended; `last` is the last attempt. */
export interface UntilResult {
  readonly isMet: boolean;
  readonly attempts: number;
  readonly tookMs: number;
  readonly last: ExecResult;
}

/** How a process that was spawned stands. */
export type ProcessState =
  | { readonly kind: "running" }
  | { readonly kind: "ended"; readonly code: number | null; readonly signal: string | null };

export interface SpawnRequest {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly stdout: string;
  readonly stderr: string;
}

/** Every operation: what it is asked with and what it answers. Durations are milliseconds. */
export interface Operations {
  readonly exec: { args: { command: string; deadlineMs: number; stdin?: string }; result: ExecResult };
  readonly spawn: { args: SpawnRequest; result: { pid: number } };
  readonly signal: { args: { pid: number; signal: NodeJS.Signals }; result: { isSent: boolean } };
  readonly ended: { args: { pid: number; deadlineMs: number }; result: ProcessState };
  readonly write: { args: { path: string; text: string; mode: number }; result: null };
  readonly read: { args: { path: string }; result: { text: string | null } };
  readonly until: { args: { command: string; deadlineMs: number; everyMs: number }; result: UntilResult };
  /** Waits for a line in a file, or for the end of the process that writes it. Costs no fork, unlike `until`. */
  readonly said: {
    args: { path: string; pattern: string; pid: number; deadlineMs: number };
    result: { line: string | null; isRunning: boolean };
  };
  readonly qmp: {
    args: { socket: string; commands: readonly QmpCommand[]; deadlineMs: number };
    result: readonly QmpReply[];
  };
  readonly guest: {
    args: { socket: string; line: string; deadlineMs: number };
    result: { code: number; output: string };
  };
}

export type OperationName = keyof Operations;

export interface Request<K extends OperationName = OperationName> {
  readonly id: number;
  readonly op: K;
  readonly args: Operations[K]["args"];
}

export type Answer =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: string };

/** The first line the server says, unasked. */
export interface Hello {
  readonly hello: { readonly kernel: string; readonly node: string };
}

/** Name of the virtio-serial port, as the kernel shows it in /sys/class/virtio-ports. */
export const portName = "pciplug.lab";
