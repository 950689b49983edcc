/** The keys `not` (none of these) and `any` (at least one of these), whose values are selectors themselves. */

import { err, ok, type Result } from "../base/result.js";
import type {
  RawSelector,
  RawValue,
  SelectableDevice,
  Selector,
  SelectorIssue,
  SelectorPath,
} from "./selector.js";
import type { CompiledKey, KeyVerdict } from "./selector-key.js";
import { allOf, negate, type Verdict } from "./verdict.js";
import { unionOfWishes } from "./wishes.js";

const NEST_KEYS = ["not", "any"] as const;
type NestKey = (typeof NEST_KEYS)[number];

/** How selectors inside are handled; given by selector.ts, which cannot be imported in a circle. */
interface Inside {
  readonly compile: (raw: RawSelector, path: SelectorPath) => Result<Selector, readonly SelectorIssue[]>;
  readonly verdictOf: (selector: Selector, device: SelectableDevice) => Verdict;
}

/** Whether a key of a selector is one of these. */
export function isNestKey(key: string): key is NestKey {
  return NEST_KEYS.includes(key as NestKey);
}

/** Compiles `not` or `any`, or reports everything that is wrong inside. */
export function compileNest(
  key: NestKey,
  written: RawValue,
  path: SelectorPath,
  inside: Inside,
): CompiledKey {
  const isList = Array.isArray(written);
  const raws: readonly unknown[] = isList ? written : [written];
  if (!raws.every(isMap)) {
    return err([
      { path, message: "expected a selector or a list of selectors", hint: "write a map of keys" },
    ]);
  }
  if (raws.length === 0) {
    return err([{ path, message: "has no selector" }]);
  }
  const compiled = raws.map((raw, item) => inside.compile(raw, isList ? [...path, item] : path));
  const issues = compiled.flatMap((result) => (result.ok ? [] : result.error));
  if (issues.length > 0) {
    return err(issues);
  }
  const selectors = compiled.flatMap((result) => (result.ok ? [result.value] : []));
  const anyVerdict = (device: SelectableDevice) => verdictOfAny(selectors, device, inside.verdictOf);
  const verdictOf = key === "any" ? anyVerdict : (device: SelectableDevice) => negate(anyVerdict(device));
  const nameOf = (item: number) => (isList ? `${key}[${item}].` : `${key}.`);
  return ok({
    key,
    ...factsOf(key, selectors),
    wishes: unionOfWishes(selectors.map(({ wishes }) => wishes)),
    literals: null,
    remarks: selectors.flatMap(({ remarks }) => remarks),
    verdictOf,
    explain: (device, prefix) => {
      const branches = selectors.map((selector, item) =>
        selector.keys.map((nested) => nested.explain(device, `${prefix}${nameOf(item)}`)),
      );
      return summarise(`${prefix}${key}`, verdictOf(device), branches);
    },
  });
}

/** What is excluded names nothing; alternatives name something only if each of them does. */
function factsOf(key: NestKey, selectors: readonly Selector[]) {
  return key === "not"
    ? { isWildcardOnly: true, exactAddresses: [], exactPaths: [] }
    : {
        isWildcardOnly: selectors.some((selector) => selector.isWildcardOnly),
        exactAddresses: selectors.flatMap((selector) => selector.exactAddresses),
        exactPaths: selectors.flatMap((selector) => selector.exactPaths),
      };
}

/** As `anyOf` over the verdicts, but asking no further than the first match. */
function verdictOfAny(
  selectors: readonly Selector[],
  device: SelectableDevice,
  verdictOf: (selector: Selector, device: SelectableDevice) => Verdict,
): Verdict {
  let verdict: Verdict = "no-match";
  for (const selector of selectors) {
    const said = verdictOf(selector, device);
    if (said === "match") {
      return said;
    }
    verdict = said === "unknown" ? said : verdict;
  }
  return verdict;
}

function summarise(key: string, verdict: Verdict, branches: readonly (readonly KeyVerdict[])[]): KeyVerdict {
  const said = { key, verdict, wanted: [], actual: undefined, keys: branches.flat() };
  if (verdict !== "unknown") {
    return said;
  }
  // A key that is open in a branch which fails anyway is not what keeps the question open.
  const open = branches.find((keys) => allOf(keys.map((nested) => nested.verdict)) === "unknown") ?? [];
  const why = open.find((nested) => nested.verdict === "unknown")?.why;
  return why === undefined ? said : { ...said, why };
}

function isMap(raw: unknown): raw is RawSelector {
  return typeof raw === "object" && raw !== null && !Array.isArray(raw);
}
