/**
 * A versioned JSON file with lists in it: the form of the ledger and of the intents.
 *
 * Every entry is checked; one that is not what it should be makes the whole file damaged, because nobody can tell what
 * else is missing. A damaged file is kept aside, never overwritten.
 */

import { readDurable, setAside, writeDurable } from "./durable-file.js";
import { HostError } from "./error.js";

const VERSION = 1;

/** The lists of a file: for each its name, and the check of one entry. */
export type ListParsers<Lists extends object> = {
  readonly [Key in keyof Lists]: (value: unknown) => Lists[Key] | undefined;
};
type Entries<Lists extends object> = { readonly [Key in keyof Lists]: readonly Lists[Key][] };

export interface StateFileContents<Lists extends object> {
  readonly lists: Entries<Lists>;
  /** Where a damaged file was put; `null` when it was sound or absent. */
  readonly damagedAs: string | null;
}

/** One such file. A list that is not in it counts as empty: it came with a later release. */
export class StateFile<Lists extends object> {
  readonly path: string;
  readonly #parsers: ListParsers<Lists>;

  constructor(path: string, parsers: ListParsers<Lists>) {
    this.path = path;
    this.#parsers = parsers;
  }

  /** @throws {HostError} `host.state-newer`, `host.state-unsafe`, `host.unreadable`; the file is left as it is. */
  async load(): Promise<StateFileContents<Lists>> {
    const lists = await this.peek();
    return lists === undefined
      ? {
          lists: this.#read({ version: VERSION }, true) as Entries<Lists>,
          damagedAs: await setAside(this.path, "damaged"),
        }
      : { lists, damagedAs: null };
  }

  /** What is in it, for one who may not touch it; `undefined` where it is damaged. @throws {HostError} as {@link load} */
  async peek(): Promise<Entries<Lists> | undefined> {
    const text = await readDurable(this.path);
    return text === null ? this.#read({ version: VERSION }, true) : this.#read(parseJson(text), false);
  }

  /** Replaces the lists; resolves once they are on disk. */
  save(lists: Entries<Lists>): Promise<void> {
    return writeDurable(this.path, `${JSON.stringify({ version: VERSION, ...lists }, null, 1)}\n`);
  }

  #read(value: unknown, isNew: boolean): Entries<Lists> | undefined {
    const file = asRecord(value);
    const version = file?.["version"];
    if (typeof version === "number" && version > VERSION) {
      const message = `cannot read ${this.path}: it has version ${version}, this program knows version ${VERSION}`;
      throw new HostError("host.state-newer", message, { context: { version } });
    }
    const names = Object.keys(this.#parsers) as (keyof Lists & string)[];
    const isAnyThere = isNew || names.some((name) => Array.isArray(file?.[name]));
    if (file === undefined || version !== VERSION || !isAnyThere) {
      return undefined;
    }
    const lists = names.map((name) => [name, parseList(file[name] ?? [], this.#parsers[name])] as const);
    return lists.some(([, entries]) => entries === undefined)
      ? undefined
      : (Object.fromEntries(lists) as Entries<Lists>);
  }
}

/** A list of which every entry is sound; `undefined` for any other. */
function parseList<T>(value: unknown, parse: (entry: unknown) => T | undefined): readonly T[] | undefined {
  if (!Array.isArray(value)) {
    return undefined;
  }
  const entries = value.flatMap((entry) => parse(entry) ?? []);
  return entries.length === value.length ? entries : undefined;
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
