/**
 * The operator's file as a tree of texts, lists and maps with their places. Read with YAML's `failsafe` schema.
 *
 * Every scalar stays the text that it is (`0300` is no number, `00e1` no float); what YAML would make of `*`, `!`
 * and `&` is refused, and so are duplicate keys, merge keys and further documents. JSON is read as the YAML it is.
 */
import { type Alias, isAlias, isMap, isScalar, isSeq, type Node, type Pair, type Scalar } from "yaml";
import { err, ok, type Result } from "../base/result.js";
import type { ConfigIssue, Finding } from "./issue.js";
import { fileIssue, SourceText } from "./issue.js";
import { parseYaml } from "./yaml-syntax.js";

/** One place of the file. Offsets count UTF-16 units from 0. */
export type DocumentNode = TextNode | ListNode | MapNode;

interface Place {
  readonly offset: number;
  /** Whether a `{...}` or `[...]` is open around it. */
  readonly isInFlow: boolean;
}

export interface TextNode extends Place {
  readonly kind: "text";
  readonly text: string;
  readonly isQuoted: boolean;
  /** Where the first character of `text` stands; `null` where text and source differ (escapes, several lines). */
  readonly textOffset: number | null;
}

interface ListNode extends Place {
  readonly kind: "list";
  readonly items: readonly DocumentNode[];
  /** Whether it is written as `[...]`. */
  readonly isFlow: boolean;
}

interface MapNode extends Place {
  readonly kind: "map";
  readonly entries: readonly MapEntry[];
  /** Whether it is written as `{...}`. */
  readonly isFlow: boolean;
}

interface MapEntry {
  readonly key: string;
  readonly keyOffset: number;
  readonly value: DocumentNode;
}

/** A file that is well-formed. What it says may still be wrong. */
export interface ConfigDocument {
  readonly source: SourceText;
  readonly root: DocumentNode;
  /** Whether numbers, `true`, `false` and `null` without quotes are JSON's: the file is one or is written like one. */
  readonly isJson: boolean;
}

/** Levels of lists and maps: selectors may nest, but nobody reads more, and every reader of the tree recurses. */
const MOST_LEVELS = 32;
const BYTE_ORDER_MARK = "\ufeff";

/** Reads the text of the file called `path`. Pure. */
export function readDocument(written: string, path: string): Result<ConfigDocument, readonly ConfigIssue[]> {
  const text = written.startsWith(BYTE_ORDER_MARK) ? written.slice(BYTE_ORDER_MARK.length) : written;
  const source = new SourceText(path, text);
  const parsed = parseYaml(text);
  if (!parsed.ok) {
    return err(source.issues(parsed.error));
  }
  if (parsed.value === null) {
    return err([
      fileIssue(path, "is empty: expected vms and rules", "write `vms: []` and `rules: []` to mean none"),
    ]);
  }
  const findings: Finding[] = [];
  const root = convert(parsed.value, { text, findings, key: "", level: 0, isInFlow: false });
  if (findings.length > 0) {
    return err(source.issues(findings));
  }
  return ok({ source, root, isJson: path.endsWith(".json") || text.trimStart().startsWith("{") });
}

interface Conversion {
  readonly text: string;
  readonly findings: Finding[];
  readonly key: string;
  readonly level: number;
  readonly isInFlow: boolean;
}

function convert(node: Node, outside: Conversion): DocumentNode {
  const here = { ...outside, level: outside.level + 1 };
  const place = { offset: node.range?.[0] ?? 0, isInFlow: here.isInFlow };
  if (here.level > MOST_LEVELS) {
    here.findings.push({ offset: place.offset, key: "", message: "is nested too deeply" });
    return textOf(node, place, here.text);
  }
  if (isMap<Node, Node | null>(node)) {
    const isFlow = node.flow === true;
    const inside = { ...here, isInFlow: here.isInFlow || isFlow };
    return { ...place, kind: "map", isFlow, entries: node.items.flatMap((pair) => entryOf(pair, inside)) };
  }
  if (isSeq<Node>(node)) {
    const isFlow = node.flow === true;
    const inside = { ...here, isInFlow: here.isInFlow || isFlow };
    const items = node.items.map((item, index) => convert(item, { ...inside, key: `${here.key}[${index}]` }));
    return { ...place, kind: "list", isFlow, items };
  }
  return textOf(node, place, here.text);
}

function entryOf(pair: Pair<Node, Node | null>, here: Conversion): readonly MapEntry[] {
  const keyOffset = pair.key.range?.[0] ?? 0;
  if (!isScalar(pair.key)) {
    const message = "expected a key, found a list or a map";
    here.findings.push({ offset: keyOffset, key: here.key, message });
    return [];
  }
  const key = String(pair.key.value);
  if (key === "<<" && pair.key.type === "PLAIN") {
    const message = "merge keys (<<) are not used here";
    here.findings.push({ offset: keyOffset, key: here.key, message, hint: "write the keys out" });
    return [];
  }
  const path = here.key === "" ? key : `${here.key}.${key}`;
  if (key === "__proto__") {
    // JavaScript's objects, and zod's records with them, drop it silently: a selector would widen.
    here.findings.push({ offset: keyOffset, key: path, message: "is not a key here" });
    return [];
  }
  const empty: TextNode = {
    kind: "text",
    text: "",
    isQuoted: false,
    textOffset: null,
    offset: keyOffset,
    isInFlow: here.isInFlow,
  };
  // A key of a flow map may stand without a colon: `{a, b}`.
  return [
    { key, keyOffset, value: pair.value === null ? empty : convert(pair.value, { ...here, key: path }) },
  ];
}

function textOf(node: Scalar | Alias | Node, place: Place, source: string): TextNode {
  if (isAlias(node) || !isScalar(node)) {
    return { ...place, kind: "text", text: "", isQuoted: false, textOffset: null };
  }
  const text = String(node.value ?? "");
  const isQuoted = node.type !== "PLAIN";
  const textOffset = place.offset + (isQuoted ? 1 : 0);
  const isVerbatim = source.startsWith(text, textOffset);
  return { ...place, kind: "text", text, isQuoted, textOffset: isVerbatim ? textOffset : null };
}
