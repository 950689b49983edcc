/**
 * The regular expressions of Nova's address maps (Python's `re.match`: from the start of a field, not to its end) as
 * patterns of ours, as far as they say something that a pattern can say.
 *
 * Understood are characters, `.`, sets, groups, alternatives, repetitions, `^` and `$` at the ends, and a leading
 * `(?i)`. Fields are short, so a repetition is written out up to the width of its field. Must never run an expression.
 */
import { err, ok, type Result } from "../base/result.js";

/** The digits that a field has. */
const WIDTHS = { domain: 4, bus: 2, slot: 2, function: 1 } as const;
export type NovaField = keyof typeof WIDTHS;

/** Why an expression is no pattern: Nova refuses it as well, or no pattern says the same. */
export interface RegexRefusal {
  readonly kind: "wrong-format" | "not-expressible";
  /** What follows the expression in a sentence. */
  readonly message: string;
}

/** A part of an expression as a pattern; `min` is the fewest characters that it takes. */
interface Part {
  readonly glob: string;
  readonly min: number;
}

/** How often a part is repeated. */
interface Count {
  readonly min: number;
  readonly max: number;
}

/** Where the reading of an expression stands. */
interface Reader {
  readonly text: string;
  readonly width: number;
  at: number;
}

const LONGEST_REGEX = 200;
const LONGEST_FIELD_PATTERN = 120;
const MOST_REPEATS = 8;
const FOLD_PREFIX = "(?i)";
const QUANTIFIER = /^(?:([*+?])|\{(\d+)(,?)(\d*)\})(\??)/;
const SET = /^\[(\^?)((?:\\d|[0-9A-Za-z](?:-[0-9A-Za-z])?)+)\]/;
const ESCAPED_DIGIT = "\\d";
/** Punctuation that stands for itself after a backslash in Python, and that a pattern can hold. */
const ESCAPED_PLAIN = /^[.:\-_/ ,]$/;

/** Stops the reading; caught in this file only. */
class Refused extends Error {
  readonly refusal: RegexRefusal;
  constructor(refusal: RegexRefusal) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

/** Translates the expression of one field into a pattern over that field. */
export function translateNovaRegex(field: NovaField, regex: string): Result<string, RegexRefusal> {
  if (regex.length > LONGEST_REGEX) {
    return err({ kind: "not-expressible", message: `has more than ${LONGEST_REGEX} characters` });
  }
  const isFolded = regex.startsWith(FOLD_PREFIX);
  // Addresses are in lower case, so that ignoring case is asking for lower case.
  const text = isFolded ? foldCase(regex.slice(FOLD_PREFIX.length)) : regex;
  try {
    const glob = readWhole({ text, width: WIDTHS[field], at: 0 });
    return ok(glob);
  } catch (error) {
    if (error instanceof Refused) {
      return err(error.refusal);
    }
    throw error;
  }
}

function readWhole(reader: Reader): string {
  const alternatives: string[] = [];
  do {
    alternatives.push(readFieldAlternative(reader));
  } while (take(reader, "|"));
  if (reader.at < reader.text.length) {
    throw reader.text.charAt(reader.at) === ")"
      ? malformed("has a parenthesis that was never opened")
      : inexpressible("goes on after its end");
  }
  return alternatives.includes("*") ? "*" : listOf(alternatives);
}

/** One alternative for the whole field: open at its end, unless it says otherwise or fills the field. */
function readFieldAlternative(reader: Reader): string {
  while (take(reader, "^") || take(reader, "\\A")) {
    // Matching begins at the start anyway.
  }
  const { glob, min } = readSequence(reader);
  const isClosed = take(reader, "$") || take(reader, "\\Z");
  return isClosed || min >= reader.width || glob.endsWith("*") ? glob : `${glob}*`;
}

function readSequence(reader: Reader): Part {
  let [glob, min] = ["", 0];
  while (reader.at < reader.text.length && !isEnd(reader)) {
    const atom = readAtom(reader);
    const part = repeat(atom, readCount(reader), reader.width);
    glob += part.glob;
    if (glob.length > LONGEST_FIELD_PATTERN) {
      throw inexpressible("would be too long a pattern");
    }
    min += part.min;
  }
  return { glob, min };
}

function isEnd({ text, at }: Reader): boolean {
  return "|)$".includes(text.charAt(at)) || text.startsWith("\\Z", at);
}

function readAtom(reader: Reader): Part {
  const char = reader.text.charAt(reader.at);
  switch (char) {
    case ".":
      reader.at += 1;
      return { glob: "?", min: 1 };
    case "[":
      return readSet(reader);
    case "(":
      return readGroup(reader);
    case "\\":
      return readEscape(reader);
    case "*":
    case "+":
    case "?":
      throw malformed("repeats nothing");
    case "^":
    case "{":
    case "}":
    case "]":
      throw inexpressible(`has a "${char}" where no pattern has one`);
    default:
      reader.at += 1;
      return literal(char);
  }
}

function readSet(reader: Reader): Part {
  const [whole, negation, members] = SET.exec(reader.text.slice(reader.at)) ?? [];
  if (whole === undefined || members === undefined) {
    throw reader.text.includes("]", reader.at)
      ? inexpressible("has a set of more than letters, digits and ranges of them")
      : malformed("has a set that is never closed");
  }
  for (const [, from = "", to = ""] of members.matchAll(/(.)-(.)/g)) {
    if (from > to) {
      throw malformed(`has a range that ends before it begins, ${from}-${to}`);
    }
  }
  reader.at += whole.length;
  return { glob: `[${negation === "" ? "" : "!"}${members.replaceAll(ESCAPED_DIGIT, "0-9")}]`, min: 1 };
}

function readGroup(reader: Reader): Part {
  if (!take(reader, "(?:")) {
    reader.at += 1;
    if (reader.text.charAt(reader.at) === "?") {
      throw inexpressible("has a group that only looks, names or remembers");
    }
  }
  const parts: Part[] = [];
  do {
    parts.push(readSequence(reader));
  } while (take(reader, "|"));
  if (!take(reader, ")")) {
    throw reader.at < reader.text.length
      ? inexpressible("ends in the middle of a group")
      : malformed("has a group that is never closed");
  }
  return { glob: listOf(parts.map(({ glob }) => glob)), min: Math.min(...parts.map(({ min }) => min)) };
}

function readEscape(reader: Reader): Part {
  const char = reader.text.charAt(reader.at + 1);
  reader.at += 2;
  if (char === "d") {
    return { glob: "[0-9]", min: 1 };
  }
  if (ESCAPED_PLAIN.test(char)) {
    return literal(char);
  }
  throw char === "" ? malformed("ends in a backslash") : inexpressible(`has \\${char}`);
}

function readCount(reader: Reader): Count {
  const [whole, sign, least, comma, most] = QUANTIFIER.exec(reader.text.slice(reader.at)) ?? [];
  if (whole === undefined) {
    return { min: 1, max: 1 };
  }
  reader.at += whole.length;
  if ("*+?{".includes(reader.text.charAt(reader.at) || " ")) {
    throw inexpressible("repeats a repetition");
  }
  if (sign !== undefined) {
    return { min: sign === "+" ? 1 : 0, max: sign === "?" ? 1 : Number.POSITIVE_INFINITY };
  }
  const min = Number(least);
  const max = most === "" ? (comma === "" ? min : Number.POSITIVE_INFINITY) : Number(most);
  if (max < min) {
    throw malformed("repeats at least more often than at most");
  }
  return { min, max };
}

/** A part repeated; what takes a character each time is never repeated more often than the field has characters. */
function repeat({ glob, min }: Part, count: Count, width: number): Part {
  if (count.min > MOST_REPEATS) {
    throw inexpressible(`repeats more than ${MOST_REPEATS} times`);
  }
  const required = glob.repeat(count.min);
  const total = { min: min * count.min };
  if (glob === "?" && count.max === Number.POSITIVE_INFINITY) {
    return { ...total, glob: `${required}*` };
  }
  const optional = Math.max(0, Math.min(count.max, width) - count.min);
  return { ...total, glob: required + `{${glob},}`.repeat(optional) };
}

function literal(char: string): Part {
  return { glob: /^[0-9A-Za-z]$/.test(char) ? char : `\\${char}`, min: 1 };
}

function listOf(alternatives: readonly string[]): string {
  return alternatives.length === 1 ? (alternatives[0] ?? "") : `{${alternatives.join(",")}}`;
}

function foldCase(text: string): string {
  // Escapes have a case of their own.
  return text.replaceAll(/\\.|[A-Z]/gs, (found) => (found.startsWith("\\") ? found : found.toLowerCase()));
}

function take(reader: Reader, text: string): boolean {
  const isThere = reader.text.startsWith(text, reader.at);
  reader.at += isThere ? text.length : 0;
  return isThere;
}

function malformed(message: string): Refused {
  return new Refused({ kind: "wrong-format", message });
}

function inexpressible(message: string): Refused {
  return new Refused({ kind: "not-expressible", message });
}
