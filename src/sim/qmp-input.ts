/**
 * How QEMU reads what a client sends: JSON objects one after the other, with or without newlines, single quotes
 * allowed, errors for broken tokens, and on it goes (facts.md 6; recorded in 6-qmp-socket-raw). Pure.
 */

/** One thing found in the input. */
export type QmpInput =
  | { readonly kind: "object"; readonly object: Readonly<Record<string, unknown>> }
  | { readonly kind: "garbage"; readonly desc: string };

/** Marks an integer that JavaScript cannot hold, so that an id comes back exactly as it was sent. */
const WIDE = "\u0000wide:";
const SAFE_DIGITS = 15;
/** A string, or an integer outside of strings. */
const STRING_OR_INTEGER = /"(?:[^"\\]|\\.)*"|-?\d+(?![\d.eE])/g;

export class QmpInputReader {
  #rest = "";

  /** Takes more bytes and gives what is complete by now. */
  push(text: string): QmpInput[] {
    this.#rest += text;
    const found: QmpInput[] = [];
    for (;;) {
      this.#rest = this.#rest.trimStart();
      const next = nextInput(this.#rest);
      if (next === undefined) {
        return found;
      }
      this.#rest = this.#rest.slice(next.length);
      found.push(next.input);
    }
  }
}

/** Writes a message as QEMU does: one line, spaces after colons and commas, `\r\n`. */
export function formatQmpLine(message: unknown): string {
  return `${format(message)}\r\n`;
}

function format(value: unknown): string {
  if (typeof value === "bigint") {
    return value.toString();
  }
  if (typeof value === "string" && value.startsWith(WIDE)) {
    return value.slice(WIDE.length);
  }
  if (Array.isArray(value)) {
    return `[${value.map(format).join(", ")}]`;
  }
  if (typeof value === "object" && value !== null) {
    const members = Object.entries(value).filter(([, member]) => member !== undefined);
    return `{${members.map(([name, member]) => `${JSON.stringify(name)}: ${format(member)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
}

interface Found {
  readonly input: QmpInput;
  readonly length: number;
}

function nextInput(text: string): Found | undefined {
  const first = text[0];
  if (first === undefined) {
    return undefined;
  }
  if (first === "{" || first === "[") {
    return nextContainer(text);
  }
  const word = /^[A-Za-z]+/.exec(text)?.[0];
  if (word === undefined) {
    return garbage(`JSON parse error, stray '${first}'`, 1);
  }
  return word.length === text.length ? undefined : garbage(keywordError(word), word.length);
}

function nextContainer(text: string): Found | undefined {
  const end = endOfContainer(text);
  if (end === undefined) {
    return undefined;
  }
  if (end.kind === "stray") {
    return garbage(`JSON parse error, stray '${text.slice(end.from, end.to)}'`, end.to);
  }
  const source = text.slice(0, end.to);
  const parsed = parse(source);
  if (parsed === undefined) {
    const word = /[:[{,\s]([A-Za-z]+)/.exec(source)?.[1] ?? "";
    return garbage(keywordError(word), end.to);
  }
  if (Array.isArray(parsed)) {
    return garbage("QMP input must be a JSON object", end.to);
  }
  return { input: { kind: "object", object: parsed as Record<string, unknown> }, length: end.to };
}

type End =
  | { readonly kind: "end"; readonly to: number }
  | { readonly kind: "stray"; readonly from: number; readonly to: number };

/** A string with its end, a string broken by a line break, or a bracket. */
const TOKEN = /"(?:[^"\\\n]|\\.)*(["\n])|'(?:[^'\\\n]|\\.)*(['\n])|[[\]{}]|["']/g;

/** Finds where the container at the start ends; a line break inside a string breaks the string. */
function endOfContainer(text: string): End | undefined {
  let depth = 0;
  for (const token of text.matchAll(TOKEN)) {
    const to = token.index + token[0].length;
    const ending = token[1] ?? token[2];
    if (ending === "\n") {
      return { kind: "stray", from: token.index, to };
    }
    if (ending === undefined && (token[0] === '"' || token[0] === "'")) {
      return undefined;
    }
    depth += step(token[0]);
    if (depth === 0) {
      return { kind: "end", to };
    }
  }
  return undefined;
}

function step(sign: string): number {
  if (sign === "{" || sign === "[") {
    return 1;
  }
  return sign === "}" || sign === "]" ? -1 : 0;
}

function parse(source: string): unknown {
  const doubled = source.replace(
    /"(?:[^"\\]|\\.)*"|'((?:[^'\\]|\\.)*)'/g,
    (whole, inner: string | undefined) => (inner === undefined ? whole : `"${inner.replaceAll('"', '\\"')}"`),
  );
  const marked = doubled.replace(STRING_OR_INTEGER, (token) =>
    token.startsWith('"') || token.length <= SAFE_DIGITS ? token : JSON.stringify(WIDE + token),
  );
  try {
    return JSON.parse(marked);
  } catch {
    return undefined;
  }
}

function keywordError(word: string): string {
  return `JSON parse error, invalid keyword '${word}'`;
}

function garbage(desc: string, length: number): Found {
  return { input: { kind: "garbage", desc }, length };
}
