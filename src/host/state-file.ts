/**
 * A versioned JSON file with one list in it: the form of the ledger and of the intents.
 *
 * Every entry is checked; one that is not what it should be makes the whole file damaged, because nobody can tell what
 * else is missing. A damaged file is kept aside, never overwritten.
 */

import { readDurable, setAside, writeDurable } from "./durable-file.js";
import { HostError } from "./error.js";

const VERSION = 1;

export interface StateFileContents<T> {
  readonly entries: readonly T[];
  /** Where a damaged file was put; `null` when it was sound or absent. */
  readonly damagedAs: string | null;
}

/** One such file. `key` names the list in it; `parse` checks one entry. */
export class StateFile<T> {
  readonly path: string;
  readonly #key: string;
  readonly #parse: (value: unknown) => T | undefined;

  constructor(path: string, key: string, parse: (value: unknown) => T | undefined) {
    this.path = path;
    this.#key = key;
    this.#parse = parse;
  }

  /** @throws {HostError} `host.state-newer`, `host.state-unsafe`, `host.unreadable`; the file is left as it is. */
  async load(): Promise<StateFileContents<T>> {
    const text = await readDurable(this.path);
    if (text === null) {
      return { entries: [], damagedAs: null };
    }
    const entries = this.#read(text);
    return entries === undefined
      ? { entries: [], damagedAs: await setAside(this.path, "damaged") }
      : { entries, damagedAs: null };
  }

  /** Replaces the list; resolves once it is on disk. */
  save(entries: readonly T[]): Promise<void> {
    return writeDurable(
      this.path,
      `${JSON.stringify({ version: VERSION, [this.#key]: entries }, null, 1)}\n`,
    );
  }

  #read(text: string): T[] | undefined {
    const file = asRecord(parseJson(text));
    const version = file?.["version"];
    if (typeof version === "number" && version > VERSION) {
      const message = `cannot read ${this.path}: it has version ${version}, this program knows version ${VERSION}`;
      throw new HostError("host.state-newer", message, { context: { version } });
    }
    const list = file?.[this.#key];
    if (version !== VERSION || !Array.isArray(list)) {
      return undefined;
    }
    const entries = list.flatMap((value) => this.#parse(value) ?? []);
    return entries.length === list.length ? entries : undefined;
  }
}

/** The value as an object with unknown members; `undefined` for anything else. */
export function asRecord(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
