/**
 * YAML itself: text in, node tree out, or what is wrong with the text, in words for the operator.
 *
 * Owns the list of YAML's features that are refused: aliases, anchors, tags, several documents, anything the parser
 * merely warns of. Never decides what a key or a value means.
 */
import { type Document, isAlias, isCollection, isScalar, type Node, parseAllDocuments, visit } from "yaml";
import { err, ok, type Result } from "../base/result.js";
import type { Finding } from "./issue.js";
import { quotingHint } from "./quoting.js";

/** More open brackets, or dashes in a row, than any good file has: the parser would run out of stack or memory. */
const MOST_BRACKETS = 500;
const MANY_DASHES = 64;
/** What may stand before a tag or an anchor. */
const BEFORE_PROPERTY = /[\s,[{]/;

/** Parses one document. `null`: there is none. Pure. */
export function parseYaml(text: string): Result<Node | null, readonly Finding[]> {
  const deep = tooDeep(text);
  if (deep !== null) {
    return err([{ offset: deep, key: "", message: "is nested too deeply" }]);
  }
  const documents = parseAllDocuments(text, { schema: "failsafe", prettyErrors: false });
  const [first, second] = documents as readonly Document.Parsed[];
  if (first === undefined) {
    return ok(null);
  }
  const findings = refusals(first, text);
  if (findings.length > 0) {
    return err(findings);
  }
  if (second !== undefined) {
    const offset = second.contents?.range?.[0] ?? second.range[0];
    return err([{ offset, key: "", message: "a second document begins: expected a single one" }]);
  }
  const { contents } = first;
  return ok(isScalar(contents) && contents.source === "" ? null : contents);
}

function tooDeep(text: string): number | null {
  let depth = 0;
  for (const match of text.matchAll(/[[{\]}]|(?:- )+/g)) {
    const [found] = match;
    depth = Math.max(depth + (found === "]" || found === "}" ? -1 : 1), 0);
    if (depth > MOST_BRACKETS || found.length > MANY_DASHES * "- ".length) {
      return match.index;
    }
    depth -= found.startsWith("-") ? 1 : 0;
  }
  return null;
}

/** What the parser found and what we refuse, one for each line: what follows on a line is most often its echo. */
function refusals(document: Document.Parsed, text: string): readonly Finding[] {
  const findings = refusedNodes(document, text);
  // After the first error the parser guesses; what it says further on is about its guesses.
  const [problem] = [...document.errors, ...document.warnings].sort((a, b) => a.pos[0] - b.pos[0]);
  if (problem !== undefined) {
    findings.push(explain(problem.code, problem.message, problem.pos[0], document, text));
  }
  const lines = new Set<number>();
  return findings.filter(({ offset }) => {
    const line = lineStart(text, offset);
    return !lines.has(line) && lines.add(line);
  });
}

function refusedNodes(document: Document.Parsed, text: string): Finding[] {
  const findings: Finding[] = [];
  visit(document, {
    Node: (_, node, ancestors) => {
      const isInFlow = ancestors.some(isFlowCollection);
      const start = node.range?.[0] ?? 0;
      if (isAlias(node)) {
        findings.push(unquoted(text, start, isInFlow, "a value that begins with * is an alias in YAML"));
      } else if (node.tag?.startsWith("tag:yaml.org,")) {
        const offset = propertyStart(text, start, "!");
        findings.push({ offset, key: "", message: "tags are not used here", hint: "leave the tag out" });
      } else if (node.tag !== undefined) {
        const offset = propertyStart(text, start, "!");
        findings.push(unquoted(text, offset, isInFlow, "a value that begins with ! is a tag in YAML"));
      } else if (node.anchor !== undefined) {
        const offset = propertyStart(text, start, "&");
        const hint = "write the value out wherever it is needed";
        findings.push({ offset, key: "", message: "anchors (&) are not used here", hint });
      }
    },
  });
  return findings;
}

function unquoted(text: string, offset: number, isInFlow: boolean, message: string): Finding {
  const start = lineStart(text, offset);
  const hint = quotingHint({ line: lineAt(text, start), start: offset - start, isInFlow });
  return { offset, key: "", message, hint };
}

/** The parser's own words, or better ones where a pattern was cut in two by YAML's brackets. */
function explain(code: string, message: string, offset: number, document: Document, text: string): Finding {
  if (code === "DUPLICATE_KEY") {
    const key = /^[^\s:,{}[\]]+/.exec(text.slice(offset))?.[0] ?? "";
    return { offset, key: "", message: `the key ${key} is there twice`, hint: "keep one of them" };
  }
  if (code === "BAD_SCALAR_START") {
    const what = `a value cannot begin with ${text.charAt(offset)} in YAML`;
    return unquoted(text, offset, isInsideFlow(document, offset), what);
  }
  const cut = code === "UNEXPECTED_TOKEN" || code === "MISSING_CHAR" ? cutValue(document, offset) : null;
  if (cut?.isQuoted === true) {
    return {
      offset,
      key: "",
      message: "there is more after the closing quote",
      hint: "quote the whole value",
    };
  }
  if (cut !== null) {
    const read = text.slice(cut.start, offset);
    return unquoted(text, cut.start, cut.isInFlow, `YAML reads only ${read} of this value`);
  }
  return { offset, key: "", message: `is not YAML: ${message.charAt(0).toLowerCase()}${message.slice(1)}` };
}

interface CutValue {
  readonly start: number;
  readonly isInFlow: boolean;
  readonly isQuoted: boolean;
}

/** The value that ends exactly where the parser stumbled. */
function cutValue(document: Document, offset: number): CutValue | null {
  let found: CutValue | null = null;
  visit(document, {
    Node: (key, node, ancestors) => {
      const [start, end] = node.range ?? [0, 0];
      const isValue = key !== "key" && (isScalar(node) || isFlowCollection(node));
      if (found === null && isValue && end === offset && start < end) {
        const isQuoted = isScalar(node) && node.type !== "PLAIN";
        found = { start, isInFlow: ancestors.some(isFlowCollection), isQuoted };
      }
    },
  });
  return found;
}

function isInsideFlow(document: Document, offset: number): boolean {
  let isInside = false;
  visit(document, {
    Collection: (_, node) => {
      const [start, , end] = node.range ?? [0, 0, 0];
      isInside ||= isFlowCollection(node) && start < offset && offset < end;
    },
  });
  return isInside;
}

function isFlowCollection(node: unknown): boolean {
  return isCollection(node) && node.flow === true;
}

/** Where the tag or anchor of a node begins; the node's own range begins after it. */
function propertyStart(text: string, end: number, sigil: string): number {
  let at = text.lastIndexOf(sigil, end - 1);
  while (at > 0 && !BEFORE_PROPERTY.test(text.charAt(at - 1))) {
    at = text.lastIndexOf(sigil, at - 1);
  }
  return Math.max(at, 0);
}

function lineStart(text: string, offset: number): number {
  return text.lastIndexOf("\n", offset - 1) + 1;
}

function lineAt(text: string, start: number): string {
  return text.slice(start).split(/\r?\n/, 1)[0] ?? "";
}
