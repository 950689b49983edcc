/**
 * Numbered lines into one file, each on disk before its promise resolves.
 *
 * Invariants:
 *  - numbers have no gaps and no doubles, across failures and restarts: they go on from what is in the file;
 *  - entries are written in the order of append(); those that wait together share one write and one fsync;
 *  - a line that was torn by a failure is closed off before the next one is written;
 *  - nothing is ever overwritten, cut off or removed.
 */
import type { FileHandle } from "node:fs/promises";
import { messageOf } from "../base/error.js";
import { AuditError } from "./error.js";
import { type AuditEntry, recordOf, serializeRecord } from "./record.js";
import { readTail, type Tail } from "./tail.js";

/** The file, opened for reading and appending. */
export type JournalFile = Pick<FileHandle, "appendFile" | "sync" | "stat" | "read" | "close">;

interface Waiting {
  readonly entry: AuditEntry;
  readonly resolve: () => void;
  readonly reject: (error: AuditError) => void;
}

export class Journal {
  readonly #path: string;
  readonly #file: JournalFile;
  #seq: number;
  /** Whether the end of the file must be looked at before the next write. */
  #isEndKnown = true;
  #queue: Waiting[] = [];
  #drained: Promise<void> | null = null;
  #isClosed = false;

  constructor(path: string, file: JournalFile, seq: number) {
    this.#path = path;
    this.#file = file;
    this.#seq = seq;
  }

  /** Resolves when the line is on disk. @throws {AuditError} audit.write-failed, audit.closed */
  append(entry: AuditEntry): Promise<void> {
    if (this.#isClosed) {
      return Promise.reject(new AuditError("audit.closed", `cannot append to ${this.#path}: it is closed`));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ entry, resolve, reject });
      this.#drained ??= this.#drain();
    });
  }

  /** Waits for everything appended so far and closes the file. Closing again does nothing. */
  async close(): Promise<void> {
    if (this.#isClosed) {
      return;
    }
    this.#isClosed = true;
    await this.#drained;
    await this.#file.close();
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#queue;
      this.#queue = [];
      try {
        await this.#commit(batch.map(({ entry }) => entry));
        for (const { resolve } of batch) {
          resolve();
        }
      } catch (error) {
        this.#isEndKnown = false;
        for (const { entry, reject } of batch) {
          reject(this.#failure(entry, error));
        }
      }
    }
    this.#drained = null;
  }

  async #commit(entries: readonly AuditEntry[]): Promise<void> {
    if (!this.#isEndKnown) {
      this.#seq = await closeOff(this.#file, this.#path);
      this.#isEndKnown = true;
    }
    const lines = entries.map(
      (entry, index) => `${serializeRecord(recordOf(entry, this.#seq + index + 1))}\n`,
    );
    await this.#file.appendFile(lines.join(""));
    await this.#file.sync();
    this.#seq += entries.length;
  }

  #failure(entry: AuditEntry, cause: unknown): AuditError {
    return cause instanceof AuditError
      ? cause
      : new AuditError(
          "audit.write-failed",
          `cannot write ${entry.event} to ${this.#path}: ${messageOf(cause)}`,
          {
            cause,
            context: { event: entry.event },
          },
        );
  }
}

/** Makes the end of the file a whole line again. Returns the number of the last record. */
async function closeOff(file: JournalFile, path: string): Promise<number> {
  const tail = await readTail(file);
  await endLine(file, tail);
  return seqOf(tail, path);
}

/** Ends a line that a crash has torn. */
export async function endLine(file: JournalFile, tail: Tail): Promise<void> {
  if (tail.tornBytes > 0) {
    await file.appendFile("\n");
    await file.sync();
  }
}

/** The number to go on from. @throws {AuditError} audit.open-failed when there is none. */
export function seqOf(tail: Tail, path: string): number {
  if (tail.lastSeq === null) {
    throw new AuditError(
      "audit.open-failed",
      `cannot go on with audit file ${path}: its end holds no whole record; move it away to begin a new one`,
    );
  }
  return tail.lastSeq;
}
