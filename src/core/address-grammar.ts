/**
 * Which texts can be addresses at all, as an automaton that patterns are run against: a pattern that no path of it
 * satisfies matches nothing on any host. PCI: buses 00 to ff, slots 00 to 1f, functions 0 to 7.
 */
import { acceptsChar, type GlobToken } from "./glob.js";

const HEX = "0123456789abcdef";
const CHARS = [...HEX, ":", "."];

/** Digits of a domain that have been read, 0 to 8, are states of their own; then come the fixed places. */
const MOST_DOMAIN_DIGITS = 8;
const LEAST_DOMAIN_DIGITS = 4;
const BUS = MOST_DOMAIN_DIGITS + 1;
/** What may stand at each place from the bus on: `BB:SS.F`. */
const PLACES: readonly string[] = [HEX, HEX, ":", "01", HEX, ".", "01234567"];

/** Where a full address begins, and one without its domain. */
export const FULL_START = 0;
export const SHORT_START = BUS;
/** Where an address is complete. */
export const END = BUS + PLACES.length;

/** The places that can be reached from these by a text that the token takes. */
export function advanceInGrammar(places: ReadonlySet<number>, token: GlobToken): ReadonlySet<number> {
  if (token.kind !== "star") {
    const chars = CHARS.filter((char) => acceptsChar(token, char));
    return new Set([...places].flatMap((place) => chars.flatMap((char) => next(place, char))));
  }
  const reached = new Set(places);
  for (const place of reached) {
    for (const char of CHARS) {
      for (const following of next(place, char)) {
        reached.add(following);
      }
    }
  }
  return reached;
}

function next(place: number, char: string): readonly number[] {
  if (place >= BUS) {
    return PLACES[place - BUS]?.includes(char) === true ? [place + 1] : [];
  }
  if (char === ":") {
    return place >= LEAST_DOMAIN_DIGITS ? [BUS] : [];
  }
  return HEX.includes(char) && place < MOST_DOMAIN_DIGITS ? [place + 1] : [];
}
