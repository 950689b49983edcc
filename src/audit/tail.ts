/**
 * The end of an audit file: the number of the last whole record, and what a crash has left after it.
 */
import type { FileHandle } from "node:fs/promises";
import { parseRecord } from "./record.js";

/** Far more than any record: if none is whole in here, this is no audit file. */
const LONGEST_TAIL = 1024 * 1024;

export interface Tail {
  /** Number of the last whole record, 0 where there is none yet; `null` when a long file's end holds none. */
  readonly lastSeq: number | null;
  /** Length of a last line that has no end. */
  readonly tornBytes: number;
}

/** Reads the end of the file. Does not move anything and writes nothing. */
export async function readTail(file: Pick<FileHandle, "stat" | "read">): Promise<Tail> {
  const { size } = await file.stat();
  const start = Math.max(0, size - LONGEST_TAIL);
  const bytes = Buffer.alloc(size - start);
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, start + filled);
    if (bytesRead === 0) {
      break;
    }
    filled += bytesRead;
  }
  const present = bytes.subarray(0, filled);
  const torn = present.subarray(present.lastIndexOf(0x0a) + 1);
  const seq = lastSeq(present.toString("utf8"));
  // A short file may hold nothing but a first line that was torn.
  return { lastSeq: seq ?? (start === 0 ? 0 : null), tornBytes: torn.length };
}

function lastSeq(text: string): number | null {
  for (let end = text.length; end > 0; ) {
    const begin = text.lastIndexOf("\n", end - 1) + 1;
    const record = parseRecord(text.slice(begin, end));
    if (record !== null) {
      return record.seq;
    }
    end = begin - 1;
  }
  return null;
}
