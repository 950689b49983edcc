/**
 * The patterns of rules for programs that use this package: compiled once into a plain predicate, refused by a throw.
 *
 * Inside of the package the same compilers return their refusals as values, with everything a rule needs besides.
 */
import { AgentError } from "../base/error.js";
import type { Result } from "../base/result.js";
import { type PciAddress, parseAddress } from "./address.js";
import { compileAddressPattern as compileAddress } from "./address-pattern.js";
import {
  compileLspciFilter as compileLspci,
  LSPCI_OPTIONS,
  type LspciDevice,
  type LspciOption,
} from "./lspci.js";
import { compilePattern as compileText, type PatternIssue } from "./pattern.js";

/** Thrown for a pattern that is refused. */
export class PatternError extends AgentError<"pattern.refused"> {
  /** The character that is to blame, from 0. */
  readonly index: number;
  /** What to write instead, where that is known. */
  readonly hint: string | undefined;

  constructor(pattern: string, { message, index, hint }: PatternIssue) {
    const advice = hint === undefined ? "" : ` (${hint})`;
    super("pattern.refused", `cannot compile ${JSON.stringify(pattern)}: ${message}${advice}`, {
      context: { pattern, index },
    });
    this.index = index;
    this.hint = hint;
  }
}

/**
 * Compiles a pattern as rules use them: POSIX fnmatch(3) plus brace lists (semantics.md 2). The predicate takes time in
 * proportion to (characters of the text x characters of the pattern) at worst.
 *
 * @throws {PatternError} for an empty pattern, one over 199 characters, and one with a parenthesis.
 */
export function compilePattern(pattern: string): (text: string) => boolean {
  return unwrap(pattern, compileText(textOf(pattern))).matches;
}

/**
 * Compiles a pattern over PCI addresses: `0000:65:00.*`, or without a domain `65:*` (semantics.md 2). The predicate is
 * asked about a full address as sysfs writes it, in lower case.
 *
 * @throws {PatternError} for what {@link compilePattern} refuses, and for a pattern without a colon other than `*`.
 */
export function compileAddressPattern(pattern: string): (address: string) => boolean {
  const { matches } = unwrap(pattern, compileAddress(textOf(pattern)));
  return (address) => matches(address as PciAddress);
}

/**
 * Compiles what stands after `lspci -s` or `lspci -d`, read as lspci 3.9.0 reads it. The predicate is true where the
 * device is known to match: a fact that is left out, or is not in the form of a recording (`address` a full address, ids
 * and class in hex digits), is not known and matches no filter that asks for it. It never throws.
 *
 * @throws {PatternError} for what lspci refuses, and for any other option.
 */
export function compileLspciFilter(
  option: LspciOption,
  pattern: string,
): (device: Partial<LspciDevice>) => boolean {
  if (!LSPCI_OPTIONS.includes(option)) {
    throw new PatternError(pattern, { message: `lspci has no filter ${String(option)}`, index: 0 });
  }
  const filter = unwrap(pattern, compileLspci(option, textOf(pattern)));
  return (device) => filter.verdictOf(knownOf(device) as LspciDevice) === "match";
}

/** What a caller without types may have passed, as far as it can be facts of a device. */
function knownOf(device: unknown): Partial<LspciDevice> {
  const facts = typeof device === "object" && device !== null ? (device as Record<string, unknown>) : {};
  const hex = (["vendor", "device", "class"] as const).flatMap((key) => {
    const fact = facts[key];
    return typeof fact === "string" && /^[0-9a-f]{4,6}$/i.test(fact) ? [[key, fact] as const] : [];
  });
  const address = typeof facts["address"] === "string" ? parseAddress(facts["address"]) : undefined;
  return { ...Object.fromEntries(hex), ...(address === undefined ? {} : { address }) };
}

/** A caller without types may pass anything. */
function textOf(pattern: unknown): string {
  if (typeof pattern === "string") {
    return pattern;
  }
  throw new PatternError(String(pattern), { message: "is no text", index: 0 });
}

function unwrap<T>(pattern: string, compiled: Result<T, PatternIssue>): T {
  if (!compiled.ok) {
    throw new PatternError(pattern, compiled.error);
  }
  return compiled.value;
}
