import { describe, expect, it } from "vitest";
import { describeSelectorIssue, parsePatterns } from "../../../src/cli/match-patterns.js";

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
