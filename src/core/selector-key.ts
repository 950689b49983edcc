/**
 * What a selector is made of: keys, what each says about a device, and how the values of a key become one.
 *
 * Every key answers twice: quickly with a verdict alone (for the thousands of questions of one pass), and at length
 * for people. Both come from the same compiled values and agree (a property test).
 */
import { err, ok, type Result } from "../base/result.js";
import type { PciAddress } from "./address.js";
import type { Fact } from "./fact.js";
import type { PatternIssue, ValuePattern } from "./pattern.js";
import type { RawValue, SelectableDevice, SelectorIssue, SelectorPath } from "./selector.js";
import type { Verdict } from "./verdict.js";
import { type FactWishes, NO_WISHES } from "./wishes.js";

/** What one key of a selector says about a device. */
export interface KeyVerdict {
  /** As the operator would point at it: `vendor`, `udev.ID_PATH`, `not[0].class`. */
  readonly key: string;
  readonly verdict: Verdict;
  /** The values as the operator wrote them; empty for `not` and `any`. */
  readonly wanted: readonly string[];
  /** What the device has: `null` is none, `undefined` not known (and for `not` and `any`, which look at several). */
  readonly actual: Fact;
  /** Where the verdict is `unknown`: what is not known, for a person. */
  readonly why?: string;
  /** For `not` and `any`: every key of every selector inside. */
  readonly keys?: readonly KeyVerdict[];
}

/** Keys that ask about several facts, so that their name alone does not say which one is missing. */
const COMPOUND_KEYS: readonly string[] = ["when", "lspci", "not", "any"];

/** A key as reasons name it; one that asks about several facts with the one that is not known. */
export function nameOfKey({ key, why }: Pick<KeyVerdict, "key" | "why">): string {
  return why !== undefined && COMPOUND_KEYS.includes(key) ? `${key} (${why})` : key;
}

/** One compiled key of a selector. */
export interface SelectorKey {
  readonly key: string;
  readonly isWildcardOnly: boolean;
  readonly exactAddresses: readonly PciAddress[];
  readonly exactPaths: readonly string[];
  readonly wishes: FactWishes;
  /** See {@link ValuePattern.literals}; `null` where a value is not literal, or is `unknown` or `none`. */
  readonly literals: readonly string[] | null;
  readonly remarks: readonly SelectorIssue[];
  readonly verdictOf: (device: SelectableDevice) => Verdict;
  /** The same verdict with its reasons; `prefix` stands before the key where the selector is nested. */
  readonly explain: (device: SelectableDevice, prefix: string) => KeyVerdict;
}

/** The result of compiling one key: the key, or everything that is wrong with it. */
export type CompiledKey = Result<SelectorKey, readonly SelectorIssue[]>;

/** The only value that matches a fact which is not known. A text that is really `unknown` is written `[u]nknown`. */
export const UNKNOWN = "unknown";
/** The only value that matches a fact which is known to be absent; a text that is really `none` is written `[n]one`. */
export const NONE = "none";

/** How the values of one key are compiled, and the fact of a device that they are about. */
export interface FactSource {
  /** As in {@link KeyVerdict.key}. */
  readonly name: string;
  readonly path: SelectorPath;
  readonly factOf: (device: SelectableDevice) => Fact;
  /** The fact as people read it; the fact itself by default. */
  readonly show?: (fact: Fact) => Fact;
  readonly why: (device: SelectableDevice) => string;
  readonly compile: (text: string) => Result<ValuePattern, PatternIssue>;
  readonly wishes?: FactWishes;
  /** Whether a device may be known to have no such fact, so that `none` is a value. */
  readonly canBeAbsent: boolean;
  /** Whether a value without wildcards says which device is meant (semantics.md 2, wildcard-only rules). */
  readonly isSpecific: boolean;
  /** Whether `unknown` alone says so too. */
  readonly isSpecificUnknown?: boolean;
}

/** The texts of one value: a text, or a list of at least one. */
export function textsOf(
  written: RawValue,
  path: SelectorPath,
): Result<readonly string[], readonly SelectorIssue[]> {
  const texts: unknown = typeof written === "string" ? [written] : written;
  if (!Array.isArray(texts) || !texts.every((text) => typeof text === "string")) {
    return err([{ path, message: "expected a text or a list of texts" }]);
  }
  return texts.length === 0
    ? err([{ path, message: "has no value, so nothing could match", hint: "write * for any" }])
    : ok(texts);
}

/** Compiles the values of one key over one fact: any of them is enough. */
export function compileFact(source: FactSource, written: RawValue): CompiledKey {
  const texts = textsOf(written, source.path);
  if (!texts.ok) {
    return texts;
  }
  const wanted = texts.value;
  const patterns: ValuePattern[] = [];
  const issues: SelectorIssue[] = [];
  const remarks: SelectorIssue[] = [];
  for (const [item, text] of wanted.entries()) {
    const locate = (issue: PatternIssue) => locateIssue(pathOfItem(source.path, written, item), issue);
    const compiled = isWord(text, source) ? undefined : source.compile(text);
    if (compiled?.ok === true) {
      patterns.push(compiled.value);
      remarks.push(...compiled.value.remarks.map(locate));
    } else if (compiled !== undefined) {
      issues.push(locate(compiled.error));
    }
  }
  return issues.length > 0 ? err(issues) : ok(keyOf(source, wanted, patterns, remarks));
}

/** Where an item of a value stands: a lone text stands where its key does. */
export function pathOfItem(path: SelectorPath, written: RawValue, item: number): SelectorPath {
  return typeof written === "string" ? path : [...path, item];
}

/** An issue of a pattern, put in its place in the selector. */
export function locateIssue(path: SelectorPath, { index, ...rest }: PatternIssue): SelectorIssue {
  return { path, character: index, ...rest };
}

function isWord(text: string, { canBeAbsent }: FactSource): boolean {
  return text === UNKNOWN || (canBeAbsent && text === NONE);
}

function keyOf(
  source: FactSource,
  wanted: readonly string[],
  patterns: readonly ValuePattern[],
  remarks: readonly SelectorIssue[],
): SelectorKey {
  const { name, factOf, why, show = (fact: Fact) => fact } = source;
  const literals = literalsOf(wanted, patterns);
  const judge = judgeOf(patterns, {
    wantsUnknown: wanted.includes(UNKNOWN),
    wantsNone: source.canBeAbsent && wanted.includes(NONE),
  });
  const addresses = patterns.flatMap(({ exactAddress }) => exactAddress ?? []);
  return {
    key: name,
    isWildcardOnly: isWildcardOnly(source, wanted, patterns),
    exactAddresses: name === "address" ? addresses : [],
    exactPaths: name === "path" ? patterns.flatMap((pattern) => pattern.literals ?? []) : [],
    wishes: source.wishes ?? NO_WISHES,
    literals,
    remarks,
    verdictOf: (device) => judge(factOf(device)),
    explain: (device, prefix) => {
      const fact = factOf(device);
      const verdict = judge(fact);
      const said = { key: `${prefix}${name}`, verdict, wanted, actual: show(fact) };
      return verdict === "unknown" ? { ...said, why: why(device) } : said;
    },
  };
}

function isWildcardOnly(
  source: FactSource,
  wanted: readonly string[],
  patterns: readonly ValuePattern[],
): boolean {
  // The values are alternatives: one that takes everything leaves the others nothing to fix.
  return (
    !source.isSpecific ||
    patterns.some((pattern) => pattern.isWildcardOnly) ||
    (source.canBeAbsent && wanted.includes(NONE)) ||
    (wanted.includes(UNKNOWN) && source.isSpecificUnknown !== true)
  );
}

function literalsOf(wanted: readonly string[], patterns: readonly ValuePattern[]): readonly string[] | null {
  const isPlain = patterns.length === wanted.length && patterns.every(({ literals }) => literals !== null);
  return isPlain ? [...new Set(patterns.flatMap(({ literals }) => literals ?? []))] : null;
}

interface Words {
  readonly wantsUnknown: boolean;
  readonly wantsNone: boolean;
}

function judgeOf(patterns: readonly ValuePattern[], words: Words): (fact: Fact) => Verdict {
  const whenUnknown: Verdict = words.wantsUnknown ? "match" : "unknown";
  const whenAbsent: Verdict = words.wantsNone ? "match" : "no-match";
  return (fact) => {
    if (fact === undefined) {
      return whenUnknown;
    }
    if (fact === null) {
      return whenAbsent;
    }
    let verdict: Verdict = "no-match";
    for (const pattern of patterns) {
      const said = pattern.evaluate(fact);
      if (said === "match") {
        return said;
      }
      verdict = said === "unknown" ? whenUnknown : verdict;
    }
    return verdict;
  };
}
