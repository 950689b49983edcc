/**
 * The grammar of patterns and our own matcher for those without lists.
 *
 * A pattern is read once into nodes, by the rules of fnmatch(3) (glibc, flags 0: no character of the text is
 * special, neither `/` nor a leading dot) plus brace lists `{a,b}`. Brackets and escapes bind tighter than
 * braces; a brace that is never closed or holds no comma is an ordinary character.
 * Must never build a regular expression: that is pattern.ts, where it is proven safe.
 */

import { readBracket } from "./bracket.js";

/** One thing a pattern asks of the text; `index` is the character of the pattern where it stands, from 0. */
export type GlobToken =
  | { readonly kind: "literal"; readonly char: string; readonly index: number }
  | { readonly kind: "any"; readonly index: number }
  | { readonly kind: "star"; readonly index: number }
  | {
      readonly kind: "class";
      readonly contains: (char: string) => boolean;
      readonly plainSpelling: string | undefined;
      readonly index: number;
    }
  /** What fnmatch(3) fails on for every text, such as a backslash at the very end. */
  | { readonly kind: "never"; readonly index: number };

/** A token, or a brace list. */
export type GlobNode =
  | GlobToken
  | { readonly kind: "list"; readonly alternatives: readonly (readonly GlobNode[])[] };

/** An open brace while its list is read. */
interface OpenList {
  readonly brace: GlobToken;
  readonly alternatives: GlobNode[][];
  readonly commas: GlobToken[];
  current: GlobNode[];
}

/** Reads a pattern's characters; every sequence of characters has a reading. */
export function parseGlob(chars: readonly string[]): readonly GlobNode[] {
  const whole: GlobNode[] = [];
  const open: OpenList[] = [];
  const nodes = () => open.at(-1)?.current ?? whole;
  let at = 0;
  while (at < chars.length) {
    const char = chars[at] ?? "";
    const list = open.at(-1);
    const here: GlobToken = { kind: "literal", char, index: at };
    let end = at + 1;
    if (char === "{") {
      open.push({ brace: here, alternatives: [], commas: [], current: [] });
    } else if (char === "," && list !== undefined) {
      list.alternatives.push(list.current);
      list.commas.push(here);
      list.current = [];
    } else if (char === "}" && list !== undefined) {
      open.pop();
      nodes().push(...closeList(list, here));
    } else {
      const read = readToken(chars, at);
      nodes().push(read.token);
      end = read.end;
    }
    at = end;
  }
  for (let list = open.pop(); list !== undefined; list = open.pop()) {
    nodes().push(...spellOut(list));
  }
  return whole;
}

function closeList(list: OpenList, brace: GlobToken): GlobNode[] {
  if (list.commas.length === 0) {
    return [...spellOut(list), brace];
  }
  return [{ kind: "list", alternatives: [...list.alternatives, list.current] }];
}

/** What an open brace stands for when it turns out to be no list. */
function spellOut(list: OpenList): GlobNode[] {
  const finished = list.alternatives.flatMap((alternative, n) => [
    ...alternative,
    ...list.commas.slice(n, n + 1),
  ]);
  return [list.brace, ...finished, ...list.current];
}

function readToken(
  chars: readonly string[],
  at: number,
): { readonly token: GlobToken; readonly end: number } {
  const char = chars[at] ?? "";
  const literal = { token: { kind: "literal", char, index: at }, end: at + 1 } as const;
  switch (char) {
    case "*":
      return { token: { kind: "star", index: at }, end: at + 1 };
    case "?":
      return { token: { kind: "any", index: at }, end: at + 1 };
    case "\\": {
      const escaped = chars[at + 1];
      return escaped === undefined
        ? { token: { kind: "never", index: at }, end: at + 1 }
        : { token: { kind: "literal", char: escaped, index: at }, end: at + 2 };
    }
    case "[": {
      const bracket = readBracket(chars, at + 1);
      if (bracket === "literal") {
        return literal;
      }
      if (bracket === "never") {
        return { token: { kind: "never", index: at }, end: chars.length };
      }
      const { end, ...set } = bracket;
      return { token: { kind: "class", ...set, index: at }, end };
    }
    default:
      return literal;
  }
}

/** Whether a token takes this one character. A star takes any, as `?` does: its length is the matcher's matter. */
export function acceptsChar(token: GlobToken, char: string): boolean {
  switch (token.kind) {
    case "literal":
      return token.char === char;
    case "class":
      return token.contains(char);
    case "any":
    case "star":
      return true;
    case "never":
      return false;
  }
}

/**
 * Whether the tokens match all of the text: two pointers, and the last star as the only place to come back to.
 * Takes at most (characters x tokens) steps, whatever the pattern.
 */
export function matchTokens(tokens: readonly GlobToken[], text: readonly string[]): boolean {
  let token = 0;
  let char = 0;
  let afterStar = -1;
  let starEnd = 0;
  while (char < text.length) {
    const wanted = tokens[token];
    if (wanted?.kind === "star") {
      token += 1;
      afterStar = token;
      starEnd = char;
    } else if (wanted !== undefined && acceptsChar(wanted, text[char] ?? "")) {
      token += 1;
      char += 1;
    } else if (afterStar >= 0) {
      starEnd += 1;
      char = starEnd;
      token = afterStar;
    } else {
      return false;
    }
  }
  return tokens.slice(token).every(({ kind }) => kind === "star");
}
