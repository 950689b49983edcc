/**
 * Sizes of device memory in selectors: `>=8G`, `<512M`, `8G..16G`, `16G`. Units are binary (K, M, G, T, with or
 * without `iB`), as lspci and the kernel print them; a bare number is bytes.
 */
import { err, ok, type Result } from "../base/result.js";
import type { PatternIssue, ValuePattern } from "./pattern.js";

const UNITS = ["", "K", "M", "G", "T"];
const SIZE = /^(\d+)(?:([KMGT])(?:iB)?)?$/i;
const COMPARISON = /^(>=|<=|>|<|=|) *(.*)$/s;
const HINT = "write >=8G, <512M, 8G..16G or 16G; units are K, M, G, T (1G is 1024M)";

/** Compiles a comparison over a number of bytes (as decimal text). Ranges include both ends; `*` is any size. */
export function compileMemoryPattern(text: string): Result<ValuePattern, PatternIssue> {
  const compiled = text === "*" ? ok(() => true) : compileComparison(text);
  if (!compiled.ok) {
    return compiled;
  }
  const holds = compiled.value;
  return ok({
    text,
    evaluate: (value) => (holds(Number(value)) ? "match" : "no-match"),
    isWildcardOnly: true,
    literals: null,
    remarks: [],
  });
}

/** Writes a size with the largest unit that divides it: `16G`, `256M`, `0`; always exact. */
export function formatSize(bytes: number): string {
  const exponent = UNITS.findLastIndex((_unit, n) => bytes % 1024 ** n === 0);
  return bytes === 0 ? "0" : `${bytes / 1024 ** exponent}${UNITS[exponent]}`;
}

function compileComparison(text: string): Result<(bytes: number) => boolean, PatternIssue> {
  const dots = text.indexOf("..");
  if (dots >= 0) {
    const [low, high] = [parseSize(text, 0, dots), parseSize(text, dots + "..".length, text.length)];
    if (!low.ok) {
      return low;
    }
    if (!high.ok) {
      return high;
    }
    return low.value <= high.value
      ? ok((bytes) => low.value <= bytes && bytes <= high.value)
      : err({ message: `"${text}" ends below its beginning`, index: dots, hint: HINT });
  }
  const [, operator = "", size = ""] = COMPARISON.exec(text) ?? [];
  const wanted = parseSize(text, text.length - size.length, text.length);
  return wanted.ok ? ok(comparisonWith(operator, wanted.value)) : wanted;
}

function comparisonWith(operator: string, wanted: number): (bytes: number) => boolean {
  switch (operator) {
    case ">=":
      return (bytes) => bytes >= wanted;
    case "<=":
      return (bytes) => bytes <= wanted;
    case ">":
      return (bytes) => bytes > wanted;
    case "<":
      return (bytes) => bytes < wanted;
    default:
      return (bytes) => bytes === wanted;
  }
}

/** The size written between two characters of the text. */
function parseSize(text: string, start: number, end: number): Result<number, PatternIssue> {
  const written = text.slice(start, end);
  const [, digits, unit = ""] = SIZE.exec(written.trim()) ?? [];
  if (digits === undefined) {
    return err({ message: `"${written}" is no size of memory`, index: start, hint: HINT });
  }
  const bytes = Number(digits) * 1024 ** UNITS.indexOf(unit.toUpperCase());
  return Number.isSafeInteger(bytes)
    ? ok(bytes)
    : err({ message: `"${written}" is more memory than there can be`, index: start, hint: HINT });
}
