import { describe, expect, it } from "vitest";
import { describeRemark, describeSelectorIssue, parsePatterns } from "../../../src/cli/match-patterns.js";
import { compileSelector } from "../../../src/core/selector.js";

function rawOf(...args: readonly string[]): unknown {
  return JSON.parse(JSON.stringify(parsePatterns(args).raw));
}

describe("the arguments of match", () => {
  it("are addresses, of which any is enough", () => {
    expect(rawOf("65:00.*")).toEqual({ address: "65:00.*" });
    expect(rawOf("65:00.*", "0000:01:*")).toEqual({ address: ["65:00.*", "0000:01:*"] });
  });

  it("are narrowed by keys, and values of one key are alternatives as in the file", () => {
    expect(rawOf("*", "class=vga", "vendor=10de", "class=audio")).toEqual({
      address: "*",
      class: ["vga", "audio"],
      vendor: "10de",
    });
  });

  it("reach into keys inside keys", () => {
    expect(rawOf("not.vendor=10de", "not.class=vga", "udev.ID_PATH=pci-*", "lspci=-s 01:")).toEqual({
      not: { vendor: "10de", class: "vga" },
      udev: { ID_PATH: "pci-*" },
      lspci: "-s 01:",
    });
  });

  it("keep whatever is behind the first =", () => {
    expect(rawOf('when=device.vendor == "10de"')).toEqual({ when: 'device.vendor == "10de"' });
  });

  it("do not reach into what every object has", () => {
    expect(Object.keys(parsePatterns(["__proto__.vendor=10de"]).raw)).toEqual(["__proto__"]);
    expect(({} as Record<string, unknown>)["vendor"]).toBeUndefined();
  });
});

describe("what is wrong with an argument", () => {
  const issue = { message: "has a parenthesis", character: 2, hint: "write {a,b}" };

  it("is shown below the character", () => {
    const patterns = parsePatterns(["01:*", "class=03(", "class=04*"]);
    expect(describeSelectorIssue({ path: ["class", 0], ...issue }, patterns)).toEqual([
      "pciplug: cannot match class=03(: has a parenthesis",
      "  class=03(",
      "          ^",
      "  write {a,b}",
    ]);
    expect(describeSelectorIssue({ path: ["class", 1], ...issue }, patterns)[0]).toContain("class=04*");
  });

  it("is below the right character behind ones that the terminal shows longer", () => {
    const patterns = parsePatterns(["\u001b😀(:"]);
    const [, shown, caret] = describeSelectorIssue({ path: ["address"], ...issue }, patterns);
    expect(shown).toBe("  \\u001b😀(:");
    expect(caret?.length).toBe((shown?.indexOf("(") ?? 0) + 1);
  });

  it("sends nothing to the terminal that the terminal would obey", () => {
    const patterns = parsePatterns(["vendor=\u001b"]);
    const odd = { path: ["vendor"], message: 'has no character "\u001b"' };
    expect(describeSelectorIssue(odd, patterns)).toEqual([
      'pciplug: cannot match vendor=\\u001b: has no character "\\u001b"',
    ]);
  });

  it("is said without a character where a key is to blame, or the whole", () => {
    const patterns = parsePatterns(["colour=red"]);
    expect(describeSelectorIssue({ path: ["colour"], message: "is not a key" }, patterns)).toEqual([
      "pciplug: cannot match colour=red: is not a key",
    ]);
    expect(describeSelectorIssue({ path: [], message: "selects by nothing" }, patterns)).toEqual([
      "pciplug: cannot match : selects by nothing",
    ]);
  });
});

describe("what can match nothing", () => {
  const nvidia = { id: "10de", name: "NVIDIA Corporation" };

  function remarksOn(...args: readonly string[]): readonly string[] {
    const patterns = parsePatterns(args);
    const compiled = compileSelector(patterns.raw);
    return compiled.ok
      ? compiled.value.remarks.flatMap((remark) =>
          describeRemark(remark, patterns, (text) => (text === "nvidia" ? [nvidia] : [])),
        )
      : [];
  }

  it("is tried all the same, after a remark that says what was meant", () => {
    expect(remarksOn("*", "vendor=nvidia")).toEqual([
      expect.stringMatching(/^remark: vendor=nvidia: matches no id/),
      "  vendor=nvidia",
      "         ^",
      "  vendor takes a hex id: 10de is NVIDIA Corporation",
    ]);
    expect(remarksOn("vendor=acme").at(-1)).toBe("  write the hex id, such as 10de: names are never matched");
    expect(remarksOn("10de:1b06")).toEqual([
      "remark: 10de:1b06: matches no address: it looks like vendor:device",
      "  10de:1b06",
      "  ^",
      "  write vendor=10de device=1b06, or 'lspci=-d 10de:1b06'",
    ]);
    expect(remarksOn("vendor=10de:1b06").at(-1)).toContain("write vendor=10de device=1b06");
    expect(remarksOn("65:00").at(-1)).toBe("  write 65:00.* for every function of the slot");
  });
});
