import { describe, expect, it } from "vitest";
import { Journal, type JournalFile } from "../../../src/audit/journal.js";
import { type AuditEntry, parseRecord } from "../../../src/audit/record.js";

/** A file in memory that counts its syncs and fails on demand, as a full disk does: part of the text is there. */
class MemoryFile {
  text = "";
  syncs = 0;
  isClosed = false;
  failAfter: number | null = null;
  isSyncBroken = false;

  asFile(): JournalFile {
    return this as unknown as JournalFile;
  }

  async appendFile(data: string): Promise<void> {
    if (this.failAfter !== null) {
      this.text += data.slice(0, this.failAfter);
      throw new Error("ENOSPC: no space left on device, write");
    }
    this.text += data;
  }

  async sync(): Promise<void> {
    this.syncs += 1;
    if (this.isSyncBroken) {
      throw new Error("EIO: i/o error, fsync");
    }
  }

  async stat(): Promise<{ size: number }> {
    return { size: Buffer.byteLength(this.text) };
  }

  async read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ bytesRead: number }> {
    return { bytesRead: Buffer.from(this.text).copy(buffer, offset, position, position + length) };
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }

  seqs(): (number | null)[] {
    return this.text
      .split("\n")
      .slice(0, -1)
      .map((line) => parseRecord(line)?.seq ?? null);
  }
}

const entry = (what: string): AuditEntry => ({ atMs: 0, event: "agent-stopping", who: "agent", what });
const open = (file: MemoryFile, seq = 0) => new Journal("/state/audit.jsonl", file.asFile(), seq);

describe("the journal", () => {
  it("writes entries that wait together with one fsync, in their order, and numbers them on", async () => {
    const file = new MemoryFile();
    const journal = open(file, 41);
    await Promise.all(Array.from({ length: 50 }, (_, index) => journal.append(entry(`entry ${index}`))));
    expect(file.seqs()).toEqual(Array.from({ length: 50 }, (_, index) => 42 + index));
    expect(file.text.match(/entry \d+/g)).toEqual(Array.from({ length: 50 }, (_, index) => `entry ${index}`));
    expect(file.syncs).toBe(2);
  });

  it("resolves no entry before its fsync", async () => {
    const file = new MemoryFile();
    const journal = open(file);
    let syncsAtResolve = -1;
    await journal.append(entry("a")).then(() => {
      syncsAtResolve = file.syncs;
    });
    expect(syncsAtResolve).toBe(1);
  });

  it("says so when a line could not be written, closes the torn one off and goes on without a gap", async () => {
    const file = new MemoryFile();
    const journal = open(file);
    await journal.append(entry("a"));
    file.failAfter = 20;
    await expect(journal.append(entry("b"))).rejects.toMatchObject({
      code: "audit.write-failed",
      message: expect.stringContaining("cannot write agent-stopping to /state/audit.jsonl: ENOSPC"),
    });
    file.failAfter = null;
    await journal.append(entry("c"));
    expect(file.seqs()).toEqual([1, null, 2]);
  });

  it("never uses a number twice when the lines of a failed batch are in the file after all", async () => {
    const file = new MemoryFile();
    const journal = open(file);
    file.isSyncBroken = true;
    const results = await Promise.allSettled([journal.append(entry("a")), journal.append(entry("b"))]);
    expect(results.map((result) => result.status)).toEqual(["rejected", "rejected"]);
    file.isSyncBroken = false;
    await journal.append(entry("c"));
    expect(file.seqs()).toEqual([1, 2, 3]);
  });

  it("writes what waits before it closes, and nothing afterwards", async () => {
    const file = new MemoryFile();
    const journal = open(file);
    const waiting = [journal.append(entry("a")), journal.append(entry("b"))];
    await journal.close();
    await Promise.all(waiting);
    expect(file.seqs()).toEqual([1, 2]);
    expect(file.isClosed).toBe(true);
    await expect(journal.append(entry("c"))).rejects.toMatchObject({ code: "audit.closed" });
  });
});
