/**
 * Bracket expressions of patterns: `[0-3]`, `[!0]`, `[[:digit:]]`, `[]a]`.
 *
 * Follows fnmatch(3) of glibc in the C locale with flags 0, also where POSIX leaves the answer open:
 * `[^0]` negates, a reversed range is empty, an unknown class name never matches. (glibc answers strangely
 * about `[[.a.]-]` and about collating symbols that never end; those oddities are not followed.)
 * Works on characters (code points), never on UTF-16 halves.
 */

/** A range of code points, both ends included. */
type Range = readonly [from: number, to: number];

/** A bracket expression and where it ends. */
interface Bracket {
  readonly contains: (char: string) => boolean;
  /** The same set in letters, digits and ranges of them only; `undefined` where it needs more than that. */
  readonly plainSpelling: string | undefined;
  /** Index of the first character after the closing `]`. */
  readonly end: number;
}

/** `literal`: there is no closing `]`, so `[` is an ordinary character. `never`: fnmatch(3) fails here for any text. */
export type BracketReading = Bracket | "literal" | "never";

interface Element {
  /** `poison`: where fnmatch(3) gives up; a character not listed by then does not match, negated or not. */
  readonly kind: "char" | "set" | "poison";
  readonly ranges: readonly Range[];
  readonly end: number;
}

const CLASSES: Readonly<Record<string, readonly Range[]>> = {
  alnum: [range("0", "9"), range("A", "Z"), range("a", "z")],
  alpha: [range("A", "Z"), range("a", "z")],
  blank: [range("\t", "\t"), range(" ", " ")],
  cntrl: [range("\0", "\x1f"), range("\x7f", "\x7f")],
  digit: [range("0", "9")],
  graph: [range("!", "~")],
  lower: [range("a", "z")],
  print: [range(" ", "~")],
  punct: [range("!", "/"), range(":", "@"), range("[", "`"), range("{", "~")],
  space: [range("\t", "\r"), range(" ", " ")],
  upper: [range("A", "Z")],
  xdigit: [range("0", "9"), range("A", "F"), range("a", "f")],
};

const PLAIN_RANGE = /^(?:[0-9]-[0-9]|[a-z]-[a-z]|[A-Z]-[A-Z])$/;

/** Reads the bracket expression whose `[` stands just before `start`. */
export function readBracket(chars: readonly string[], start: number): BracketReading {
  const isNegated = chars[start] === "!" || chars[start] === "^";
  const first = isNegated ? start + 1 : start;
  const ranges: Range[] = [];
  let isPoisoned = false;
  const lists = (code: number) => ranges.some(([from, to]) => from <= code && code <= to);
  let at = first;
  while (at === first || chars[at] !== "]") {
    if (at >= chars.length) {
      // glibc only notices the missing "]" where the text's "[" gets past the poison.
      return isPoisoned && !lists(codeOf("[")) ? "never" : "literal";
    }
    const element = readRange(chars, at);
    if (element === undefined) {
      return "never";
    }
    if (!isPoisoned) {
      ranges.push(...element.ranges);
    }
    isPoisoned ||= element.kind === "poison";
    at = element.end;
  }
  const contains = (char: string) => (lists(codeOf(char)) ? !isNegated : isNegated && !isPoisoned);
  return { contains, plainSpelling: isPoisoned ? undefined : spellPlainly(ranges, isNegated), end: at + 1 };
}

/** One element, or a range `a-z` of two; `undefined` where the pattern ends in its middle. */
function readRange(chars: readonly string[], at: number): Element | undefined {
  const low = readElement(chars, at);
  if (low === undefined || low.kind !== "char" || chars[low.end] !== "-" || chars[low.end + 1] === "]") {
    return low;
  }
  if (low.end + 1 === chars.length) {
    return { ...low, kind: "poison", end: chars.length };
  }
  const high = readRangeEnd(chars, low.end + 1);
  if (high?.kind !== "char") {
    return high;
  }
  return { kind: "set", ranges: [[firstOf(low), firstOf(high)]], end: high.end };
}

/** The end of a range knows collating symbols, but neither classes nor equivalences: their `[` is a character. */
function readRangeEnd(chars: readonly string[], at: number): Element | undefined {
  const isBareBracket = chars[at] === "[" && chars[at + 1] !== ".";
  return isBareBracket ? single("char", "[", at + 1) : readElement(chars, at);
}

/** One character or set; `undefined` where the pattern ends in the middle of an escape. */
function readElement(chars: readonly string[], at: number): Element | undefined {
  const char = chars[at] ?? "";
  if (char !== "\\") {
    return (char === "[" ? readNamed(chars, at) : undefined) ?? single("char", char, at + 1);
  }
  const escaped = chars[at + 1];
  return escaped === undefined ? undefined : single("char", escaped, at + 2);
}

/** `[:digit:]`, `[=a=]` or `[.a.]` at `at`; `undefined` where its `[` stands for itself. */
function readNamed(chars: readonly string[], at: number): Element | undefined {
  const [mark, name = "", mirror, close] = chars.slice(at + 1, at + 5);
  const isSingle = mirror === mark && close === "]";
  if (mark === ".") {
    // The C locale knows no collating symbol of more than one character.
    return isSingle ? single("char", name, at + 5) : { kind: "poison", ranges: [], end: at + 1 };
  }
  if (mark === "=" && isSingle) {
    return single("set", name, at + 5);
  }
  return mark === ":" ? readClass(chars, at) : undefined;
}

/** `[:name:]` at `at`; `undefined` where it is not one and `[` stands for itself. */
function readClass(chars: readonly string[], at: number): Element | undefined {
  const named = /^\[:([a-y]*):\]/.exec(chars.slice(at).join(""));
  if (named === null) {
    return undefined;
  }
  const ranges = CLASSES[named[1] ?? ""];
  return { kind: ranges === undefined ? "poison" : "set", ranges: ranges ?? [], end: at + named[0].length };
}

function spellPlainly(ranges: readonly Range[], isNegated: boolean): string | undefined {
  const spelled = ranges
    .filter(([from, to]) => from <= to)
    .map(([from, to]) => String.fromCodePoint(from, 0x2d, to));
  const isPlain = spelled.length > 0 && spelled.every((part) => PLAIN_RANGE.test(part));
  return isPlain ? `[${isNegated ? "!" : ""}${spelled.join("")}]` : undefined;
}

function single(kind: "char" | "set", char: string, end: number): Element {
  return { kind, ranges: [range(char, char)], end };
}

function firstOf(element: Element): number {
  return element.ranges[0]?.[0] ?? 0;
}

function range(from: string, to: string): Range {
  return [codeOf(from), codeOf(to)];
}

function codeOf(char: string): number {
  return char.codePointAt(0) ?? 0;
}
