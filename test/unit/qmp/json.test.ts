import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatJson, type JsonValue, parseJson } from "../../../src/qmp/json.js";

/** Texts that look like the marks and tokens the exact parser works with. */
const trickyText = fc.oneof(
  fc.string({ unit: "grapheme" }),
  fc.constantFrom(
    "b18446744073709551615",
    "s",
    '"',
    "\\",
    '\\"',
    "18446744073709551615",
    ": 1",
    "\u2028",
    "a\\",
  ),
);
const wireText = trickyText.filter((text) => !/[\0\p{Surrogate}\p{Noncharacter_Code_Point}]/u.test(text));

const { value: anyValue } = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).filter((n) => !Number.isInteger(n)),
    fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n }),
    fc.bigInt({ min: -(2n ** 63n), max: -(2n ** 53n) }),
    wireText,
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(wireText, tie("value"), { maxKeys: 4 }),
  ),
}));

/** What JSON.parse would have made of it. */
function rounded(value: unknown): unknown {
  if (typeof value === "bigint") {
    return Number(value);
  }
  if (Array.isArray(value)) {
    return value.map(rounded);
  }
  return typeof value === "object" && value !== null
    ? Object.fromEntries(Object.entries(value).map(([name, member]) => [name, rounded(member)]))
    : value;
}

describe("JSON as QEMU speaks it", () => {
  it("gives back every value that was formatted, integers beyond 2^53 as bigint", async () => {
    await fc.assert(
      fc.property(anyValue, (value) => {
        expect(parseJson(formatJson(value))).toEqual(value);
      }),
    );
  });

  it("agrees with JSON.parse on all but the digits it would lose, whatever the white space", async () => {
    await fc.assert(
      fc.property(fc.json(), fc.constantFrom(undefined, 1, "\t"), (text, space) => {
        const spaced = JSON.stringify(JSON.parse(text), undefined, space);
        // The member forces the slow path.
        const forced = `{"x" :\n"1234567890123456", "y": ${spaced}}`;
        expect(rounded(parseJson(forced))).toEqual(JSON.parse(forced));
      }),
    );
  });

  it("reads an unset pref64-reserve exactly", () => {
    expect(parseJson('{"return": 18446744073709551615, "id": 3}')).toEqual({ return: 2n ** 64n - 1n, id: 3 });
  });

  it("keeps integers a double holds as numbers, and fractions and exponents too", () => {
    expect(parseJson("[9007199254740991, -9007199254740991, 1e300, 1234567890123456.5, -1]")).toEqual([
      9007199254740991, -9007199254740991, 1e300, 1234567890123456.5, -1,
    ]);
    expect(parseJson("[9007199254740992, -9007199254740993]")).toEqual([
      9007199254740992n,
      -9007199254740993n,
    ]);
  });

  it("leaves digits inside strings and names alone", () => {
    const text =
      '{"18446744073709551615": "18446744073709551615", "a\\"": "\\\\", "n": [18446744073709551615]}';
    expect(parseJson(text)).toEqual({
      "18446744073709551615": "18446744073709551615",
      'a"': "\\",
      n: [18446744073709551615n],
    });
  });

  it.each(["{", "01234567890123456789", "[18446744073709551615,]", '"1234567890123456', "-", "nope", ""])(
    "refuses %j as JSON.parse does",
    (text) => {
      expect(() => parseJson(text)).toThrow(SyntaxError);
    },
  );

  it("reads megabytes of escapes beside a big integer", () => {
    const text = JSON.stringify({ text: "\n".repeat(2_000_000) }).replace("}", ',"n":18446744073709551615}');
    expect(parseJson(text)).toMatchObject({ n: 18446744073709551615n });
  });

  it("leaves undefined members out", () => {
    expect(formatJson({ a: 1, b: undefined, c: [null, "x", 2n ** 63n] })).toBe(
      '{"a":1,"c":[null,"x",9223372036854775808]}',
    );
  });

  it.each([
    ["NUL in a text", { id: "a\0b" }],
    ["half a surrogate pair", { id: "\ud800" }],
    ["half a surrogate pair in a name", { "\udc00": 1 }],
    ["a noncharacter", { id: "\u{1ffff}" }],
    ["a number that is not finite", { n: Number.NaN }],
    ["an integer that may have been rounded", { n: 2 ** 53 }],
    ["a negative one", { n: -(2 ** 60) }],
  ])("refuses to send %s", (_what, value) => {
    expect(() => formatJson(value)).toThrow(/cannot send/);
  });
});
