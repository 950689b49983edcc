/**
 * What is found while the policy is built: reasons to refuse the file, and remarks that do not stop it.
 * Everything has the exact place of what it is about, down to the character of a pattern.
 */
import { compileSelector, type RawSelector, type Selector, type SelectorIssue } from "../core/selector.js";
import type { ConfigDocument } from "./document.js";
import type { Finding } from "./issue.js";
import { keyOf, nodeAt } from "./shape.js";
import { suggest } from "./suggestion.js";

/** The way to a place in the file: keys, and positions in lists. */
export type Path = readonly PropertyKey[];

/** Names that something in the file may be called by. */
export interface KnownNames {
  /** What has these names, such as `VM`. */
  readonly noun: string;
  readonly names: readonly string[];
  /** What to do about a name that is not among them and resembles none. */
  readonly hint: string;
}

/** The complaints about one file, gathered. Neither method throws for a path that is not there. */
export class Complaints {
  /** Reasons to refuse the file. */
  readonly findings: Finding[] = [];
  /** Values that may not mean what they say. */
  readonly remarks: Finding[] = [];
  readonly #document: ConfigDocument;

  constructor(document: ConfigDocument) {
    this.#document = document;
  }

  /** Refuses a value. */
  refuse(path: Path, message: string, hint?: string): void {
    this.findings.push(findingAt(nodeAt(this.#document.root, path).offset, path, message, hint));
  }

  /** Refuses that a key is there at all. */
  refuseKey(path: Path, message: string, hint?: string): void {
    const above = nodeAt(this.#document.root, path.slice(0, -1));
    const entry =
      above.kind === "map" ? above.entries.find((candidate) => candidate.key === path.at(-1)) : undefined;
    this.findings.push(findingAt(entry?.keyOffset ?? above.offset, path, message, hint));
  }

  remark(path: Path, message: string, hint?: string): void {
    this.remarks.push(findingAt(nodeAt(this.#document.root, path).offset, path, message, hint));
  }

  /** Refuses a name that nothing has. */
  refuseStray(path: Path, written: string, known: KnownNames): void {
    const { noun, names } = known;
    if (names.includes(written)) {
      return;
    }
    const near = suggest(written, names);
    const there = names.length === 0 ? "there are none" : `there are ${[...new Set(names)].join(", ")}`;
    this.refuse(
      path,
      `no ${noun} has the name ${JSON.stringify(written)}: ${there}`,
      near === undefined ? known.hint : `did you mean ${near}?`,
    );
  }

  /** Refuses every value that was there before; `keyed`: where in each item of the list it stands. */
  refuseRepeated(values: readonly string[], list: Path, keyed: Path, message: string): void {
    for (const [index, value] of values.entries()) {
      const first = values.indexOf(value);
      if (first !== index) {
        this.refuse(
          [...list, index, ...keyed],
          `${message}: ${value}`,
          `the first is ${keyOf([...list, first])}`,
        );
      }
    }
  }

  /**
   * Compiles a selector; `null` when it was refused.
   *
   * @param placeOf where a value of it stands in the file.
   */
  compile(raw: RawSelector, placeOf: (path: SelectorIssue["path"]) => Path): Selector | null {
    const compiled = compileSelector(raw);
    if (!compiled.ok) {
      this.findings.push(...compiled.error.map((issue) => this.#locate(issue, placeOf)));
      return null;
    }
    this.remarks.push(...compiled.value.remarks.map((issue) => this.#locate(issue, placeOf)));
    return compiled.value;
  }

  /** Core says which value and which character of it; here is where that stands in the file. */
  #locate(issue: SelectorIssue, placeOf: (path: SelectorIssue["path"]) => Path): Finding {
    const path = placeOf(issue.path);
    const node = nodeAt(this.#document.root, path);
    const textOffset = node.kind === "text" ? node.textOffset : null;
    const offset =
      textOffset === null || issue.character === undefined ? node.offset : textOffset + issue.character;
    return findingAt(offset, path, issue.message, issue.hint);
  }
}

function findingAt(offset: number, path: Path, message: string, hint: string | undefined): Finding {
  const finding = { offset, key: keyOf(path), message };
  return hint === undefined ? finding : { ...finding, hint };
}
