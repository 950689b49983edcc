/**
 * YAML's characters in patterns: `*`, `[`, `{` and `!` mean something else to YAML at the beginning of a value.
 *
 * Owns how far the value that was meant reaches, and the same line shown as it should have been written.
 */

/** Where a value stands: what ends it depends on whether a `{...}` or `[...]` is open around it. */
export interface ValuePlace {
  /** The text of its line. */
  readonly line: string;
  /** Where it begins in the line, from 0. */
  readonly start: number;
  readonly isInFlow: boolean;
}

const OPENERS = "[{";
const CLOSERS = "]}";

/** Where the value that was meant ends in its line (exclusive). */
function endOfValue({ line, start, isInFlow }: ValuePlace): number {
  let depth = 0;
  let end = start;
  for (; end < line.length; end++) {
    const character = line.charAt(end);
    const isComment = character === "#" && /\s/.test(line.charAt(end - 1));
    const isClosing = CLOSERS.includes(character);
    if (isComment || (isInFlow && depth === 0 && (isClosing || character === ","))) {
      break;
    }
    depth += OPENERS.includes(character) ? 1 : 0;
    depth -= isClosing ? 1 : 0;
  }
  return start + line.slice(start, end).trimEnd().length;
}

/** The line with the value in double quotes. */
export function quoteInLine(place: ValuePlace): string {
  const end = endOfValue(place);
  const value = place.line.slice(place.start, end);
  return `${place.line.slice(0, place.start)}${quote(value)}${place.line.slice(end)}`;
}

/** What to do about an unquoted value: the whole line, quoted. */
export function quotingHint(place: ValuePlace): string {
  return `put the value in quotes:\n${quoteInLine(place).trim()}`;
}

/** Double quotes unless the value has a backslash or a double quote, which mean something inside them. */
function quote(value: string): string {
  return /["\\]/.test(value) ? `'${value.replaceAll("'", "''")}'` : `"${value}"`;
}
