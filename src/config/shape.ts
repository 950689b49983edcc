/**
 * A document held against the schema: values out, or every complaint with its place.
 *
 * Owns the way between zod's paths and the places of the file, and the sentences about values of the wrong shape.
 */
import type { z } from "zod";
import { err, ok, type Result } from "../base/result.js";
import type { ConfigDocument, DocumentNode, TextNode } from "./document.js";
import type { Finding } from "./issue.js";
import { quotingHint } from "./quoting.js";
import { type ConfigFile, configSchema } from "./schema.js";
import { keysAt } from "./schema-keys.js";
import { suggest } from "./suggestion.js";

type Path = readonly PropertyKey[];
type Issue = z.core.$ZodIssue;

/** Characters of a value that a message repeats. */
const LONGEST_SHOWN = 60;
/** Keys that are listed although the one that was meant can be guessed. */
const LONGEST_LIST = 8;
/** Keys whose values are ids or patterns of ids, at any depth. */
const SELECTOR_PLACES: readonly PropertyKey[] = ["match", "never", "allow", "protect", "expect"];
const JSON_WORDS: Readonly<Record<string, boolean | null>> = { true: true, false: false, null: null };
const JSON_NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** Holds the document against the schema. */
export function readShape(document: ConfigDocument): Result<ConfigFile, readonly Finding[]> {
  const parsed = configSchema.safeParse(plainOf(document.root, document.isJson));
  return parsed.success
    ? ok(parsed.data)
    : err(parsed.error.issues.flatMap((issue) => findingsOf(issue, [], document)));
}

/** The node at a path, or the nearest one above it. */
export function nodeAt(root: DocumentNode, path: Path): DocumentNode {
  const [part, ...rest] = path;
  const child =
    root.kind === "map"
      ? root.entries.find((entry) => entry.key === part)?.value
      : root.kind === "list" && typeof part === "number"
        ? root.items[part]
        : undefined;
  return child === undefined ? root : nodeAt(child, rest);
}

/** A path as people write it: `rules[0].match.address`. */
export function keyOf(path: Path): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === "number" ? `${text}[${part}]` : text === "" ? String(part) : `${text}.${String(part)}`,
    "",
  );
}

function plainOf(node: DocumentNode, isJson: boolean): unknown {
  switch (node.kind) {
    case "text":
      return isJson ? jsonOf(node) : node.text;
    case "list":
      return node.items.map((item) => plainOf(item, isJson));
    case "map":
      // Object.fromEntries defines properties: a key such as __proto__ stays a key.
      return Object.fromEntries(node.entries.map(({ key, value }) => [key, plainOf(value, isJson)]));
  }
}

function jsonOf(node: TextNode): unknown {
  if (node.isQuoted) {
    return node.text;
  }
  if (Object.hasOwn(JSON_WORDS, node.text)) {
    return JSON_WORDS[node.text];
  }
  return JSON_NUMBER.test(node.text) ? Number(node.text) : node.text;
}

function findingsOf(issue: Issue, above: Path, document: ConfigDocument): readonly Finding[] {
  const path = [...above, ...issue.path];
  const node = nodeAt(document.root, path);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => unknownKey(key, path, node));
  }
  if (issue.code === "invalid_union") {
    const inner = issue.errors.flat().filter(isInside);
    if (inner.length > 0) {
      return inner.flatMap((nested) => findingsOf(nested, path, document));
    }
  }
  const place = { offset: node.offset, key: keyOf(path) };
  if (isMissing(document.root, path)) {
    return [{ ...place, message: `is missing: ${issue.message}` }];
  }
  const hint = hintOf(issue, path, node, document);
  const message = `${issue.message}, found ${describe(node, document.isJson)}`;
  return [hint === undefined ? { ...place, message } : { ...place, message, hint }];
}

/** Whether a complaint of one alternative is about the value's inside: then that alternative was meant. */
function isInside(issue: Issue): boolean {
  return (
    issue.path.length > 0 ||
    issue.code === "unrecognized_keys" ||
    (issue.code === "invalid_union" && issue.errors.flat().some(isInside))
  );
}

function unknownKey(key: string, path: Path, node: DocumentNode): Finding {
  const entry = node.kind === "map" ? node.entries.find((candidate) => candidate.key === key) : undefined;
  const known = keysAt(path);
  const near = suggest(key, known);
  // A long list hides the one word that was meant.
  const list = near !== undefined && known.length > LONGEST_LIST ? "" : `: expected ${known.join(", ")}`;
  return {
    offset: entry?.keyOffset ?? node.offset,
    key: keyOf([...path, key]),
    message: `is not a key here${list}`,
    ...(near === undefined ? {} : { hint: `did you mean ${near}?` }),
  };
}

function isMissing(root: DocumentNode, path: Path): boolean {
  const last = path.at(-1);
  const parent = nodeAt(root, path.slice(0, -1));
  return (
    typeof last === "string" && parent.kind === "map" && !parent.entries.some((entry) => entry.key === last)
  );
}

function describe(node: DocumentNode, isJson: boolean): string {
  if (node.kind !== "text") {
    const isEmpty = node.kind === "list" ? node.items.length === 0 : node.entries.length === 0;
    return isEmpty ? `an empty ${node.kind}` : `a ${node.kind}`;
  }
  const value = isJson ? jsonOf(node) : node.text;
  if (typeof value !== "string") {
    return typeof value === "number" ? `the number ${node.text}` : node.text;
  }
  const shown = value.length > LONGEST_SHOWN ? `${value.slice(0, LONGEST_SHOWN)}...` : value;
  return value === "" ? "nothing" : JSON.stringify(shown);
}

function hintOf(issue: Issue, path: Path, node: DocumentNode, document: ConfigDocument): string | undefined {
  if (issue.code === "custom" && typeof issue.params?.["hint"] === "string") {
    return issue.params["hint"];
  }
  const isSelecting = path.some((part) => SELECTOR_PLACES.includes(part));
  if (node.kind === "text") {
    if (isSelecting && document.isJson && typeof jsonOf(node) === "number") {
      return `write ${JSON.stringify(node.text)}, in quotes: a number loses its leading zeros`;
    }
    const near = suggest(node.text, wordsOf(issue));
    return near === undefined ? undefined : `did you mean ${near}?`;
  }
  // Elsewhere no text that needs quotes would be good either.
  if (!isSelecting || !node.isFlow || !wantsText(issue)) {
    return undefined;
  }
  const { line, column } = document.source.placeOf(node.offset);
  return quotingHint({
    line: document.source.line(line),
    start: column - 1,
    isInFlow: node.isInFlow,
  });
}

/** The words that would have done. */
function wordsOf(issue: Issue): readonly string[] {
  return issue.code === "invalid_value" ? issue.values.map(String) : [];
}

/** Whether a text would have done, alone or as one of several shapes. */
function wantsText(issue: Issue): boolean {
  return issue.code === "invalid_type"
    ? issue.expected === "string"
    : issue.code === "invalid_union" && issue.errors.flat().some(wantsText);
}
