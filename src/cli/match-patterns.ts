/** The arguments of `pciplug match` as a selector, and the way back from what is wrong with it to the argument. Pure. */
import { printable } from "../base/printable.js";
import type { RawSelector, SelectorIssue } from "../core/selector.js";

interface Pattern {
  /** The way to its value in the selector. */
  readonly keys: readonly string[];
  readonly value: string;
  /** The argument that it was, and where in that the value begins. */
  readonly argument: string;
  readonly start: number;
}

export interface Patterns {
  readonly patterns: readonly Pattern[];
  readonly raw: RawSelector;
}

type Tree = { [key: string]: string | string[] | Tree };

/** `65:00.*` is an address; `class=vga` a key and its value; `udev.ID_PATH=pci-*` a key inside a key. */
export function parsePatterns(args: readonly string[]): Patterns {
  const patterns = args.map(parsePattern);
  const raw: Tree = Object.create(null) as Tree;
  for (const { keys } of patterns) {
    const values = patterns.filter((other) => isSamePath(other.keys, keys)).map(({ value }) => value);
    put(raw, keys, values.length === 1 ? (values[0] ?? "") : values);
  }
  return { patterns, raw };
}

/** The issue as lines for a terminal: what, the argument, a caret below the character, what to write instead. */
export function describeSelectorIssue(issue: SelectorIssue, { patterns }: Patterns): string[] {
  const pattern = patternAt(issue.path, patterns);
  const hint = issue.hint === undefined ? [] : [`  ${issue.hint}`];
  if (pattern === undefined) {
    return [`pciplug: cannot match ${issue.path.join(".")}: ${issue.message}`, ...hint];
  }
  const { argument, start } = pattern;
  const lines = [`pciplug: cannot match ${printable(argument)}: ${issue.message}`];
  if (issue.character !== undefined) {
    // Characters of the value, which may be longer on the terminal than they are.
    const before = [...argument.slice(0, start), ...[...pattern.value].slice(0, issue.character)].join("");
    lines.push(`  ${printable(argument)}`, `  ${" ".repeat(printable(before).length)}^`);
  }
  return [...lines, ...hint];
}

function parsePattern(argument: string): Pattern {
  const start = argument.indexOf("=") + 1;
  return start === 0
    ? { keys: ["address"], value: argument, argument, start }
    : { keys: argument.slice(0, start - 1).split("."), value: argument.slice(start), argument, start };
}

function put(tree: Tree, [key = "", ...rest]: readonly string[], value: string | string[]): void {
  const below = Object.hasOwn(tree, key) ? tree[key] : undefined;
  if (rest.length === 0) {
    tree[key] = value;
    return;
  }
  const nested: Tree =
    typeof below === "object" && !Array.isArray(below) ? below : (Object.create(null) as Tree);
  tree[key] = nested;
  put(nested, rest, value);
}

/** The path of an issue names keys, and ends in a position where the key has several values. */
function patternAt(path: SelectorIssue["path"], patterns: readonly Pattern[]): Pattern | undefined {
  const keys = path.filter((step) => typeof step === "string");
  const last = path.at(-1);
  const same = patterns.filter((pattern) => isSamePath(pattern.keys, keys));
  return typeof last === "number"
    ? same[last]
    : (same[0] ?? patterns.find(({ keys: [key] }) => key === path[0]));
}

function isSamePath(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((key, at) => key === right[at]);
}
