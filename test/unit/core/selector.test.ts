import { describe, expect, it } from "vitest";
import { formatAddress } from "../../../src/core/address.js";
import { compileSelector, evaluateSelector, type SelectableDevice } from "../../../src/core/selector.js";

const GPU: SelectableDevice = {
  address: formatAddress({ domain: 0, bus: 0x65, device: 0, function: 0 }),
  vendor: "10de",
  device: "1db8",
  class: "030200",
};
const { class: _class, ...CLASSLESS } = GPU;

type Raw = Parameters<typeof compileSelector>[0];

function compile(raw: Raw) {
  const compiled = compileSelector(raw);
  if (!compiled.ok) {
    throw new Error(compiled.error.map(({ path, message }) => `${path.join(".")} ${message}`).join("; "));
  }
  return compiled.value;
}

function verdictOf(raw: Raw, device: SelectableDevice) {
  return evaluateSelector(compile(raw), device).verdict;
}

describe("a selector", () => {
  it("holds when all of its keys hold", () => {
    expect(verdictOf({ address: "*:65:00.*", vendor: "10de", device: "1db?", class: "3d" }, GPU)).toBe(
      "match",
    );
    expect(verdictOf({ address: "*:65:00.*", vendor: "8086" }, GPU)).toBe("no-match");
  });

  it("takes any value of a key's list", () => {
    expect(verdictOf({ class: ["vga", "3d"] }, GPU)).toBe("match");
    expect(verdictOf({ class: ["vga", "nvme"] }, GPU)).toBe("no-match");
  });

  it("says for each key what was wanted and what was there", () => {
    expect(evaluateSelector(compile({ vendor: ["8086", "1002"], class: "03*" }), GPU)).toEqual({
      verdict: "no-match",
      keys: [
        { key: "vendor", verdict: "no-match", wanted: ["8086", "1002"], actual: "10de" },
        { key: "class", verdict: "match", wanted: ["03*"], actual: "030200" },
      ],
    });
  });

  it("is open on a fact that is not known, even for a lone star", () => {
    expect(verdictOf({ vendor: "10de", class: "3d" }, CLASSLESS)).toBe("unknown");
    expect(verdictOf({ class: "*" }, CLASSLESS)).toBe("unknown");
  });

  it("fails on a known fact whatever else is not known", () => {
    expect(verdictOf({ vendor: "8086", class: "3d" }, CLASSLESS)).toBe("no-match");
  });

  it("matches what is not known by the value unknown only", () => {
    expect(verdictOf({ class: "unknown" }, CLASSLESS)).toBe("match");
    expect(verdictOf({ class: ["nvme", "unknown"] }, CLASSLESS)).toBe("match");
    expect(verdictOf({ class: "unknown" }, GPU)).toBe("no-match");
  });

  it("is open on a class without its interface only where the interface decides", () => {
    const nvme = { ...GPU, class: "0108" };
    expect(verdictOf({ class: "nvme" }, nvme)).toBe("match");
    expect(verdictOf({ class: "010802" }, nvme)).toBe("unknown");
    expect(verdictOf({ class: ["010802", "unknown"] }, nvme)).toBe("match");
    expect(verdictOf({ class: "010601" }, nvme)).toBe("no-match");
  });

  it("does not match a fact that is known to be absent", () => {
    const bare = { ...GPU, vendor: null } as unknown as SelectableDevice;
    expect(verdictOf({ vendor: ["*", "unknown"] }, bare)).toBe("no-match");
  });

  it("lists the addresses it writes out", () => {
    expect(compile({ address: ["0000:65:00.0", "66:00.0", "0000:67:*"] }).exactAddresses).toEqual([
      "0000:65:00.0",
    ]);
    expect(compile({ vendor: "10de" }).exactAddresses).toEqual([]);
  });

  it.each<[Raw, boolean]>([
    [{ address: "*" }, true],
    [{ address: "0000:*", vendor: "*", class: "0*" }, true],
    [{ address: ["01:00.0", "*"] }, true],
    [{ address: "*", class: "nvme" }, false],
    [{ address: "*", class: ["nvme", "*"] }, true],
    [{ address: "*", vendor: "8086" }, false],
    [{ address: "01:*" }, false],
    [{ class: "unknown" }, false],
  ])("%j is wildcards only: %s", (raw, isWildcardOnly) => {
    expect(compile(raw)).toMatchObject({ isWildcardOnly });
  });

  it("carries the remarks of its values with their place", () => {
    expect(compile({ address: ["01:*", "0000:C1:*"], vendor: "86" }).remarks).toEqual([
      { path: ["address", 1], character: 5, message: expect.stringContaining("lower case") },
      { path: ["vendor"], character: 0, message: expect.stringContaining("2 digits"), hint: "write 0086" },
    ]);
  });
});

describe("a broken selector", () => {
  it("reports every issue with key, item and character", () => {
    const compiled = compileSelector({
      address: ["01:*", "00*"],
      vendor: "1(",
      vendr: "10de",
      class: [],
      device: "*",
    });
    expect(compiled).toMatchObject({
      ok: false,
      error: [
        { path: ["address", 1], character: 0, hint: expect.stringContaining("01:*") },
        { path: ["vendor"], character: 1 },
        { path: ["vendr"], hint: expect.stringMatching(/^keys: address, path, .*not, any, when$/) },
        { path: ["class"], message: expect.stringContaining("no value") },
      ],
    });
  });

  it.each(["constructor", "__proto__x", "toString"])("does not take %s for a key", (key) => {
    expect(compileSelector({ [key]: "x" })).toMatchObject({ ok: false, error: [{ path: [key] }] });
  });

  it("is one that selects by nothing", () => {
    expect(compileSelector({})).toMatchObject({
      ok: false,
      error: [{ path: [], message: "selects by nothing" }],
    });
  });
});
