/** The terminal as the commands see it, and the tables that they print on it. */
import { printable } from "../base/printable.js";

export interface CliIo {
  /** Writes one line to standard output. */
  readonly out: (line: string) => void;
  /** Writes one line to standard error. */
  readonly err: (line: string) => void;
  /** How wide the terminal is; absent where standard output is none, but a file or another program. */
  readonly columns?: number;
  /** The whole of standard input. */
  readonly input: () => Promise<string>;
  /** The wall clock: milliseconds since the epoch. */
  readonly now: () => number;
  /** User who runs the command: files of the operator must be root's or this user's. */
  readonly uid: number;
  /** Ends the command with a status, once its output is written. */
  readonly exit: (code: number) => void;
}

/** A table with aligned columns and a header; nothing in it can move the cursor. */
export function renderTable(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const cells = [header, ...rows].map((row) => row.map(printable));
  const widths = header.map((_, column) => Math.max(...cells.map((row) => (row[column] ?? "").length)));
  return cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

/** One JSON document, in a form that people can read as well. */
export function renderJson(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

/** As much of a policy's version as a person compares. */
export function shortVersion(version: string): string {
  return version.slice(0, 12);
}

/** Where everything is, unless the command line says otherwise. */
export const DEFAULTS = {
  config: "/etc/pciplug/config.yaml",
  state: "/var/lib/pciplug",
  root: "/",
} as const;

/** What the agent was told and has learnt, inside a state folder. */
export function intentsOf(stateDir: string): string {
  return `${stateDir}/intents.json`;
}

/** The operator's socket inside a state folder. */
export function controlSocketOf(stateDir: string): string {
  return `${stateDir}/control.sock`;
}
