/** Recorded QMP traffic (fixtures/qmp/README.md), as the tests read it: integers exact, cut into connections. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseWireRecording, type RecordedConnection } from "../../src/qmp/index.js";
import { parseJson } from "../../src/qmp/json.js";

export interface RawExchange {
  readonly note: string;
  readonly client: string;
  readonly server: string;
}

export interface Recording {
  readonly name: string;
  /** Each begins with a greeting and holds what both sides said until the link ended. */
  readonly connections: readonly RecordedConnection[];
}

export type WireObject = Readonly<Record<string, unknown>>;

const folder = join(import.meta.dirname, "../../fixtures/qmp/7.2");
const RAW = "6-qmp-socket-raw.ndjson";

export function loadRecordings(): Recording[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".ndjson") && name !== RAW)
    .sort()
    .map((name) => ({ name, connections: parseWireRecording(textOf(name)) }));
}

export function loadRawExchanges(): RawExchange[] {
  return linesOf(RAW) as RawExchange[];
}

export function isObject(value: unknown): value is WireObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function textOf(name: string): string {
  return readFileSync(join(folder, name), "utf8");
}

function linesOf(name: string): unknown[] {
  return textOf(name)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => parseJson(line));
}
