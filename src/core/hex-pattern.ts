/**
 * Patterns over hexadecimal facts: vendor and device ids, class codes (semantics.md 2).
 *
 * Such a fact is a number: unlike an address, it may be written in either case and with `0x` in front.
 * Owns the names of classes in patterns and the answer where a device's programming interface is not known.
 */

import { err, ok, type Result } from "../base/result.js";
import { walkNodes } from "./brace.js";
import type { GlobNode } from "./glob.js";
import { compilePattern, type Pattern, type PatternIssue, remarksOn, type ValuePattern } from "./pattern.js";
import { CLASS_NAMES } from "./pci-class.js";
import { anyOf, type Verdict } from "./verdict.js";

const HEX_DIGITS = "0123456789abcdef";
/** Base class and subclass; what follows is the programming interface. */
const CLASS_DIGITS = 4;
const HEX_PREFIX = /^0x/;
/** A list of class names such as `{vga,3d}`, without anything that would need a pattern. */
const NAME_LIST = /^\{([0-9a-z-]+(?:,[0-9a-z-]+)+)\}$/;

/** Compiles a pattern over the four digits of a vendor or device id: `10de`, `0x10DE`, `10d*`, `{8086,8087}`. */
export function compileIdPattern(text: string): Result<ValuePattern, PatternIssue> {
  return compileDigits(text, {
    name: "id",
    digits: 4,
    inWords: "an id has four",
    hint: "write the hex id, such as 10de: names are never matched",
  });
}

/** Compiles a pattern over the two digits of a revision: `a1`, `0xA1`, `a*`. */
export function compileRevisionPattern(text: string): Result<ValuePattern, PatternIssue> {
  return compileDigits(text, {
    name: "revision",
    digits: 2,
    inWords: "a revision has two",
    hint: "write two hex digits, such as a1",
  });
}

/** A number of a fixed count of digits. */
interface Width {
  readonly name: string;
  readonly digits: number;
  readonly inWords: string;
  readonly hint: string;
}

function compileDigits(text: string, width: Width): Result<ValuePattern, PatternIssue> {
  const compiled = compileHex(text);
  if (!compiled.ok) {
    return compiled;
  }
  const pattern = compiled.value;
  return ok({
    text,
    evaluate: (value) => (pattern.matches(value) ? "match" : "no-match"),
    isWildcardOnly: !namesDigit(pattern.nodes),
    literals: pattern.literal === undefined ? null : [pattern.literal],
    remarks: remarksAbout(pattern, width),
  });
}

/**
 * Compiles a class pattern: a name (`vga`), four digits (base class and subclass), six (the programming interface
 * too), or wildcards, tried on the four digits and then on the six. Refuses a text that is neither digits nor a name.
 */
export function compileClassPattern(text: string): Result<ValuePattern, PatternIssue> {
  const folded = text.toLowerCase();
  const names = NAME_LIST.exec(folded)?.[1]?.split(",") ?? [folded];
  const spellings = names.flatMap(
    (name) => (Object.hasOwn(CLASS_NAMES, name) ? CLASS_NAMES[name] : name) ?? [],
  );
  const parts: ValuePattern[] = [];
  for (const spelling of spellings) {
    const part = compileClassDigits(spelling);
    if (!part.ok) {
      return part;
    }
    parts.push(part.value);
  }
  const [first] = parts;
  const evaluateAny = (value: string) => anyOf(parts.map((part) => part.evaluate(value)));
  const literals = parts.flatMap((part) => part.literals ?? []);
  return ok({
    text,
    evaluate: parts.length === 1 && first !== undefined ? first.evaluate : evaluateAny,
    isWildcardOnly: parts.some((part) => part.isWildcardOnly),
    literals: parts.some((part) => part.literals === null) ? null : literals,
    remarks: parts.flatMap((part) => part.remarks),
  });
}

function compileClassDigits(text: string): Result<ValuePattern, PatternIssue> {
  const compiled = compileHex(text);
  if (!compiled.ok) {
    return compiled;
  }
  const pattern = compiled.value;
  const { literal } = pattern;
  if (literal === undefined) {
    const remarks = remarksOn(pattern, HEX_DIGITS, "class");
    const isWildcardOnly = !namesBaseClass(pattern.nodes);
    const evaluate = (value: string) => evaluateClass(pattern, value);
    return ok({ text, evaluate, isWildcardOnly, literals: null, remarks });
  }
  if (!/^(?:[0-9a-f]{4}|[0-9a-f]{6})$/.test(literal)) {
    return err(notAClass(literal));
  }
  return ok({
    text,
    evaluate: (value) => evaluateExact(literal, value),
    isWildcardOnly: false,
    literals: [literal.slice(0, CLASS_DIGITS)],
    remarks: [],
  });
}

function compileHex(text: string): Result<Pattern, PatternIssue> {
  const folded = text.toLowerCase();
  const digits = folded.replace(HEX_PREFIX, "");
  const compiled = compilePattern(digits);
  if (compiled.ok || digits === folded) {
    return compiled;
  }
  return err({ ...compiled.error, index: compiled.error.index + "0x".length });
}

function evaluateExact(literal: string, value: string): Verdict {
  if (value.startsWith(literal)) {
    return "match";
  }
  // Six digits wanted, four known: the interface could be the wanted one.
  return value.length < literal.length && literal.startsWith(value) ? "unknown" : "no-match";
}

function evaluateClass(pattern: Pattern, value: string): Verdict {
  if (pattern.matches(value.slice(0, 4)) || pattern.matches(value)) {
    return "match";
  }
  if (value.length > 4) {
    return "no-match";
  }
  const interfaces = Array.from({ length: 0x100 }, (_, n) => n.toString(16).padStart(2, "0"));
  const matching = interfaces.filter((code) => pattern.matches(value + code)).length;
  if (matching === interfaces.length) {
    return "match";
  }
  return matching === 0 ? "no-match" : "unknown";
}

function notAClass(literal: string): PatternIssue {
  const isDigits = /^[0-9a-f]+$/.test(literal);
  return {
    message: isDigits
      ? `"${literal}" has ${literal.length} digits, a class has four (base class and subclass) or six`
      : `"${literal}" is no name of a class and not four or six hexadecimal digits`,
    index: 0,
    hint:
      isDigits && literal.length === 2
        ? `write ${literal}*`
        : `names: ${Object.keys(CLASS_NAMES).join(", ")}`,
  };
}

/** One remark, the most telling: a name is no number of the wrong length. */
function remarksAbout(pattern: Pattern, width: Width): readonly PatternIssue[] {
  const [lost] = remarksOn(pattern, HEX_DIGITS, width.name);
  return lost === undefined ? widthRemarks(pattern, width) : [{ ...lost, hint: width.hint }];
}

function widthRemarks({ literal }: Pattern, { name, digits, inWords }: Width): readonly PatternIssue[] {
  if (literal === undefined || literal.length === digits) {
    return [];
  }
  const hint = literal.length < digits ? { hint: `write ${literal.padStart(digits, "0")}` } : {};
  return [{ message: `matches no ${name}: it has ${literal.length} digits, ${inWords}`, index: 0, ...hint }];
}

/** Whether every way through the pattern writes out at least one digit. */
function namesDigit(nodes: readonly GlobNode[]): boolean {
  return walkNodes(nodes, false, {
    step: (isNamed, token) => isNamed || (token.kind === "literal" && HEX_DIGITS.includes(token.char)),
    join: (branches) => branches.every(Boolean),
  });
}

/** Whether every way through the pattern begins with the two digits of a base class written out. */
function namesBaseClass(nodes: readonly GlobNode[]): boolean {
  const named = walkNodes(nodes, 0, {
    step: (digits, token) =>
      token.kind === "literal" || digits >= 2 ? digits + 1 : Number.NEGATIVE_INFINITY,
    join: (branches) => Math.min(...branches),
  });
  return named >= 2;
}
