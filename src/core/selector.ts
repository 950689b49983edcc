/**
 * Selectors: which devices a rule means. All keys must hold; of a key's list any value is enough.
 *
 * Answers are three-valued (semantics.md 3) and say for each key what was wanted and what was there, so that
 * `plan` and `explain` name the key on which a device failed. A key is one row of KEYS: how its values are
 * compiled and which fact of the device they are about.
 */

import { err, ok, type Result } from "../base/result.js";
import type { PciAddress } from "./address.js";
import { compileAddressPattern } from "./address-pattern.js";
import type { Device } from "./device.js";
import { compileClassPattern, compileIdPattern } from "./hex-pattern.js";
import type { PatternIssue, ValuePattern } from "./pattern.js";
import { allOf, anyOf, type Verdict } from "./verdict.js";

/** The facts of a device that selectors look at. */
export type SelectableDevice = Pick<Device, "address" | "vendor" | "device" | "class">;

/** A fact of a device: a value, `null` where it is known to have none, `undefined` where that is not known. */
type Fact = string | null | undefined;

/** What is wrong with one value of a selector, or worth a remark. */
export interface SelectorIssue {
  /** The way to the value: keys as written, and positions in lists; empty where the selector as a whole is meant. */
  readonly path: readonly (string | number)[];
  /** The character of the value, from 0; absent where no character is to blame. */
  readonly character?: number;
  readonly message: string;
  readonly hint?: string;
}

/** What one key of a selector says about a device. */
interface KeyVerdict {
  readonly key: string;
  readonly verdict: Verdict;
  /** The values as the operator wrote them. */
  readonly wanted: readonly string[];
  readonly actual: Fact;
}

/** What a selector says about a device, and every key's part in it, in the order they are written. */
export interface SelectorVerdict {
  readonly verdict: Verdict;
  readonly keys: readonly KeyVerdict[];
}

/** One compiled key of a selector. */
interface SelectorKey {
  readonly key: string;
  readonly isWildcardOnly: boolean;
  readonly exactAddresses: readonly PciAddress[];
  readonly remarks: readonly SelectorIssue[];
  readonly evaluate: (device: SelectableDevice) => KeyVerdict;
}

/** A compiled selector. */
export interface Selector {
  /** As the operator wrote it. */
  readonly written: RawSelector;
  readonly keys: readonly SelectorKey[];
  /** Whether nothing in it is fixed: it must then leave delicate classes alone (pci-class.ts, `delicacyOf`). */
  readonly isWildcardOnly: boolean;
  /** The addresses it writes out in full. */
  readonly exactAddresses: readonly PciAddress[];
  /** The paths it writes out in full. */
  readonly exactPaths: readonly string[];
  /** For each key of plain values only: the texts of which a known fact must be one. */
  readonly fixed: ReadonlyMap<string, ReadonlySet<string>>;
  /** Values that may not mean what they say; reasons to tell the operator, not to refuse. */
  readonly remarks: readonly SelectorIssue[];
}

interface KeyKind {
  readonly factOf: (device: SelectableDevice) => Fact;
  readonly compile: (text: string) => Result<ValuePattern, PatternIssue>;
}

/** The only value that matches a fact which is not known. */
const UNKNOWN = "unknown";

const KEYS: Readonly<Record<string, KeyKind>> = {
  address: { factOf: (device) => device.address, compile: compileAddressPattern },
  vendor: { factOf: (device) => device.vendor, compile: compileIdPattern },
  device: { factOf: (device) => device.device, compile: compileIdPattern },
  class: { factOf: (device) => device.class, compile: compileClassPattern },
};

const KEYS_HINT = `keys: ${Object.keys(KEYS).join(", ")}`;

/** A selector as it is written: values or lists of values by key; `not`, `any` and maps of keys nest. */
export interface RawSelector {
  readonly [key: string]: RawValue;
}
export type RawValue = string | readonly string[] | RawSelector | readonly RawSelector[];

/** Compiles the `match` of a rule. Reports every issue, not only the first. */
export function compileSelector(raw: RawSelector): Result<Selector, readonly SelectorIssue[]> {
  const compiled = Object.entries(raw).map(([key, written]) => compileKey(key, written));
  const keys = compiled.flatMap((result) => (result.ok ? [result.value] : []));
  const issues = compiled.flatMap((result) => (result.ok ? [] : result.error));
  if (compiled.length === 0) {
    return err([{ path: [], message: "selects by nothing", hint: KEYS_HINT }]);
  }
  if (issues.length > 0) {
    return err(issues);
  }
  return ok({
    written: raw,
    keys,
    isWildcardOnly: keys.every((key) => key.isWildcardOnly),
    exactAddresses: keys.flatMap((key) => key.exactAddresses),
    exactPaths: [],
    fixed: new Map(),
    remarks: keys.flatMap((key) => key.remarks),
  });
}

/** What a selector says about a device. Pure and total; a fact that is not known makes its key `unknown`. */
export function evaluateSelector(selector: Selector, device: SelectableDevice): SelectorVerdict {
  const keys = selector.keys.map((key) => key.evaluate(device));
  return { verdict: allOf(keys.map(({ verdict }) => verdict)), keys };
}

/** The verdict alone, as soon as it is certain: one key that says no decides, whatever the others say. */
export function verdictOf(selector: Selector, device: SelectableDevice): Verdict {
  let verdict: Verdict = "match";
  for (const key of selector.keys) {
    const said = key.evaluate(device).verdict;
    if (said === "no-match") {
      return said;
    }
    verdict = said === "unknown" ? said : verdict;
  }
  return verdict;
}

function compileKey(key: string, written: RawValue): Result<SelectorKey, readonly SelectorIssue[]> {
  const kind = Object.hasOwn(KEYS, key) ? KEYS[key] : undefined;
  if (kind === undefined) {
    return err([{ path: [key], message: "is not a key of a selector", hint: KEYS_HINT }]);
  }
  if (!isTexts(written)) {
    return err([{ path: [key], message: "expected a text or a list of texts" }]);
  }
  const wanted = typeof written === "string" ? [written] : written;
  if (wanted.length === 0) {
    return err([{ path: [key], message: "has no value, so nothing could match", hint: "write * for any" }]);
  }
  const patterns: ValuePattern[] = [];
  const issues: SelectorIssue[] = [];
  const remarks: SelectorIssue[] = [];
  for (const [item, value] of wanted.entries()) {
    const locate = (issue: PatternIssue) =>
      locateIssue(typeof written === "string" ? [key] : [key, item], issue);
    const compiled = value === UNKNOWN ? undefined : kind.compile(value);
    if (compiled?.ok === true) {
      patterns.push(compiled.value);
      remarks.push(...compiled.value.remarks.map(locate));
    } else if (compiled !== undefined) {
      issues.push(locate(compiled.error));
    }
  }
  if (issues.length > 0) {
    return err(issues);
  }
  return ok({
    key,
    // The values are alternatives: one that takes everything leaves the others nothing to fix.
    isWildcardOnly: patterns.some((pattern) => pattern.isWildcardOnly),
    exactAddresses: patterns.flatMap((pattern) => pattern.exactAddress ?? []),
    remarks,
    evaluate: (device) => {
      const actual = kind.factOf(device);
      return { key, verdict: evaluateFact(actual, patterns, wanted.includes(UNKNOWN)), wanted, actual };
    },
  });
}

function isTexts(written: RawValue): written is string | readonly string[] {
  return (
    typeof written === "string" ||
    (Array.isArray(written) && written.every((entry: unknown) => typeof entry === "string"))
  );
}

function evaluateFact(fact: Fact, patterns: readonly ValuePattern[], wantsUnknown: boolean): Verdict {
  const verdict = fact === undefined ? "unknown" : evaluateKnown(fact, patterns);
  return verdict === "unknown" && wantsUnknown ? "match" : verdict;
}

function evaluateKnown(fact: string | null, patterns: readonly ValuePattern[]): Verdict {
  return fact === null ? "no-match" : anyOf(patterns.map((pattern) => pattern.evaluate(fact)));
}

function locateIssue(path: SelectorIssue["path"], issue: PatternIssue): SelectorIssue {
  const { index, ...rest } = issue;
  return { path, character: index, ...rest };
}
