import { describe, expect, it } from "vitest";
import {
  type AuditEntry,
  type AuditRecord,
  parseRecord,
  recordOf,
  serializeRecord,
} from "../../../src/audit/record.js";
import { anAddress } from "../../support/builders.js";

const address = anAddress("0000:65:00.0");
const ended: AuditEntry = {
  atMs: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
  event: "step-ended",
  who: "agent",
  what: "detach",
  why: "no rule of a names it any more",
  vm: "a",
  addresses: [address],
  step: {
    kind: "detach",
    vm: "a",
    id: "pciplug-0000-65-00.0",
    address,
    why: "no rule of a names it any more",
  },
  after: { kind: "done" },
};

describe("a record", () => {
  it("is one line with its keys in the order of the format, whatever order they came in", () => {
    const shuffled = Object.fromEntries(
      Object.entries(recordOf(ended, 7)).reverse(),
    ) as unknown as AuditRecord;
    const line = serializeRecord(recordOf(ended, 7));
    expect(line).toBe(
      '{"v":1,"seq":7,"at":"2026-01-02T03:04:05.006Z","event":"step-ended","who":"agent","what":"detach",' +
        '"why":"no rule of a names it any more","vm":"a","addresses":["0000:65:00.0"],' +
        '"step":{"address":"0000:65:00.0","id":"pciplug-0000-65-00.0","kind":"detach","vm":"a",' +
        '"why":"no rule of a names it any more"},"after":{"kind":"done"}}',
    );
    expect(serializeRecord(shuffled)).toBe(line);
  });

  it("is read back as it was written", () => {
    const record = recordOf(ended, 7);
    expect(parseRecord(serializeRecord(record))).toEqual(record);
  });

  it("carries texts of guests without letting them reach a terminal", () => {
    const text = "\u001b]0;owned\u0007\n\u009b2J\u202e\u2028\ud800";
    const record = recordOf({ ...ended, why: text }, 1);
    const line = serializeRecord(record);
    expect(line).toMatch(/^[\u0020-\u007e]+$/);
    expect(parseRecord(line)).toEqual(record);
  });

  it("is null where the line is none: torn, of another version, of an unknown event", () => {
    const line = serializeRecord(recordOf(ended, 7));
    expect(parseRecord(line.slice(0, -1))).toBeNull();
    expect(parseRecord(line.replace('"v":1', '"v":2'))).toBeNull();
    expect(parseRecord(line.replace("step-ended", "toString"))).toBeNull();
    expect(parseRecord(line.replace('"seq":7', '"seq":"7"'))).toBeNull();
    expect(["", "null", "[]", "7"].map(parseRecord)).toEqual([null, null, null, null]);
  });
});
