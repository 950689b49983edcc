import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileLspciFilter, type LspciDevice, type LspciOption } from "../../../src/core/lspci.js";
import { pciAddress } from "../../support/arbitraries.js";
import { aDevice, anAddress } from "../../support/builders.js";

interface Case {
  readonly option: LspciOption;
  readonly pattern: string;
  readonly results?: Readonly<Record<string, readonly string[] | "ALL">>;
  readonly error?: string;
}

function readVector(name: string): string {
  return readFileSync(new URL(`../../../fixtures/vectors/${name}`, import.meta.url), "utf8");
}

/** A function of a dump: `lspci -x`, 16 bytes of config space a line (PCI Local Bus Specification 3.0, 6.1). */
function readDump(name: string): readonly LspciDevice[] {
  return readVector(`lspci-dumps/${name}`)
    .split(/\n\s*\n/)
    .filter((block) => block.trim() !== "")
    .map((block) => {
      const [head = "", ...lines] = block.trim().split("\n");
      const bytes = lines.flatMap((line) =>
        line
          .slice(line.indexOf(":") + 1)
          .trim()
          .split(" "),
      );
      const word = (at: number) => `${bytes[at + 1]}${bytes[at]}`;
      return {
        address: anAddress(head.split(" ")[0] ?? ""),
        vendor: word(0),
        device: word(2),
        class: `${word(10)}${bytes[9]}`,
      };
    });
}

function verdict(option: LspciOption, pattern: string, device: LspciDevice) {
  const compiled = compileLspciFilter(option, pattern);
  return compiled.ok ? compiled.value.verdictOf(device) : compiled.error;
}

const { cases, dumps } = JSON.parse(readVector("lspci-filter-oracle.json")) as {
  readonly cases: readonly Case[];
  readonly dumps: Readonly<Record<string, readonly string[]>>;
};

describe("recorded answers of lspci 3.9.0", () => {
  const machines = Object.keys(dumps).map((name) => [name, readDump(name)] as const);

  it("are about the machines of the dumps", () => {
    expect(
      Object.fromEntries(machines.map(([name, devices]) => [name, devices.map((d) => d.address)])),
    ).toEqual(dumps);
  });

  it.each(cases.filter(({ error }) => error === undefined))("are ours for $option '$pattern'", (answer) => {
    for (const [name, devices] of machines) {
      const expected = answer.results?.[name] === "ALL" ? dumps[name] : answer.results?.[name];
      const matches = devices.filter((device) => verdict(answer.option, answer.pattern, device) === "match");
      expect(matches.map(({ address }) => address)).toEqual(expected);
    }
  });

  it.each(cases.filter(({ error }) => error !== undefined))(
    "refuse $option '$pattern'",
    ({ option, pattern }) => {
      expect(compileLspciFilter(option, pattern)).toMatchObject({ ok: false });
    },
  );
});

describe("a filter of lspci", () => {
  const gpu = aDevice("0000:65:00.0", { vendor: "10de", device: "2204", class: "030000" });

  it.each<[LspciOption, string, number]>([
    ["-s", "01:zz.0", 3],
    ["-s", "01:00.9", 6],
    ["-s", "1:2:3:4", 6],
    ["-s", "0.1.2", 4],
    ["-d", "10de", 0],
    ["-d", "10de:0x1:", 5],
    ["-d", "::03xg", 2],
    ["-d", "::::", 4],
    ["-d", "1:2:3:4:5", 8],
    ["-s", ":".repeat(64), 63],
  ])("%s %s is refused at character %i", (option, pattern, index) => {
    expect(compileLspciFilter(option, pattern)).toMatchObject({ ok: false, error: { index } });
  });

  it.each<[LspciOption, string, string]>([
    // Read from lspci's own arithmetic: 32 bits without a sign, the limit looked at digit by digit.
    ["-s", "100000000::", "match"],
    ["-s", "120000000::", "no-match"],
    ["-s", "0000000000000000000000000000000000065:0.0", "match"],
    // An open digit counts as 1 towards the limit, a zero before it as nothing.
    ["-d", "::0xxxx", "match"],
    ["-d", "::0x300", "match"],
    ["-d", "::0X3xx", "match"],
    ["-d", "::x3xx", "match"],
    ["-d", "::xx02", "no-match"],
    ["-d", ":*:*:*", "match"],
    ["-d", "10DE:2204:0300:00", "match"],
    ["-d", "10de:2204:0300:01", "no-match"],
    ["-s", "*:65:*", "match"],
    ["-s", "65:.", "match"],
  ])("%s %s on a GPU at 0000:65:00.0: %s", (option, pattern, expected) => {
    expect(verdict(option, pattern, gpu)).toBe(expected);
  });

  it.each(["::xxxxx", "::1xxxx", "::0x1xxxx", "::00x0000"])("-d %s is refused", (pattern) => {
    expect(compileLspciFilter("-d", pattern).ok).toBe(false);
  });

  it("names the one address that it writes out", () => {
    const exact = (pattern: string) => {
      const compiled = compileLspciFilter("-s", pattern);
      return compiled.ok ? compiled.value.exactAddress : compiled.error;
    };
    expect(exact("0:65:0.1")).toBe("0000:65:00.1");
    expect(exact("65:0.1")).toBeUndefined();
    expect(exact("0:65:0")).toBeUndefined();
  });

  it.each<[LspciOption, string, boolean]>([
    ["-s", "", true],
    ["-s", "0000::", true],
    ["-s", ".0", true],
    ["-s", "00", false],
    ["-s", "65:", false],
    ["-d", ":", true],
    ["-d", "::0xxxx:00", true],
    ["-d", "::0xx", false],
    ["-d", "::x3xx", true],
    ["-d", ":::02", true],
    ["-d", "::03xx", false],
    ["-d", "10de:", false],
    ["-d", ":2204", false],
  ])("%s %j is wildcards only: %s", (option, pattern, isWildcardOnly) => {
    expect(compileLspciFilter(option, pattern)).toMatchObject({ ok: true, value: { isWildcardOnly } });
  });

  it("is open on what is not known, and says what that is", () => {
    const bare: LspciDevice = { address: gpu.address, vendor: "10de", class: "0300" };
    expect(verdict("-d", "10de:2204", bare)).toBe("unknown");
    expect(verdict("-d", "8086:2204", bare)).toBe("no-match");
    expect(verdict("-d", "::0300", bare)).toBe("match");
    expect(verdict("-d", "::0300:00", bare)).toBe("unknown");
    const why = (pattern: string, device: LspciDevice) => {
      const compiled = compileLspciFilter("-d", pattern);
      return compiled.ok ? compiled.value.whyUnknown(device) : compiled.error;
    };
    expect(why(":2204", bare)).toBe("device id unreadable");
    expect(why(":::00", bare)).toContain("programming interface");
    expect(why("10de::0300", { address: gpu.address, vendor: "10de" })).toBe("class unreadable");
  });

  it("made from an address takes that address", () => {
    fc.assert(
      fc.property(pciAddress, pciAddress, (written, other) => {
        // The domains of real machines; lspci has no others from 80000000 up.
        fc.pre(written.length < 16);
        expect(verdict("-s", written, { address: written })).toBe("match");
        expect(verdict("-s", written, { address: other })).toBe(written === other ? "match" : "no-match");
      }),
    );
  });
});
