/**
 * JSON as QEMU speaks it: 64-bit integers survive in both directions.
 *
 * Integers that a double cannot hold arrive as bigint (an unset `pref64-reserve` is 2^64-1, facts.md 13);
 * all other values are what JSON.parse gives. Pure.
 */

import { printable, QmpProtocolError } from "./errors.js";

/** A value that can be sent. Members that are `undefined` are left out. */
export type JsonValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly JsonValue[]
  | { readonly [member: string]: JsonValue | undefined };

/** An integer of the wire: `bigint` only where a double would round. */
export type JsonInteger = number | bigint;

/** A safe integer has at most 16 digits, so only texts with such a run need the slow path. */
const LONG_DIGITS = /\d{16}/;

/** What QEMU's parser refuses in a string although JSON allows it: NUL, half a surrogate pair, noncharacters. */
const UNREADABLE = /[\0\p{Surrogate}\p{Noncharacter_Code_Point}]/u;
const BACKSLASH = 0x5c;

/**
 * Parses one JSON text; integers beyond 2^53 are bigint.
 *
 * @throws {SyntaxError} for anything that is not JSON.
 */
export function parseJson(text: string): unknown {
  const rounded: unknown = JSON.parse(text);
  if (!LONG_DIGITS.test(text)) {
    return rounded;
  }
  return JSON.parse(markValues(text), unmark);
}

/**
 * Rewrites valid JSON so that no digit is lost: every string value gets the mark "s", every big integer becomes a
 * string marked "b", so neither can be taken for the other. Linear in the length of the text.
 */
function markValues(text: string): string {
  const pieces: string[] = [];
  let done = 0;
  for (const match of tokensOf(text)) {
    pieces.push(text.slice(done, match.start), match.marked);
    done = match.end;
  }
  pieces.push(text.slice(done));
  return pieces.join("");
}

interface MarkedToken {
  readonly start: number;
  readonly end: number;
  readonly marked: string;
}

function* tokensOf(text: string): Generator<MarkedToken> {
  const finder = /"|-?\d[\d.eE+-]*/g;
  const nameEnd = /\s*:/y;
  for (let found = finder.exec(text); found !== null; found = finder.exec(text)) {
    const start = found.index;
    if (found[0] !== '"') {
      yield { start, end: finder.lastIndex, marked: isBigInteger(found[0]) ? `"b${found[0]}"` : found[0] };
      continue;
    }
    const end = endOfString(text, start);
    finder.lastIndex = end;
    nameEnd.lastIndex = end;
    if (!nameEnd.test(text)) {
      yield { start, end, marked: `"s${text.slice(start + 1, end)}` };
    }
  }
}

/** The index behind the closing quote of the string that opens at `start`. */
function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); ; quote = text.indexOf('"', quote + 1)) {
    let slashes = 0;
    while (text.charCodeAt(quote - 1 - slashes) === BACKSLASH) {
      slashes += 1;
    }
    if (slashes % 2 === 0) {
      return quote + 1;
    }
  }
}

function isBigInteger(token: string): boolean {
  return !/[.eE]/.test(token) && !Number.isSafeInteger(Number(token));
}

function unmark(_name: string, value: unknown): unknown {
  if (typeof value !== "string") {
    return value;
  }
  return value.startsWith("b") ? BigInt(value.slice(1)) : value.slice(1);
}

/**
 * Formats one JSON text on one line; bigints are written as plain integers.
 *
 * @throws {QmpProtocolError} qmp.unsendable: what QEMU's parser would refuse without telling whose command it was:
 * NUL, half a surrogate pair or a noncharacter in a text, a number that is not finite; or an integer beyond 2^53 that is
 * no bigint, because it may have been rounded before it came here.
 */
export function formatJson(value: JsonValue): string {
  switch (typeof value) {
    case "string":
      return formatText(value);
    case "bigint":
      return value.toString();
    case "number":
      return formatNumber(value);
    case "boolean":
      return String(value);
    default:
      return value === null ? "null" : formatContainer(value);
  }
}

function formatContainer(
  value: readonly JsonValue[] | { readonly [member: string]: JsonValue | undefined },
): string {
  if (isArray(value)) {
    return `[${value.map(formatJson).join(",")}]`;
  }
  const members: string[] = [];
  for (const [name, member] of Object.entries(value)) {
    if (member !== undefined) {
      members.push(`${formatText(name)}:${formatJson(member)}`);
    }
  }
  return `{${members.join(",")}}`;
}

/** Array.isArray does not narrow readonly arrays. */
function isArray(value: object): value is readonly JsonValue[] {
  return Array.isArray(value);
}

function formatText(text: string): string {
  if (UNREADABLE.test(text)) {
    throw unsendable(`the text "${printable(text, 80)}" holds what is no character`);
  }
  return JSON.stringify(text);
}

function formatNumber(value: number): string {
  if (!Number.isFinite(value)) {
    throw unsendable(`the number ${value} is not finite`);
  }
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw unsendable(`the number ${value} may have been rounded; pass integers beyond 2^53 as bigint`);
  }
  return JSON.stringify(value);
}

function unsendable(why: string): QmpProtocolError {
  return new QmpProtocolError("qmp.unsendable", `cannot send to QEMU: ${why}`);
}
