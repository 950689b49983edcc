/**
 * Patterns over the facts that are neither addresses nor ids: names, serials, ways through the bus tree, counts
 * and flags (semantics.md 2). All of them are those of pattern.ts and as linear.
 */
import { err, ok, type Result } from "../base/result.js";
import { walkNodes } from "./brace.js";
import type { GlobNode } from "./glob.js";
import { compilePattern, type Pattern, type PatternIssue, remarksOn, type ValuePattern } from "./pattern.js";

const HEX_DIGITS = "0123456789abcdef";
const DECIMAL_DIGITS = "0123456789";
const FLAGS = ["true", "false"];

/** Compiles a pattern over a name that somebody chose: a driver, slot, label, udev property or sysfs attribute. */
export function compileTextPattern(text: string): Result<ValuePattern, PatternIssue> {
  return compileOver(text, { namesSomething: namesLetter });
}

/** Compiles a pattern over a device serial number, `00-11-22-ff-ff-33-44-55`, in either case. */
export function compileSerialPattern(text: string): Result<ValuePattern, PatternIssue> {
  return compileOver(text.toLowerCase(), {
    namesSomething: namesLetter,
    alphabet: { chars: `${HEX_DIGITS}-`, subject: "serial number" },
  });
}

/** Compiles a pattern over the way from the root bus down to a device, `0000:00/1c.0/00.0` (see `Device.path`). */
export function compilePathPattern(text: string): Result<ValuePattern, PatternIssue> {
  return compileOver(text.toLowerCase(), {
    namesSomething: namesStep,
    alphabet: { chars: `${HEX_DIGITS}:./`, subject: "path" },
  });
}

/** Compiles a pattern over a number in decimal: a NUMA node, an IOMMU group. Alone it names no device. */
export function compileNumberPattern(text: string): Result<ValuePattern, PatternIssue> {
  return compileOver(text, {
    namesSomething: () => false,
    alphabet: { chars: DECIMAL_DIGITS, subject: "number" },
  });
}

/** Compiles `true` or `false`. */
export function compileFlag(text: string): Result<ValuePattern, PatternIssue> {
  if (!FLAGS.includes(text)) {
    return err({ message: `"${text}" is neither true nor false`, index: 0 });
  }
  return ok({
    text,
    evaluate: (value) => (value === text ? "match" : "no-match"),
    isWildcardOnly: true,
    literals: [text],
    remarks: [],
  });
}

interface Subject {
  /** Whether every way through the pattern pins down something. */
  readonly namesSomething: (nodes: readonly GlobNode[]) => boolean;
  /** The characters that such a fact may have. */
  readonly alphabet?: { readonly chars: string; readonly subject: string };
}

function compileOver(
  text: string,
  { namesSomething, alphabet }: Subject,
): Result<ValuePattern, PatternIssue> {
  const compiled = compilePattern(text);
  if (!compiled.ok) {
    return compiled;
  }
  const pattern = compiled.value;
  return ok({
    text,
    evaluate: (value) => (pattern.matches(value) ? "match" : "no-match"),
    isWildcardOnly: !namesSomething(pattern.nodes),
    literals: literalsOf(pattern),
    remarks: alphabet === undefined ? [] : remarksOn(pattern, alphabet.chars, alphabet.subject),
  });
}

function literalsOf({ literal }: Pattern): readonly string[] | null {
  return literal === undefined ? null : [literal];
}

function namesLetter(nodes: readonly GlobNode[]): boolean {
  return walkNodes(nodes, false, {
    step: (isNamed, token) => isNamed || (token.kind === "literal" && /[\p{L}\p{N}]/u.test(token.char)),
    join: (branches) => branches.every(Boolean),
  });
}

/** Whether a digit is written out below the root bus; the bus alone is no place. */
function namesStep(nodes: readonly GlobNode[]): boolean {
  const reached = walkNodes<"bus" | "below" | "named">(nodes, "bus", {
    step: (state, token) => {
      if (token.kind !== "literal" || state === "named") {
        return state;
      }
      if (state === "bus") {
        return token.char === "/" ? "below" : state;
      }
      return HEX_DIGITS.includes(token.char) ? "named" : state;
    },
    join: (branches) =>
      branches.find((state) => state === "bus") ?? branches.find((state) => state === "below") ?? "named",
  });
  return reached === "named";
}
