/** Tables whose last column holds sentences: they are wrapped, so that a terminal of 100 columns shows them whole. */
import { renderTable } from "./io.js";

/** As many columns as a line may have. */
export const WIDTH = 100;
const LEAST_COLUMN = 30;

/** A table as `renderTable` makes it, with the last column broken at blanks where it does not fit. */
export function renderWrapped(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const before = renderTable(
    header.slice(0, -1),
    rows.map((row) => row.slice(0, -1)),
  );
  const used = Math.max(...before.map((line) => line.length)) + 2;
  const room = Math.max(LEAST_COLUMN, WIDTH - used);
  return renderTable(
    header,
    rows.flatMap((row) => {
      const [first = "", ...more] = wrap(row.at(-1) ?? "", room);
      const blank = row.slice(0, -1).map(() => "");
      return [[...row.slice(0, -1), first], ...more.map((line) => [...blank, line])];
    }),
  );
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
