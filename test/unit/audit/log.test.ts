import { PassThrough, Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { createLog, isLogLevel, type Log, type LogOptions } from "../../../src/audit/log.js";
import { AgentError } from "../../../src/base/error.js";

async function linesOf(options: Partial<LogOptions>, use: (log: Log) => void): Promise<string[]> {
  const stream = new PassThrough();
  const now = () => Date.UTC(2026, 0, 2, 3, 4, 5, 6);
  const log = createLog({ level: "info", stream, isTty: false, now, ...options });
  use(log);
  await log.close();
  return String(stream.read() ?? "")
    .split("\n")
    .slice(0, -1);
}

describe("the log", () => {
  it("is one JSON object per line when nobody reads along", async () => {
    const lines = await linesOf({}, (log) =>
      log.warn("Source is missing", { source: "udevadm", at: "never" }),
    );
    expect(lines).toEqual([
      '{"at":"2026-01-02T03:04:05.006Z","level":"warn","message":"Source is missing","source":"udevadm"}',
    ]);
  });

  it("is a readable line on a terminal", async () => {
    const lines = await linesOf({ isTty: true }, (log) =>
      log.info("Attached", { vm: "a", detail: "by rule r", count: 2, left: undefined }),
    );
    expect(lines).toEqual(['03:04:05.006 info  Attached vm=a detail="by rule r" count=2']);
  });

  it.each(levels())("writes at level %s what is as grave or graver", async (level, expected) => {
    const lines = await linesOf({ level }, (log) => {
      log.error("error");
      log.warn("warn");
      log.info("info");
      log.debug("debug");
    });
    expect(lines.map((line) => (JSON.parse(line) as { message: string }).message)).toEqual(expected);
  });

  it.each([true, false])("lets no control character of a guest through (terminal: %s)", async (isTty) => {
    const evil = "\u001b[2J\r\nforged line\u009b\u202e";
    const lines = await linesOf({ isTty }, (log) => log.info(`Guest says ${evil}`, { detail: evil }));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^[\u0020-\u007e]+$/);
  });

  it("writes an error of ours with its code, any other with its stack", async () => {
    const [ours = "", other = ""] = await linesOf({}, (log) => {
      log.error("Failed", { error: new AgentError("host.bind-failed", "cannot bind 0000:65:00.0: no") });
      log.error("Failed", { error: new TypeError("x is not a function") });
    });
    expect(JSON.parse(ours)).toMatchObject({ error: "cannot bind 0000:65:00.0: no (host.bind-failed)" });
    expect(JSON.parse(other)).toMatchObject({
      error: expect.stringMatching(/^TypeError: x is not.*\n +at /s),
    });
  });

  it("goes on when its reader has gone away, and after it was closed", async () => {
    const stream = new Writable({ write: (_chunk, _encoding, done) => done(new Error("EPIPE")) });
    const log = createLog({ level: "info", stream, isTty: false });
    log.info("one");
    log.info("two");
    await log.close();
    log.info("three");
    await expect(log.close()).resolves.toBeUndefined();
  });

  it("knows its levels by name", () => {
    expect(["error", "info", "verbose", "toString"].map(isLogLevel)).toEqual([true, true, false, false]);
  });
});

function levels(): ["error" | "warn" | "info" | "debug", string[]][] {
  return [
    ["error", ["error"]],
    ["warn", ["error", "warn"]],
    ["info", ["error", "warn", "info"]],
    ["debug", ["error", "warn", "info", "debug"]],
  ];
}
