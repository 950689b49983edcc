/** The audit file on a real disk: what is there after a crash, whose it is, and what comes back when it is read. */
import { execFileSync } from "node:child_process";
import { appendFile, chmod, link, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AuditLine, readAudit } from "../../src/audit/read.js";
import type { AuditEntry } from "../../src/audit/record.js";
import { openAudit } from "../../src/audit/sink.js";

const entry = (what: string): AuditEntry => ({ atMs: 1_000, event: "agent-stopping", who: "agent", what });
let dir = "";
let path = "";

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "pciplug-audit-"));
  path = join(dir, "audit.jsonl");
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function lines(): Promise<AuditLine[]> {
  const found: AuditLine[] = [];
  for await (const line of readAudit(path)) {
    found.push(line);
  }
  return found;
}

async function writeLines(...texts: string[]): Promise<number> {
  const audit = await openAudit(path);
  await Promise.all(texts.map((text) => audit.append(entry(text))));
  await audit.close();
  return audit.tornBytes;
}

describe("the audit file", () => {
  it("has each line on disk when its promise resolves, in the order they were appended", async () => {
    const audit = await openAudit(path);
    await audit.append(entry("first"));
    expect(await readFile(path, "utf8")).toBe(
      '{"v":1,"seq":1,"at":"1970-01-01T00:00:01.000Z","event":"agent-stopping","who":"agent","what":"first"}\n',
    );
    await Promise.all(Array.from({ length: 200 }, (_, index) => audit.append(entry(`line ${index}`))));
    const records = (await lines()).flatMap((line) => (line.kind === "record" ? line.record : []));
    expect(records.map((record) => record.seq)).toEqual(Array.from({ length: 201 }, (_, index) => index + 1));
    expect(records.slice(1).map((record) => record.what)).toEqual(
      Array.from({ length: 200 }, (_, index) => `line ${index}`),
    );
    await audit.close();
  });

  it("goes on counting when it is opened again", async () => {
    await writeLines("a", "b");
    await writeLines("c");
    expect((await lines()).map((line) => line.kind === "record" && line.record.seq)).toEqual([1, 2, 3]);
  });

  it("closes a line off that a crash has torn, says how long it was, and goes on after the last whole one", async () => {
    await writeLines("a", "b");
    await appendFile(path, '{"v":1,"seq":3,"at":"19');
    expect(await writeLines("c")).toBe(23);
    expect((await lines()).map((line) => (line.kind === "record" ? line.record.seq : line))).toEqual([
      1,
      2,
      { kind: "damaged", number: 3, text: '{"v":1,"seq":3,"at":"19' },
      3,
    ]);
  });

  it("begins anew after a first line that was torn, twice over", async () => {
    await writeFile(path, '{"v"');
    await writeLines();
    expect(await writeLines("a")).toBe(0);
    expect((await lines()).map((line) => line.kind)).toEqual(["damaged", "record"]);
  });

  it("is readable by its owner and group only, whatever it was before", async () => {
    await writeLines("a");
    expect((await stat(path)).mode & 0o777).toBe(0o640);
    await chmod(path, 0o666);
    await writeLines("b");
    expect((await stat(path)).mode & 0o777).toBe(0o640);
  });

  it.each<[string, () => Promise<unknown>]>([
    ["a symbolic link", () => symlink("elsewhere", path)],
    [
      "a second name of another file",
      () => writeFile(join(dir, "b"), "").then(() => link(join(dir, "b"), path)),
    ],
    ["a FIFO", async () => execFileSync("sh", ["-c", 'mkfifo "$0"', path])],
    ["a large file of something else", () => writeFile(path, "x".repeat(2 * 1024 * 1024))],
    ["in a folder that is not there", async () => (path = join(dir, "no", "audit.jsonl"))],
  ])("is refused when it is %s, and nothing is written", async (_, make) => {
    await make();
    await expect(openAudit(path)).rejects.toMatchObject({
      code: "audit.open-failed",
      message: expect.stringMatching(/^cannot (open|go on with) audit file /),
    });
    await expect(stat(join(dir, "elsewhere"))).rejects.toMatchObject({ code: "ENOENT" });
  });

  it("takes nothing after it was closed, and may be closed again", async () => {
    const audit = await openAudit(path);
    const last = audit.append(entry("last"));
    await audit.close();
    await audit.close();
    await last;
    await expect(audit.append(entry("late"))).rejects.toMatchObject({ code: "audit.closed" });
    expect(await lines()).toHaveLength(1);
  });

  it("is read in bounded memory whatever is in it, and every strange line is said to be one", async () => {
    await writeLines("a");
    await appendFile(path, `${"x".repeat(2 * 1024 * 1024)}\n${(await readFile(path, "utf8")).trimEnd()}`);
    const kinds = (await lines()).map((line) => line.kind);
    expect([kinds.at(0), kinds.at(-1)]).toEqual(["record", "record"]);
    expect(kinds.slice(1, -1).every((kind) => kind === "damaged")).toBe(true);
    expect(kinds.length).toBeGreaterThan(2);
  });

  it("says so when it cannot be read", async () => {
    await expect(lines()).rejects.toMatchObject({ code: "audit.read-failed" });
  });
});
