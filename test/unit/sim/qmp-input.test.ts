import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatQmpLine, type QmpInput, QmpInputReader } from "../../../src/sim/qmp-input.js";

function readAll(...chunks: readonly string[]): QmpInput[] {
  const reader = new QmpInputReader();
  return chunks.flatMap((chunk) => reader.push(chunk));
}

describe("QmpInputReader", () => {
  it("needs no newline, takes single quotes and several objects in one chunk", () => {
    expect(readAll(`{'execute':'it"s'}{"execute":"b"}`)).toEqual([
      { kind: "object", object: { execute: 'it"s' } },
      { kind: "object", object: { execute: "b" } },
    ]);
  });

  it("complains once for each broken token and reads on", () => {
    expect(readAll("hello world\n", '{"execute": nope}\n', "[1,2]\n", '{"execute":"a"}').map(descOf)).toEqual(
      [
        "JSON parse error, invalid keyword 'hello'",
        "JSON parse error, invalid keyword 'world'",
        "JSON parse error, invalid keyword 'nope'",
        "QMP input must be a JSON object",
        "object",
      ],
    );
  });

  it("calls a string that a newline cuts off stray, the newline included", () => {
    expect(readAll('{"execute":"query-st\n').map(descOf)).toEqual([`JSON parse error, stray '"query-st\n'`]);
  });

  it("finds the same objects however the bytes are cut", () => {
    const text = `{"execute":"a","arguments":{"x":"}{\\"'","y":[1,{"z":'"'}]}} {"execute":"b"}\n`;
    const whole = readAll(text);
    expect(whole).toHaveLength(2);
    fc.assert(
      fc.property(fc.array(fc.nat(text.length)), (cuts) => {
        const at = [0, ...cuts.sort((left, right) => left - right), text.length];
        const chunks = at.slice(1).map((end, index) => text.slice(at[index], end));
        expect(readAll(...chunks)).toEqual(whole);
      }),
    );
  });

  it("echoes an integer that JavaScript cannot hold exactly", () => {
    const [input] = readAll('{"id":{"a":[12345678901234567890,null]}}');
    expect(input?.kind === "object" && formatQmpLine(input.object)).toBe(
      '{"id": {"a": [12345678901234567890, null]}}\r\n',
    );
  });
});

function descOf(input: QmpInput): string {
  return input.kind === "garbage" ? input.desc : "object";
}
