/** The keys `lspci` and `when`: values that are filters of their own over several facts. Any of them is enough. */

import { err, ok, type Result } from "../base/result.js";
import type { DeviceFilter } from "./device-filter.js";
import { compileExpression } from "./expression.js";
import { compileLspciFilter, LSPCI_OPTIONS } from "./lspci.js";
import type { PatternIssue } from "./pattern.js";
import type { RawValue, SelectableDevice, SelectorPath } from "./selector.js";
import { type CompiledKey, locateIssue, pathOfItem, textsOf } from "./selector-key.js";
import { anyOf } from "./verdict.js";
import { unionOfWishes } from "./wishes.js";

const FILTER_KEYS = ["lspci", "when"] as const;
type FilterKey = (typeof FILTER_KEYS)[number];

const COMPILERS: Readonly<Record<FilterKey, (text: string) => Result<DeviceFilter, PatternIssue>>> = {
  lspci: compileLspciText,
  when: compileExpression,
};

/** An option of lspci and its value, with or without a blank between them, as on a command line. */
const LSPCI_TEXT = /^(\s*(-[a-z])\s*)(\S+)\s*$/;

/** Whether a key of a selector is one of these. */
export function isFilterKey(key: string): key is FilterKey {
  return FILTER_KEYS.includes(key as FilterKey);
}

/** Compiles the values of `lspci` or `when`. */
export function compileFilterKey(key: FilterKey, written: RawValue, path: SelectorPath): CompiledKey {
  const texts = textsOf(written, path);
  if (!texts.ok) {
    return texts;
  }
  const wanted = texts.value;
  const compiled = wanted.map(COMPILERS[key]);
  const issues = compiled.flatMap((result, item) =>
    result.ok ? [] : [locateIssue(pathOfItem(path, written, item), result.error)],
  );
  if (issues.length > 0) {
    return err(issues);
  }
  const filters = compiled.flatMap((result) => (result.ok ? [result.value] : []));
  const verdictOf = (device: SelectableDevice) => anyOf(filters.map((filter) => filter.verdictOf(device)));
  return ok({
    key,
    isWildcardOnly: filters.some((filter) => filter.isWildcardOnly),
    exactAddresses: filters.flatMap(({ exactAddress }) => exactAddress ?? []),
    exactPaths: [],
    wishes: unionOfWishes(filters.map(({ wishes }) => wishes)),
    literals: null,
    remarks: [],
    verdictOf,
    explain: (device, prefix) => {
      const verdict = verdictOf(device);
      const shown = [...new Set(filters.map((filter) => filter.showFacts(device)))].join("; ");
      const said = { key: `${prefix}${key}`, verdict, wanted, actual: shown };
      const open = filters.find((filter) => filter.verdictOf(device) === "unknown");
      return verdict === "unknown" && open !== undefined ? { ...said, why: open.whyUnknown(device) } : said;
    },
  });
}

function compileLspciText(text: string): Result<DeviceFilter, PatternIssue> {
  const [, before = "", written, filter = ""] = LSPCI_TEXT.exec(text) ?? [];
  const option = LSPCI_OPTIONS.find((known) => known === written);
  if (option === undefined) {
    return err({
      message: "is not one filter of lspci",
      index: 0,
      hint: 'write "-s 01:" or "-d 10de::03xx"; for both at once, write one of them as address, vendor or class',
    });
  }
  const compiled = compileLspciFilter(option, filter);
  return compiled.ok ? compiled : err({ ...compiled.error, index: before.length + compiled.error.index });
}
