import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { QmpProtocolError } from "../../../src/qmp/errors.js";
import { FrameSplitter } from "../../../src/qmp/framing.js";

/** All lines of the chunks, and the error code if one ended them. */
function split(
  chunks: readonly Uint8Array[],
  limit?: number,
): { lines: string[]; error?: string; held: number } {
  const splitter = new FrameSplitter(limit);
  const lines: string[] = [];
  try {
    for (const chunk of chunks) {
      for (const line of splitter.push(chunk)) {
        lines.push(line);
      }
    }
  } catch (error) {
    if (!(error instanceof QmpProtocolError)) {
      throw error;
    }
    return { lines, error: error.code, held: 0 };
  }
  return { lines, held: splitter.heldBytes };
}

function cutAt(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const sorted = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return sorted.map((end, index) => bytes.subarray(sorted[index - 1] ?? 0, end));
}

const line = fc.oneof(
  fc.json(),
  fc.string({ unit: "grapheme" }).map((text) => text.replace(/[\r\n]/g, "")),
  fc.constantFrom("", "{", "hello world", "é€😀"),
);

describe("the frame splitter", () => {
  it("gives the same lines however the bytes are cut, good lines, garbage and all", async () => {
    await fc.assert(
      fc.property(
        fc.array(fc.tuple(line, fc.constantFrom("\r\n", "\n")), { maxLength: 12 }),
        fc.string(),
        fc.array(fc.nat(), { maxLength: 20 }),
        (lines, rest, cuts) => {
          const bytes = Buffer.from(lines.flat().join("") + rest.replace(/\n/g, ""));
          expect(split(cutAt(bytes, cuts))).toEqual(split([bytes]));
          expect(split([...bytes].map((byte) => Uint8Array.of(byte)))).toEqual(split([bytes]));
        },
      ),
    );
  });

  it("gives the same lines and the same error however bytes that are no text are cut", async () => {
    await fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.array(fc.nat(), { maxLength: 8 }), (garbage, cuts) => {
        const bytes = Buffer.concat([Buffer.from('{"a":1}\r\n'), garbage, Buffer.from("\r\n{}\r\n")]);
        expect(split(cutAt(bytes, cuts))).toEqual(split([bytes]));
      }),
    );
  });

  it("holds back a line that has not ended, and can say how it begins", () => {
    const splitter = new FrameSplitter();
    expect([...splitter.push(Buffer.from('{"a":1}\r\n{"tru'))]).toEqual(['{"a":1}']);
    expect(splitter.heldBytes).toBe(5);
    expect(splitter.heldStart(3)).toBe('{"t');
  });

  it("yields the good lines before it refuses one over the cap, ended or not", () => {
    expect(split([Buffer.from("1234\n123456789\n")], 8)).toEqual({
      lines: ["1234"],
      error: "qmp.frame-too-long",
      held: 0,
    });
    expect(split([Buffer.from("1234\n"), Buffer.alloc(9, 0x61)], 8).error).toBe("qmp.frame-too-long");
    expect(split([Buffer.from("12345678\n")], 8).lines).toEqual(["12345678"]);
  });
});
