/**
 * Patterns over PCI addresses (semantics.md 2): `0000:65:00.*`, `01:*`, `*:00.0`, `*`.
 *
 * Owns when a pattern is about the full address and when it leaves the domain out, for each way through its
 * lists separately. Matches are those of fnmatch(3), case included: addresses are lower-case, so an upper-case
 * digit matches none (a remark says so).
 */

import { err, ok, type Result } from "../base/result.js";
import { type PciAddress, parseAddress } from "./address.js";
import { advanceInGrammar, END, FULL_START, SHORT_START } from "./address-grammar.js";
import { advance, type Positions, walkNodes } from "./brace.js";
import type { GlobNode, GlobToken } from "./glob.js";
import { compilePattern, type Pattern, type PatternIssue, remarksOn, type ValuePattern } from "./pattern.js";

/** A compiled pattern over addresses. */
export interface AddressPattern extends ValuePattern {
  readonly matches: (address: PciAddress) => boolean;
}

/** What has been seen of one way through a pattern; a function of the pattern alone, never of the text. */
interface Shape {
  /** Colons outside of brackets, counted up to two. */
  readonly colons: number;
  /** Fixed positions (anything but a star) before the first colon, counted up to four. */
  readonly lead: number;
  /** Whether a digit is written out before the first colon; in the body after it; behind the last dot. */
  readonly hasLeadDigit: boolean;
  readonly hasBodyDigit: boolean;
  readonly hasTailDigit: boolean;
  readonly isInTail: boolean;
}

const START: Shape = {
  colons: 0,
  lead: 0,
  hasLeadDigit: false,
  hasBodyDigit: false,
  hasTailDigit: false,
  isInTail: false,
};

const DOMAIN_WIDTH = 4;
const ADDRESS_ALPHABET = "0123456789abcdef:.";

/**
 * Compiles an address pattern. Refused, beyond what every pattern refuses: one without a colon, which could
 * mean a bus, a slot or a domain. `*` alone means every device.
 */
export function compileAddressPattern(text: string): Result<AddressPattern, PatternIssue> {
  const compiled = compilePattern(text);
  if (!compiled.ok) {
    return compiled;
  }
  const pattern = compiled.value;
  const isEverything = pattern.nodes.every((node) => node.kind === "star");
  const shapes = shapesOf(pattern.nodes);
  if (!isEverything && shapes.some(({ colons }) => colons === 0)) {
    return err({
      message: "has no colon, so it does not say whether it means a domain, a bus or a slot",
      index: 0,
      hint: "write 01:* for bus 01, *:00.0 for a slot and function, 0000:* for a domain, * for all",
    });
  }
  const matches = isEverything ? () => true : matcherOf(pattern, shapes);
  return ok({
    text,
    matches,
    evaluate: (value) => (matches(value as PciAddress) ? "match" : "no-match"),
    exactAddress: exactAddressOf(pattern),
    literals: pattern.literal !== undefined && shapes.every(isFull) ? [pattern.literal] : null,
    isWildcardOnly: isEverything || !shapes.every(namesPlace),
    remarks: isEverything ? [] : remarksAbout(pattern),
  });
}

/** Why it matches no address: a character that none has, or else the form of the whole. */
function remarksAbout(pattern: Pattern): readonly PatternIssue[] {
  const remarks = remarksOn(pattern, ADDRESS_ALPHABET, "address");
  return remarks.length > 0 || canMatch(pattern.nodes) ? remarks : [formRemark(pattern)];
}

function canMatch(nodes: readonly GlobNode[]): boolean {
  const reaches = (start: number, isWanted: (shape: Shape) => boolean) =>
    waysThrough(nodes, advanceInGrammar, start).some(
      ({ shape, positions }) => isWanted(shape) && positions.has(END),
    );
  return reaches(FULL_START, isFull) || reaches(SHORT_START, (shape) => !isFull(shape));
}

const IDS = /^([0-9a-f]{4}):([0-9a-f]{4})$/;
const SLOT_ONLY = /^(?:[0-9a-f]{4,8}:)?[0-9a-f?*]{1,2}:[01]?[0-9a-f?]$/;

function formRemark({ text }: Pattern): PatternIssue {
  const [, vendor, device] = IDS.exec(text) ?? [];
  if (vendor !== undefined && device !== undefined) {
    return {
      message: "matches no address: it looks like vendor:device",
      index: 0,
      hint: `write vendor: "${vendor}" and device: "${device}", or lspci: "-d ${text}"`,
    };
  }
  if (SLOT_ONLY.test(text)) {
    return {
      message: "matches no address: it names no function",
      index: text.length,
      hint: `write ${text}.* for every function of the slot`,
    };
  }
  return {
    message: "matches no address: buses are 00 to ff, slots 00 to 1f, functions 0 to 7",
    index: 0,
    hint: "write [domain:]bus:slot.function, such as 0000:65:00.0 or 65:00.*",
  };
}

function exactAddressOf({ literal }: Pattern): PciAddress | undefined {
  const address = literal === undefined ? undefined : parseAddress(literal);
  return address === literal ? address : undefined;
}

/** Whether a way through the pattern is about the full address rather than the one without its domain. */
function isFull(shape: Shape): boolean {
  return shape.colons >= 2 || shape.lead >= DOMAIN_WIDTH;
}

/** Whether it names at least one digit of a bus or a slot; a domain or a function alone is no place. */
function namesPlace(shape: Shape): boolean {
  return shape.hasBodyDigit || (shape.hasLeadDigit && !isFull(shape));
}

function matcherOf(pattern: Pattern, shapes: readonly Shape[]): (address: PciAddress) => boolean {
  if (shapes.every(isFull)) {
    return (address) => pattern.matches(address);
  }
  if (!shapes.some(isFull)) {
    return (address) => pattern.matches(withoutDomain(address));
  }
  return (address) =>
    matchesIn(pattern.nodes, [...address], isFull) ||
    matchesIn(pattern.nodes, [...withoutDomain(address)], (shape) => !isFull(shape));
}

function withoutDomain(address: PciAddress): string {
  return address.slice(address.indexOf(":") + 1);
}

/** The shapes of all ways through a pattern's lists: a handful, however many ways there are. */
function shapesOf(nodes: readonly GlobNode[]): readonly Shape[] {
  return waysThrough(nodes, (positions) => positions).map(({ shape }) => shape);
}

/** Whether any way through the pattern that has the wanted shape matches the text. */
function matchesIn(
  nodes: readonly GlobNode[],
  text: readonly string[],
  isWanted: (shape: Shape) => boolean,
): boolean {
  const ways = waysThrough(nodes, (positions, token) => advance(positions, token, text));
  return ways.some(({ shape, positions }) => isWanted(shape) && positions.has(text.length));
}

function waysThrough(
  nodes: readonly GlobNode[],
  move: (positions: Positions, token: GlobToken) => Positions,
  start = 0,
): readonly Way[] {
  return walkNodes<readonly Way[]>(nodes, [{ shape: START, positions: new Set([start]) }], {
    step: (ways, token) =>
      mergeWays(
        ways.map(({ shape, positions }) => ({
          shape: extend(shape, token),
          positions: move(positions, token),
        })),
      ),
    join: (branches) => mergeWays(branches.flat()),
  });
}

interface Way {
  readonly shape: Shape;
  readonly positions: Positions;
}

/** Ways of one shape are one way with the positions of all: that keeps their number small. */
function mergeWays(ways: readonly Way[]): readonly Way[] {
  const merged = new Map<string, Way>();
  for (const { shape, positions } of ways) {
    const key = Object.values(shape).join();
    const known = merged.get(key)?.positions ?? [];
    merged.set(key, { shape, positions: new Set([...known, ...positions]) });
  }
  return [...merged.values()];
}

function extend(shape: Shape, token: GlobToken): Shape {
  if (token.kind === "star") {
    return shape;
  }
  const char = token.kind === "literal" ? token.char : "";
  if (char === ":") {
    return { ...shape, colons: Math.min(shape.colons + 1, 2) };
  }
  if (shape.colons === 0) {
    const lead = Math.min(shape.lead + 1, DOMAIN_WIDTH);
    return { ...shape, lead, hasLeadDigit: shape.hasLeadDigit || isDigit(char) };
  }
  if (char === ".") {
    const hasBodyDigit = shape.hasBodyDigit || shape.hasTailDigit;
    return { ...shape, hasBodyDigit, hasTailDigit: false, isInTail: true };
  }
  if (!isDigit(char)) {
    return shape;
  }
  return shape.isInTail ? { ...shape, hasTailDigit: true } : { ...shape, hasBodyDigit: true };
}

function isDigit(char: string): boolean {
  return /^[0-9a-f]$/.test(char);
}
