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

/** Names of vendors in which a text occurs, each with its id. */
type VendorsNamed = (text: string) => readonly { readonly id: string; readonly name: string }[];

/** The issue as lines for a terminal: what, the argument, a caret below the character, what to write instead. */
export function describeSelectorIssue(issue: SelectorIssue, patterns: Patterns): string[] {
  return describe("pciplug: cannot match", issue, patterns, issue.hint);
}

/** The same for what is no reason to refuse: the pattern is tried, and can match nothing. */
export function describeRemark(
  remark: SelectorIssue,
  patterns: Patterns,
  vendorsNamed: VendorsNamed,
): string[] {
  const pattern = patternAt(remark.path, patterns.patterns);
  const hint = pattern === undefined ? undefined : hintFor(pattern, vendorsNamed);
  return describe("remark:", remark, patterns, hint ?? remark.hint);
}

/** The same for programs (contrib/doc/json.md). */
export function remarkJson({ path, ...remark }: SelectorIssue, { patterns }: Patterns) {
  return { argument: patternAt(path, patterns)?.argument ?? path.join("."), ...remark };
}

const IDS = /^([0-9a-f]{4}):([0-9a-f]{4})$/i;
/** More names than anybody reads through. */
const MOST_NAMES = 3;

/** What to write instead on a command line. */
function hintFor({ keys, value }: Pattern, vendorsNamed: VendorsNamed): string | undefined {
  const [, vendor, device] = IDS.exec(value) ?? [];
  if (vendor !== undefined && device !== undefined) {
    return `write vendor=${vendor} device=${device}, or 'lspci=-d ${vendor}:${device}'`;
  }
  const key = keys.at(-1);
  if (key !== "vendor" && key !== "subsystemVendor") {
    return undefined;
  }
  const named = vendorsNamed(value).slice(0, MOST_NAMES);
  return named.length === 0
    ? undefined
    : `${key} takes a hex id: ${named.map(({ id, name }) => `${id} is ${printable(name)}`).join(", ")}`;
}

function describe(
  intro: string,
  issue: SelectorIssue,
  { patterns }: Patterns,
  advice: string | undefined,
): string[] {
  const pattern = patternAt(issue.path, patterns);
  const hint = advice === undefined ? [] : [`  ${advice}`];
  if (pattern === undefined) {
    return [printable(`${intro} ${issue.path.join(".")}: ${issue.message}`), ...hint];
  }
  const { argument, start } = pattern;
  const lines = [printable(`${intro} ${argument}: ${issue.message}`)];
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
