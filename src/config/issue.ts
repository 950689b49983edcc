/**
 * What is wrong with the operator's file: where, what was expected, what to do. Values, never thrown.
 */
import { printable } from "../base/printable.js";

/** Columns of a line that are shown; more would not fit a screen. */
const LONGEST_LINE = 120;

/** One complaint about the file. */
export interface ConfigIssue {
  /** The file, as it was named by whoever asked for it. */
  readonly path: string;
  /** From 1; `null` where the file as a whole is meant. */
  readonly line: number | null;
  /** From 1, in UTF-16 units; `null` where the file as a whole is meant. */
  readonly column: number | null;
  /** The place in the file's structure, such as `rules[0].match.address`; empty where none is meant. */
  readonly key: string;
  /** What is wrong and what was expected. */
  readonly message: string;
  /** What to do. */
  readonly hint?: string;
  /** The line complained about, as it stands in the file. */
  readonly source?: string;
}

/** A complaint as it is found, before its place in the text is looked up. `offset` counts UTF-16 units from 0. */
export interface Finding {
  readonly offset: number;
  readonly key: string;
  readonly message: string;
  readonly hint?: string;
}

/** Where things stand in one text. */
export class SourceText {
  readonly path: string;
  readonly text: string;
  readonly #lineStarts: readonly number[];

  constructor(path: string, text: string) {
    this.path = path;
    this.text = text;
    this.#lineStarts = [0, ...[...text.matchAll(/\n/g)].map((match) => match.index + 1)];
  }

  /** Line and column, both from 1. An offset past the end stands after the last character. */
  placeOf(offset: number): { readonly line: number; readonly column: number } {
    const end = Math.min(offset, this.text.length);
    const found = this.#lineStarts.findLastIndex((start) => start <= end);
    return { line: found + 1, column: end - (this.#lineStarts[found] ?? 0) + 1 };
  }

  /** The text of a line (from 1), without its end. */
  line(line: number): string {
    const start = this.#lineStarts[line - 1] ?? this.text.length;
    const next = this.#lineStarts[line] ?? this.text.length + 1;
    return this.text.slice(start, next - 1).replace(/\r$/, "");
  }

  issue(finding: Finding): ConfigIssue {
    const { line, column } = this.placeOf(finding.offset);
    const { key, message, hint } = finding;
    const where = { path: this.path, line, column, key, message, source: this.line(line) };
    return hint === undefined ? where : { ...where, hint };
  }

  /** The complaints in the order of the file, one for each place. */
  issues(findings: readonly Finding[]): readonly ConfigIssue[] {
    const inOrder = [...findings].sort((a, b) => a.offset - b.offset);
    const isFirst = (finding: Finding, index: number) =>
      !inOrder.slice(0, index).some((other) => other.offset === finding.offset && other.key === finding.key);
    return inOrder.filter(isFirst).map((finding) => this.issue(finding));
  }
}

/** A complaint about the file as a whole. */
export function fileIssue(path: string, message: string, hint?: string): ConfigIssue {
  const issue = { path, line: null, column: null, key: "", message };
  return hint === undefined ? issue : { ...issue, hint };
}

/**
 * One complaint for a person: place and sentence, the line with a caret below the place, the hint.
 * Nothing in it can move a terminal's cursor.
 */
export function formatIssue(issue: ConfigIssue): string {
  const { path, line, column, key, message, hint, source } = issue;
  const place = line === null ? path : `${path}:${line}:${column ?? 1}`;
  const lines = [`${place}: ${key === "" ? "" : `${key}: `}${message}`];
  if (source !== undefined && line !== null && column !== null) {
    const number = String(line);
    const { shown, caret } = cutOut(onScreen(source), column - 1);
    lines.push(`  ${number} | ${shown}`, `  ${" ".repeat(number.length)} | ${" ".repeat(caret)}^`);
  }
  if (hint !== undefined) {
    lines.push(...hint.split("\n").map((part, index) => `${index === 0 ? "  hint: " : "        "}${part}`));
  }
  return lines.map(printable).join("\n");
}

/** One column for each character, so that the caret stands below the right one. */
function onScreen(source: string): string {
  return source.replaceAll("\t", " ").replace(/\p{Cc}/gu, "\ufffd");
}

/** The part of a long line around the place that is meant. */
function cutOut(line: string, at: number): { readonly shown: string; readonly caret: number } {
  if (line.length <= LONGEST_LINE) {
    return { shown: line, caret: at };
  }
  const start = Math.max(0, Math.min(at - LONGEST_LINE / 2, line.length - LONGEST_LINE));
  const [before, after] = [start > 0 ? "..." : "", start + LONGEST_LINE < line.length ? "..." : ""];
  const shown = `${before}${line.slice(start, start + LONGEST_LINE)}${after}`;
  return { shown, caret: at - start + before.length };
}
