/** Tables whose last column holds sentences: they are wrapped, so that a terminal of 100 columns shows them whole. */
import { printable } from "../base/printable.js";
import { renderTable } from "./io.js";

/** As many columns as a line may have. */
export const WIDTH = 100;
const LEAST_COLUMN = 30;
/** Blanks between two columns. */
const GAP = 2;

export interface Wrapping {
  /** Columns of the terminal. */
  readonly width?: number;
  /** How many of the last columns hold sentences. */
  readonly sentences?: number;
}

/**
 * A table as `renderTable` makes it, with its last columns broken at blanks where they do not fit. Where several leave no
 * room for each other, they stand below their row instead, as one text.
 */
export function renderWrapped(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  { width = WIDTH, sentences = 1 }: Wrapping = {},
): string[] {
  const split = header.length - sentences;
  const fixed = renderTable(
    header.slice(0, split),
    rows.map((row) => row.slice(0, split)),
  );
  const used = Math.max(...fixed.map((line) => line.length));
  const widths = header
    .slice(split)
    .map((title, column) => Math.max(title.length, ...rows.map((row) => row[split + column]?.length ?? 0)));
  const room = width - used - GAP * sentences;
  if (sentences > 1 && room < LEAST_COLUMN * sentences && sum(widths) > room) {
    return renderBelow(fixed, rows, split, width);
  }
  const rooms = shareRoom(widths, room);
  return renderTable(
    header,
    rows.flatMap((row) => {
      const wrapped = rooms.map((room, column) => wrap(row[split + column] ?? "", room));
      const height = Math.max(...wrapped.map((lines) => lines.length));
      return Array.from({ length: height }, (_, line) => [
        ...row.slice(0, split).map((cell) => (line === 0 ? cell : "")),
        ...wrapped.map((lines) => lines[line] ?? ""),
      ]);
    }),
  );
}

/** What each column may have of the room: those that need less than their share leave it to the others. */
function shareRoom(widths: readonly number[], room: number): readonly number[] {
  const share = Math.floor(room / widths.length);
  const modest = widths.filter((width) => width <= share);
  const left = room - sum(modest);
  const wide = Math.max(LEAST_COLUMN, Math.floor(left / Math.max(1, widths.length - modest.length)));
  return widths.map((width) => (width <= share ? width : wide));
}

/** The lines of a table, and below each row what else belongs to it. */
function renderBelow(
  [header = "", ...lines]: readonly string[],
  rows: readonly (readonly string[])[],
  split: number,
  width: number,
): string[] {
  const below = rows.map((row) => {
    const text = row
      .slice(split)
      .filter((cell) => cell !== "")
      .map(printable)
      .join("; ");
    return text === "" ? [] : wrap(text, width - GAP).map((line) => `${" ".repeat(GAP)}${line}`);
  });
  return [header, ...lines.flatMap((line, index) => [line, ...(below[index] ?? [])])];
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

/** A text in lines of at most `room` characters, as far as its blanks allow. */
export function wrap(text: string, room: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > room) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
