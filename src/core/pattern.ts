/**
 * The operator's patterns: POSIX fnmatch(3) plus brace lists (semantics.md 2).
 *
 * Owns what a pattern may be and who matches it. picomatch does the work where it is proven to agree with
 * fnmatch(3) and to be quick: no lists, at most four stars, plain characters, a text of up to 64 characters
 * (with 13 stars it took 2.4 s on 41). Everything else goes to our own matchers, whose cost is at most
 * (characters x tokens). The only file that may import picomatch.
 */

import picomatch from "picomatch";
import { err, ok, type Result } from "../base/result.js";
import type { PciAddress } from "./address.js";
import { matchNodes, tokensOf } from "./brace.js";
import { acceptsChar, type GlobNode, type GlobToken, matchTokens, parseGlob } from "./glob.js";
import type { Verdict } from "./verdict.js";

/** What is wrong with a pattern, or worth a remark; `index` is the character it is about, from 0. */
export interface PatternIssue {
  readonly message: string;
  readonly index: number;
  /** What to write instead. */
  readonly hint?: string;
}

/** A compiled pattern over any text. */
export interface Pattern {
  readonly text: string;
  readonly nodes: readonly GlobNode[];
  /** The one text it matches, when it has no wildcards and no lists. */
  readonly literal: string | undefined;
  readonly matches: (text: string) => boolean;
}

/** A pattern over the values of one kind of fact; what every key of a selector is made of. */
export interface ValuePattern {
  readonly text: string;
  readonly evaluate: (value: string) => Verdict;
  /** Whether it names nothing fixed (for wildcard-only rules, semantics.md 2). */
  readonly isWildcardOnly: boolean;
  /** The one address it names, for patterns over addresses that write one out in full. */
  readonly exactAddress?: PciAddress | undefined;
  /**
   * The texts of which a fact must be one for it to match, where the pattern comes down to a few; for classes, of which
   * its first four digits must be one. `null` where it has wildcards.
   */
  readonly literals: readonly string[] | null;
  /** Why it may not mean what it says, such as an upper-case digit that no address has. Never a reason to refuse. */
  readonly remarks: readonly PatternIssue[];
}

const LONGEST_PATTERN = 199;
const MOST_STARS = 4;
const LONGEST_TEXT = 64;
const PLAIN_CHAR = /^[0-9A-Za-z:._-]$/;
/** A leading dot or a slash has a meaning of its own to picomatch. */
const PLAIN_TEXT = /^[0-9A-Za-z][0-9A-Za-z:._-]*$/;

/** The options under which picomatch comes closest to fnmatch(3) with flags 0 (the recorded vectors, "strictStar"). */
const PICOMATCH_OPTIONS = {
  dot: true,
  nobrace: true,
  noextglob: true,
  nonegate: true,
  noglobstar: true,
  posix: true,
  bash: true,
  fastpaths: false,
} as const;

/** Compiles a pattern. Refuses an empty one, one over 199 characters, and parentheses; accepts any other. */
export function compilePattern(text: string): Result<Pattern, PatternIssue> {
  const chars = [...text];
  const issue = refusalOf(chars);
  if (issue !== undefined) {
    return err(issue);
  }
  const nodes = parseGlob(chars);
  const literal = literalOf(nodes);
  const matches = literal === undefined ? matcherOf(nodes) : (candidate: string) => candidate === literal;
  return ok({ text, nodes, literal, matches });
}

/** Remarks on the first token that no character of the alphabet can satisfy: the pattern cannot match there. */
export function remarksOn(pattern: Pattern, alphabet: string, subject: string): readonly PatternIssue[] {
  const letters = [...alphabet];
  const lost = tokensOf(pattern.nodes).find((token) => !letters.some((char) => acceptsChar(token, char)));
  if (lost === undefined) {
    return [];
  }
  return [{ message: `matches no ${subject}: ${complaintOf(lost, letters)}`, index: lost.index }];
}

function refusalOf(chars: readonly string[]): PatternIssue | undefined {
  if (chars.length === 0) {
    return { message: "is empty", index: 0, hint: "write * for any" };
  }
  if (chars.length > LONGEST_PATTERN) {
    return {
      message: `has ${chars.length} characters, more than ${LONGEST_PATTERN}`,
      index: LONGEST_PATTERN,
      hint: "write a list of several patterns",
    };
  }
  const parenthesis = chars.findIndex((char) => char === "(" || char === ")");
  if (parenthesis >= 0) {
    return {
      message: `has a parenthesis "${chars[parenthesis]}", which patterns do not know`,
      index: parenthesis,
      hint: "write {a,b} for alternatives, [!0] for all but one, ? for the character itself",
    };
  }
  return undefined;
}

function complaintOf(token: GlobToken, letters: readonly string[]): string {
  if (token.kind === "class") {
    return "none of its characters are in these brackets";
  }
  if (token.kind !== "literal") {
    return "the pattern ends in the middle of an escape or a bracket";
  }
  if (token.char === "{" || token.char === "}") {
    return "braces without a comma are plain text; write {0,1,2,3} or [0-3]";
  }
  const lower = token.char.toLowerCase();
  return letters.includes(lower)
    ? `it is written in lower case, "${lower}" instead of "${token.char}"`
    : `it has no character "${token.char}"`;
}

function matcherOf(nodes: readonly GlobNode[]): (text: string) => boolean {
  const tokens = tokensOf(nodes);
  const hasLists = nodes.some((node) => node.kind === "list");
  if (hasLists) {
    return (text) => matchNodes(nodes, [...text]);
  }
  const regexp = regexpOf(tokens);
  if (regexp === undefined) {
    return (text) => matchTokens(tokens, [...text]);
  }
  return (text) =>
    text.length <= LONGEST_TEXT && PLAIN_TEXT.test(text) ? regexp.test(text) : matchTokens(tokens, [...text]);
}

/** picomatch's answer to these tokens, where it may be asked. */
function regexpOf(tokens: readonly GlobToken[]): RegExp | undefined {
  // Neighbouring stars mean one; written out they would be picomatch's globstar.
  const distinct = tokens.filter((token, n) => token.kind !== "star" || tokens[n - 1]?.kind !== "star");
  const spelled = distinct.map(spellPlainly);
  if (spelled[0] === "." || spelled.filter((part) => part === "*").length > MOST_STARS) {
    return undefined;
  }
  return spelled.includes(undefined) ? undefined : picomatch.makeRe(spelled.join(""), PICOMATCH_OPTIONS);
}

/** A token in the part of the pattern language on which picomatch and fnmatch(3) agree. */
function spellPlainly(token: GlobToken): string | undefined {
  switch (token.kind) {
    case "literal":
      return PLAIN_CHAR.test(token.char) ? token.char : undefined;
    case "any":
      return "?";
    case "star":
      return "*";
    case "class":
      return token.plainSpelling;
    case "never":
      return undefined;
  }
}

function literalOf(nodes: readonly GlobNode[]): string | undefined {
  let literal = "";
  for (const node of nodes) {
    if (node.kind !== "literal") {
      return undefined;
    }
    literal += node.char;
  }
  return literal;
}
