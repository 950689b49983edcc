/**
 * The escape hatch of selectors: `when: 'numaNode == 1 && driver in ["", "nvme"]'`, an expression in CEL.
 *
 * Owns the limits under which an expression is admitted: it is type-checked when the file is read, is short, must be
 * true or false, and may use only what takes time in proportion to its texts. So there are no regular expressions (the
 * engine's `matches` is a JavaScript RegExp: 28 characters blocked for 3.75 s), no loops over lists, no variables of
 * its own. Names inside `udev[...]` and `sysfs[...]` are written out, so that it is known beforehand what to read.
 * The only file that may import the CEL library.
 */
import { type ASTNode, Environment, type ParseResult } from "@marcbachmann/cel-js";
import { err, ok, type Result } from "../base/result.js";
import type { DeviceFilter } from "./device-filter.js";
import {
  FactUnknownError,
  type FactUses,
  isFactName,
  isMapName,
  MAP_NAMES,
  type MapName,
  showUses,
  typeOfFact,
  variablesOf,
} from "./expression-facts.js";
import { FACT_KEYS, type FactKey } from "./fact.js";
import type { PatternIssue } from "./pattern.js";
import type { SelectableDevice } from "./selector.js";
import { attributeRefusal } from "./sysfs-name.js";
import type { Verdict } from "./verdict.js";

const LONGEST_EXPRESSION = 1000;
const LIMITS = {
  maxAstNodes: 500,
  maxDepth: 32,
  maxListElements: 100,
  maxMapEntries: 0,
  maxCallArguments: 4,
};
/** Functions that look at each character of their texts at most a few times. */
const FUNCTIONS: readonly string[] = [
  "contains",
  "endsWith",
  "has",
  "int",
  "lowerAscii",
  "size",
  "startsWith",
];
const OPERATORS: readonly string[] = [
  ...["value", "list", "?:", "||", "&&", "!_", "-_", "==", "!=", "in"],
  ...["<", "<=", ">", ">=", "+", "-", "*", "/", "%"],
];
const FIELDS_HINT = `fields: ${[...FACT_KEYS, ...MAP_NAMES].join(", ")}`;
const FUNCTIONS_HINT = `functions: ${FUNCTIONS.join(", ")}; operators: && || ! ?: in == != < <= > >= + - * / %`;

/** A result of an expression on one device; `why` where it is `unknown`. */
interface Answer {
  readonly verdict: Verdict;
  readonly why: string;
}

/**
 * Compiles an expression. Refused, with the character: what is no CEL, has the wrong types, is not true or false, is
 * longer than 1,000 characters, or uses a field or function that is not offered.
 */
export function compileExpression(text: string): Result<DeviceFilter, PatternIssue> {
  if (text.length > LONGEST_EXPRESSION) {
    const message = `has ${text.length} characters, more than ${LONGEST_EXPRESSION}`;
    return err({ message, index: LONGEST_EXPRESSION });
  }
  const parsed = parse(text);
  if (!parsed.ok) {
    return parsed;
  }
  const uses = { keys: new Set<FactKey>(), udev: new Set<string>(), sysfs: new Set<string>() };
  const issue = walk(parsed.value.ast, uses) ?? typeIssue(parsed.value);
  return issue === undefined
    ? ok(filterOf(parsed.value, { keys: [...uses.keys], udev: [...uses.udev], sysfs: [...uses.sysfs] }))
    : err(issue);
}

function filterOf(evaluate: ParseResult, uses: FactUses): DeviceFilter {
  return {
    verdictOf: (device) => answer(evaluate, uses, device).verdict,
    whyUnknown: (device) => answer(evaluate, uses, device).why,
    showFacts: (device) => showUses(device, uses),
    isWildcardOnly: true,
    wishes: { serial: uses.keys.includes("serial"), udev: uses.udev.length > 0, attributes: uses.sysfs },
  };
}

/** `||` and `&&` are the engine's: one side that decides is enough, whatever becomes of the other. */
function answer(evaluate: ParseResult, uses: FactUses, device: SelectableDevice): Answer {
  try {
    const isMatch: unknown = evaluate(variablesOf(device, uses));
    return { verdict: isMatch === true ? "match" : "no-match", why: "" };
  } catch (error) {
    return { verdict: "unknown", why: whyOpen(error) };
  }
}

/** A field that is missing, or an operation without a result (a division by zero), is never an answer. */
function whyOpen(error: unknown): string {
  if (error instanceof FactUnknownError) {
    return error.message;
  }
  return `the expression has no answer for it: ${summaryOf(error)}`;
}

/** The engine's environment: types of the fields. It is made afresh, as no state may live in a module. */
function parse(text: string): Result<ParseResult, PatternIssue> {
  const environment = new Environment({ limits: LIMITS });
  for (const key of FACT_KEYS) {
    environment.registerVariable(key, typeOfFact(key));
  }
  for (const name of MAP_NAMES) {
    environment.registerVariable(name, "map<string, string>");
  }
  try {
    return ok(environment.parse(text));
  } catch (error) {
    return err(issueOf(error));
  }
}

function typeIssue(parsed: ParseResult): PatternIssue | undefined {
  const checked = parsed.check();
  if (!checked.valid) {
    return issueOf(checked.error);
  }
  return checked.type === "bool"
    ? undefined
    : {
        message: `is ${checked.type}, not true or false`,
        index: 0,
        hint: 'compare it, as in vendor == "10de"',
      };
}

/** The engine's errors carry their place; everything else would be a bug of the engine, and is refused likewise. */
function issueOf(error: unknown): PatternIssue {
  const start = (error as { range?: { start?: unknown } } | undefined)?.range?.start;
  return {
    message: `is no valid expression: ${summaryOf(error)}`,
    index: typeof start === "number" ? start : 0,
    hint: "ids, addresses and classes are texts; numaNode, iommuGroup and memory are numbers; isVf and bootVga true or false",
  };
}

function summaryOf(error: unknown): string {
  const { summary, message } = error as { summary?: unknown; message?: unknown };
  return String(summary ?? message);
}

interface Uses {
  readonly keys: Set<FactKey>;
  readonly udev: Set<string>;
  readonly sysfs: Set<string>;
}

/** Notes what an expression reads; the first thing in it that is not offered, if there is one. */
function walk(node: ASTNode, uses: Uses): PatternIssue | undefined {
  switch (node.op) {
    case "id":
      return walkName(node.args, node, uses);
    case ".":
      return walkMember(node.args[0], node.args[1], node, uses);
    case "[]":
    case "in": {
      const [map, key] = node.op === "in" ? [node.args[1], node.args[0]] : node.args;
      if (mapNameOf(map) === undefined) {
        return node.op === "in" ? walkAll(node.args, uses) : notOffered("an index", node);
      }
      return walkMember(map, key.op === "value" ? key.args : undefined, node, uses);
    }
    case "call":
      return walkCall(node.args[0], node.args[1], node, uses);
    case "rcall":
      return walkCall(node.args[0], [node.args[1], ...node.args[2]], node, uses);
    default:
      return OPERATORS.includes(node.op) ? walkAll(operandsOf(node), uses) : notOffered(`"${node.op}"`, node);
  }
}

function walkAll(nodes: readonly ASTNode[], uses: Uses): PatternIssue | undefined {
  for (const node of nodes) {
    const issue = walk(node, uses);
    if (issue !== undefined) {
      return issue;
    }
  }
  return undefined;
}

function operandsOf({ op, args }: ASTNode): readonly ASTNode[] {
  if (op === "value") {
    return [];
  }
  return (Array.isArray(args) ? args : [args]) as readonly ASTNode[];
}

function walkName(name: string, node: ASTNode, uses: Uses): PatternIssue | undefined {
  if (isMapName(name)) {
    return { message: `${name} is a map`, index: node.range.start, hint: `write ${name}["NAME"]` };
  }
  if (!isFactName(name)) {
    return { message: `"${name}" is not a field`, index: node.range.start, hint: FIELDS_HINT };
  }
  uses.keys.add(name);
  return undefined;
}

function walkMember(map: ASTNode, key: unknown, node: ASTNode, uses: Uses): PatternIssue | undefined {
  const name = mapNameOf(map);
  if (name === undefined) {
    return notOffered("a member", node);
  }
  if (typeof key !== "string") {
    const message = `the name inside ${name}[...] must be written out`;
    return { message, index: node.range.start, hint: `write ${name}["NAME"]` };
  }
  const refusal = name === "sysfs" ? attributeRefusal(key) : undefined;
  if (refusal !== undefined) {
    return { message: `sysfs attribute "${key}" ${refusal}`, index: node.range.start };
  }
  uses[name].add(key);
  return undefined;
}

function walkCall(
  name: string,
  operands: readonly ASTNode[],
  node: ASTNode,
  uses: Uses,
): PatternIssue | undefined {
  if (name === "matches") {
    return {
      message: "matches() is not offered: a regular expression can take longer than the universe has time",
      index: node.range.start,
      hint: "use startsWith, endsWith or contains, or a pattern under the field's own key",
    };
  }
  return FUNCTIONS.includes(name) ? walkAll(operands, uses) : notOffered(`${name}()`, node);
}

function notOffered(what: string, node: ASTNode): PatternIssue {
  return { message: `${what} is not offered here`, index: node.range.start, hint: FUNCTIONS_HINT };
}

function mapNameOf(node: ASTNode): MapName | undefined {
  return node.op === "id" && isMapName(node.args) ? node.args : undefined;
}
