import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { QmpProtocolError } from "../../../src/qmp/errors.js";
import { formatCommand, parseMessage, type QmpMessage } from "../../../src/qmp/protocol.js";

function codeOf(line: string): string {
  try {
    parseMessage(line);
    return "understood";
  } catch (error) {
    return error instanceof QmpProtocolError ? error.code : `wrong error ${String(error)}`;
  }
}

function sentenceOf(line: string): string {
  try {
    parseMessage(line);
    return "understood";
  } catch (error) {
    return error instanceof Error ? error.message : "";
  }
}

const qmp = (members: string): string => `{"QMP": {${members}}}`;
const version = '"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": ""}';

describe("the QMP envelope", () => {
  it.each<[string, string, QmpMessage]>([
    [
      "a greeting",
      qmp(`${version}, "capabilities": ["oob"]`),
      {
        kind: "greeting",
        greeting: {
          version: { qemu: { major: 7, minor: 2, micro: 22 }, package: "" },
          capabilities: ["oob"],
        },
      },
    ],
    ["a reply", '{"return": {}, "id": 1}', { kind: "reply", id: 1, value: {} }],
    ["a reply of null without id", '{"return": null}', { kind: "reply", id: undefined, value: null }],
    [
      "an error",
      '{"id": 2, "error": {"class": "DeviceNotFound", "desc": "Device \'x\' not found"}}',
      { kind: "error", id: 2, qmpClass: "DeviceNotFound", desc: "Device 'x' not found" },
    ],
    [
      "an event without data",
      '{"timestamp": {"seconds": 1795424343, "microseconds": 70255}, "event": "STOP"}',
      { kind: "event", event: { name: "STOP", data: {}, timestampMs: 1795424343070.255 } },
    ],
    [
      "an event of a host that cannot read its clock",
      '{"timestamp": {"seconds": -1, "microseconds": -1}, "event": "STOP", "data": {"a": 1}}',
      { kind: "event", event: { name: "STOP", data: { a: 1 }, timestampMs: undefined } },
    ],
  ])("tells %s", (_what, line, message) => {
    expect(parseMessage(line)).toEqual(message);
  });

  it.each([
    ["plain words", "hello world", "qmp.malformed"],
    ["a truncated object", '{"return": {"status": "runn', "qmp.malformed"],
    ["a list", "[1,2]", "qmp.malformed"],
    ["a number", "18446744073709551615", "qmp.malformed"],
    ["the first line of a pretty-printed message", "{", "qmp.pretty"],
    ["an object that is no message", '{"hello": 1}', "qmp.unexpected-message"],
    ["members of Object.prototype", '{"__proto__": {"return": 1}}', "qmp.unexpected-message"],
    ["a greeting without version", '{"QMP": {}}', "qmp.unexpected-message"],
    ["an error without class", '{"error": {"desc": "x"}}', "qmp.unexpected-message"],
    ["an error that is a text", '{"error": "x"}', "qmp.unexpected-message"],
    ["an event whose data is a list", '{"event": "X", "data": []}', "qmp.unexpected-message"],
    ["an event without timestamp", '{"event": "X"}', "qmp.unexpected-message"],
  ])("refuses %s", (_what, line, code) => {
    expect(codeOf(line)).toBe(code);
  });

  it("says in one sentence how to mend a pretty-printing monitor", () => {
    expect(sentenceOf("{")).toMatch(/remove pretty=on/);
  });

  it("quotes a stranger's words short and without control characters", () => {
    const sentence = sentenceOf(`\u001b[31m${"x".repeat(10_000)}`);
    expect(sentence.length).toBeLessThan(200);
    expect(sentence).not.toContain("\u001b");
    expect(sentence).toContain("\\u001b[31mxxx");
  });

  it("answers every text with a message or a QmpProtocolError, never anything else", async () => {
    const members = fc.constantFrom(
      "return",
      "error",
      "event",
      "QMP",
      "id",
      "data",
      "timestamp",
      "class",
      "desc",
    );
    const shapes = fc.oneof(
      fc.string(),
      fc.json(),
      fc.dictionary(members, fc.jsonValue()).map((o) => JSON.stringify(o)),
    );
    await fc.assert(
      fc.property(shapes, (line) => {
        expect(codeOf(line)).toMatch(/^(understood|qmp\..*)$/);
      }),
    );
  });

  it("formats a command on one line, big integers exact, absent arguments left out", () => {
    expect(formatCommand("query-status", undefined, 1)).toBe('{"execute":"query-status","id":1}\n');
    expect(formatCommand("device_add", { driver: "x", size: 2n ** 64n - 1n, bus: undefined }, 2)).toBe(
      '{"execute":"device_add","arguments":{"driver":"x","size":18446744073709551615},"id":2}\n',
    );
  });
});
