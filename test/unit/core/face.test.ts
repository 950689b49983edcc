/** The patterns as other programs get them: by the package's main entry. */
import { describe, expect, it } from "vitest";
import {
  compileAddressPattern,
  compileLspciFilter,
  compilePattern,
  compileSelector,
  evaluateSelector,
  PatternError,
  parseAddress,
  translateNovaSpec,
} from "../../../src/index.js";
import { aDevice } from "../../support/builders.js";

function refusalOf(compile: () => unknown): unknown {
  try {
    compile();
  } catch (error) {
    return error;
  }
  return "not refused";
}

describe("the package's face", () => {
  it("compiles patterns into predicates", () => {
    expect(compilePattern("{a,b}*")("b1")).toBe(true);
    expect(compilePattern("[!a]")("a")).toBe(false);
    expect(compileAddressPattern("65:00.*")("0000:65:00.1")).toBe(true);
    expect(compileAddressPattern("0001:*")("0000:65:00.1")).toBe(false);
    expect(compileAddressPattern("*")("10000:01:00.0")).toBe(true);
  });

  it("compiles filters of lspci into predicates on a device", () => {
    const gpu = aDevice("0000:65:00.0", { vendor: "10de", class: "030000" });
    expect(compileLspciFilter("-s", "65:")(gpu)).toBe(true);
    expect(compileLspciFilter("-d", "10de::03xx")(gpu)).toBe(true);
    expect(compileLspciFilter("-d", "8086:")(gpu)).toBe(false);
    const { vendor: _vendor, ...bare } = gpu;
    expect(compileLspciFilter("-d", "10de:")(bare)).toBe(false);
  });

  it.each([
    [{}],
    [null],
    [{ address: "65:00.0", vendor: 0x10de, class: "vga" }],
    [{ address: 5, vendor: "NVIDIA", device: ["2204"], class: 3 }],
  ])("answers no, and never throws, about a device of which nothing is known: %j", (device) => {
    const nobody = device as unknown as ReturnType<typeof aDevice>;
    for (const [option, pattern] of [
      ["-s", "65:"],
      ["-s", "0:"],
      ["-s", ".0"],
      ["-d", "10de:"],
      ["-d", ":2204"],
      ["-d", "::03xx"],
      ["-d", "::0300:00"],
    ] as const) {
      expect([pattern, compileLspciFilter(option, pattern)(nobody)]).toEqual([pattern, false]);
    }
  });

  it.each([
    [() => compilePattern(""), 0],
    [() => compilePattern("a(b)"), 1],
    [() => compilePattern("a".repeat(200)), 199],
    [() => compilePattern(undefined as unknown as string), 0],
    [() => compileAddressPattern("00*"), 0],
    [() => compileAddressPattern("0000:(1)"), 5],
    [() => compileLspciFilter("-s", "0x1"), 0],
    [() => compileLspciFilter("-d", "8086"), 0],
    [() => compileLspciFilter("-x" as "-s", "1"), 0],
  ])("throws its own error for what is refused (%#)", (compile, index) => {
    const error = refusalOf(compile);
    expect(error).toBeInstanceOf(PatternError);
    expect(error).toMatchObject({
      code: "pattern.refused",
      name: "PatternError",
      index,
      message: expect.stringMatching(/^cannot compile ".*": /),
    });
  });

  it("says in the message what to write instead", () => {
    expect(refusalOf(() => compileAddressPattern("00*"))).toMatchObject({
      message: expect.stringContaining("write 01:* for bus 01"),
      hint: expect.stringContaining("write 01:*"),
    });
  });

  it("compiles selectors, and makes them of Nova's specs", () => {
    const spec = translateNovaSpec({ vendor_id: "10de", address: "0000:65:00.0" });
    const selector = compileSelector(spec.ok ? spec.value : {});
    expect(selector.ok && evaluateSelector(selector.value, aDevice("0000:65:00.0")).verdict).toBe("match");
    expect(parseAddress("0000:65:00.0")).toBe("0000:65:00.0");
  });
});
