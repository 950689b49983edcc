/**
 * Selectors: which devices a rule means. All keys must hold; of a key's list any value is enough; `not` excludes and
 * `any` gives alternatives.
 *
 * Answers are three-valued (semantics.md 3) and say for each key what was wanted and what was there, so that
 * `plan` and `explain` name the key on which a device failed. This file puts the keys together: those over one fact
 * are rows of a table here, the others have files of their own (selector-map, selector-filter, selector-nest).
 */

import { err, ok, type Result } from "../base/result.js";
import type { PciAddress } from "./address.js";
import { compileAddressPattern } from "./address-pattern.js";
import type { Device } from "./device.js";
import { FACT_KEYS, type Fact, type FactKey, factOf, showFact, whyUnknown } from "./fact.js";
import { compileClassPattern, compileIdPattern, compileRevisionPattern } from "./hex-pattern.js";
import { compileMemoryPattern } from "./memory-size.js";
import { compileFilterKey, isFilterKey } from "./selector-filter.js";
import {
  type CompiledKey,
  compileFact,
  type FactSource,
  type KeyVerdict,
  type SelectorKey,
} from "./selector-key.js";
import { compileMap, isMapKey } from "./selector-map.js";
import { compileNest, isNestKey } from "./selector-nest.js";
import { sizeIssueOf } from "./selector-size.js";
import {
  compileFlag,
  compileNumberPattern,
  compilePathPattern,
  compileSerialPattern,
  compileTextPattern,
} from "./text-pattern.js";
import { allOf, type Verdict } from "./verdict.js";
import { type FactWishes, NO_WISHES, unionOfWishes } from "./wishes.js";

/** The facts of a device that selectors look at. */
export type SelectableDevice = Omit<Device, "appearance" | "parent" | "rootBus">;

/** A selector as it is written: values or lists of values by key; `not`, `any` and maps of keys nest. */
export interface RawSelector {
  readonly [key: string]: RawValue;
}
export type RawValue = string | readonly string[] | RawSelector | readonly RawSelector[];

/** The way to a value: keys as written, and positions in lists; empty where the selector as a whole is meant. */
export type SelectorPath = readonly (string | number)[];

/** What is wrong with one value of a selector, or worth a remark. */
export interface SelectorIssue {
  readonly path: SelectorPath;
  /** The character of the value, from 0; absent where no character is to blame. */
  readonly character?: number;
  readonly message: string;
  readonly hint?: string;
}

/** What a selector says about a device, and every key's part in it, in the order they are written. */
export interface SelectorVerdict {
  readonly verdict: Verdict;
  readonly keys: readonly KeyVerdict[];
}

/** A compiled selector. */
export interface Selector {
  /** As the operator wrote it. */
  readonly written: RawSelector;
  readonly keys: readonly SelectorKey[];
  /** Whether nothing in it says what or where: it must then leave delicate classes alone (pci-class.ts, `delicacyOf`). */
  readonly isWildcardOnly: boolean;
  /** The addresses it writes out in full; what `not` excludes is none of them. */
  readonly exactAddresses: readonly PciAddress[];
  /** The paths it writes out in full, likewise. */
  readonly exactPaths: readonly string[];
  /** What must be known of a device beyond a plain look at it. */
  readonly wishes: FactWishes;
  /**
   * For keys whose values are all written out: the texts of which the device's {@link fixedFactOf} must be one, where
   * it is known. A device on which that fails cannot match; one on which it holds still may not.
   */
  readonly fixed: ReadonlyMap<FactKey, ReadonlySet<string>>;
  /** Values that may not mean what they say; reasons to tell the operator, not to refuse. */
  readonly remarks: readonly SelectorIssue[];
}

type FactRow = Pick<FactSource, "compile" | "canBeAbsent" | "isSpecific"> & Partial<FactSource>;

/** Ids of a card and its place: what a rule may say to mean a certain device. */
const id: FactRow = { compile: compileIdPattern, canBeAbsent: false, isSpecific: true };
const place: FactRow = { compile: compileAddressPattern, canBeAbsent: true, isSpecific: true };
const name: FactRow = { compile: compileTextPattern, canBeAbsent: true, isSpecific: true };
const flag: FactRow = { compile: compileFlag, canBeAbsent: false, isSpecific: false };

const ROWS: Readonly<Record<FactKey, FactRow>> = {
  address: { ...place, canBeAbsent: false },
  path: { compile: compilePathPattern, canBeAbsent: false, isSpecific: true },
  slot: name,
  label: name,
  vendor: id,
  device: id,
  subsystemVendor: id,
  subsystemDevice: id,
  class: { ...id, compile: compileClassPattern, isSpecificUnknown: true },
  revision: { ...id, compile: compileRevisionPattern, isSpecific: false },
  driver: name,
  numaNode: { compile: compileNumberPattern, canBeAbsent: false, isSpecific: false },
  iommuGroup: { compile: compileNumberPattern, canBeAbsent: true, isSpecific: false },
  root: place,
  physfn: place,
  isVf: flag,
  serial: { ...name, compile: compileSerialPattern, wishes: { ...NO_WISHES, serial: true } },
  bootVga: flag,
  memory: { compile: compileMemoryPattern, canBeAbsent: false, isSpecific: false },
};

/** Every key that a selector may have. */
export const SELECTOR_KEYS: readonly string[] = [
  ...FACT_KEYS,
  ...["udev", "sysfs", "lspci", "not", "any", "when"],
];

const KEYS_HINT = `keys: ${SELECTOR_KEYS.join(", ")}`;

/** Base class and subclass: what of a class is the same whether or not the programming interface is known. */
const CLASS_DIGITS = 4;

/** Compiles the `match` of a rule. Reports every issue, not only the first. */
export function compileSelector(raw: RawSelector): Result<Selector, readonly SelectorIssue[]> {
  const sizeIssue = sizeIssueOf(raw);
  return sizeIssue === undefined ? compileAt(raw, []) : err([sizeIssue]);
}

/** What a selector says about a device. Pure and total; a fact that is not known makes its key `unknown`. */
export function evaluateSelector(selector: Selector, device: SelectableDevice): SelectorVerdict {
  const keys = selector.keys.map((key) => key.explain(device, ""));
  return { verdict: allOf(keys.map(({ verdict }) => verdict)), keys };
}

/** The verdict alone, as soon as it is certain: one key that says no decides, whatever the others say. */
export function verdictOf(selector: Selector, device: SelectableDevice): Verdict {
  let verdict: Verdict = "match";
  for (const key of selector.keys) {
    const said = key.verdictOf(device);
    if (said === "no-match") {
      return said;
    }
    verdict = said === "unknown" ? said : verdict;
  }
  return verdict;
}

/** The text to look for in {@link Selector.fixed}: the fact itself, and of a class its first four digits. */
export function fixedFactOf(key: FactKey, device: SelectableDevice): Fact {
  const fact = factOf(key, device);
  return key === "class" ? fact?.slice(0, CLASS_DIGITS) : fact;
}

function compileAt(raw: RawSelector, path: SelectorPath): Result<Selector, readonly SelectorIssue[]> {
  const compiled = Object.entries(raw).flatMap(([key, written]) => compileKey(key, written, path));
  const keys = compiled.flatMap((result) => (result.ok ? [result.value] : []));
  const issues = compiled.flatMap((result) => (result.ok ? [] : result.error));
  if (compiled.length === 0) {
    return err([{ path, message: "selects by nothing", hint: KEYS_HINT }]);
  }
  if (issues.length > 0) {
    return err(issues);
  }
  return ok({
    written: raw,
    keys,
    isWildcardOnly: keys.every((key) => key.isWildcardOnly),
    exactAddresses: keys.flatMap((key) => key.exactAddresses),
    exactPaths: keys.flatMap((key) => key.exactPaths),
    wishes: unionOfWishes(keys.map((key) => key.wishes)),
    fixed: new Map(keys.flatMap(fixedOf)),
    remarks: keys.flatMap((key) => key.remarks),
  });
}

function compileKey(key: string, written: RawValue, parent: SelectorPath): readonly CompiledKey[] {
  const path = [...parent, key];
  if (isFactKey(key)) {
    return [compileFact(sourceOf(key, path), written)];
  }
  if (isMapKey(key)) {
    return compileMap(key, written, path);
  }
  if (isFilterKey(key)) {
    return [compileFilterKey(key, written, path)];
  }
  if (isNestKey(key)) {
    return [compileNest(key, written, path, { compile: compileAt, verdictOf })];
  }
  return [err([{ path, message: "is not a key of a selector", hint: KEYS_HINT }])];
}

function sourceOf(key: FactKey, path: SelectorPath): FactSource {
  return {
    name: key,
    path,
    factOf: (device) => factOf(key, device),
    show: (fact) => showFact(key, fact),
    why: (device) => whyUnknown(key, device),
    ...ROWS[key],
  };
}

function isFactKey(key: string): key is FactKey {
  return FACT_KEYS.includes(key as FactKey);
}

function fixedOf({ key, literals }: SelectorKey): readonly (readonly [FactKey, ReadonlySet<string>])[] {
  return literals !== null && isFactKey(key) ? [[key, new Set(literals)]] : [];
}
