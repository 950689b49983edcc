import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { formatIssues, parseConfig } from "../../../src/config/load.js";
import { keysAt } from "../../../src/config/schema-keys.js";
import { DEFAULT_TRAITS, type Policy, vmsOf } from "../../../src/core/policy.js";
import { evaluateSelector, SELECTOR_KEYS, type Selector } from "../../../src/core/selector.js";
import { aDevice } from "../../support/builders.js";

const fixtures = new URL("../../../fixtures/config/", import.meta.url);
const first = new URL("../../../contrib/examples/first.yaml", import.meta.url);

function filesOf(kind: "valid" | "invalid"): string[] {
  return readdirSync(new URL(`${kind}/`, fixtures)).filter((name) => !name.endsWith(".expected.json"));
}

function expectGolden(file: string, actual: unknown): void {
  const golden = new URL(`${file}.expected.json`, fixtures);
  const text = `${JSON.stringify(actual, null, 2)}\n`;
  if (process.env["UPDATE_GOLDEN"] === "1") {
    writeFileSync(golden, text);
  }
  if (!existsSync(golden)) {
    throw new Error(`no golden for ${file}: run this test with UPDATE_GOLDEN=1 and read what it writes`);
  }
  expect(text).toBe(readFileSync(golden, "utf8"));
}

function policyOf(text: string, path = "config.yaml"): Policy {
  const result = parseConfig(text, path);
  if (!result.ok) {
    throw new Error(formatIssues(result.error));
  }
  return result.value.policy;
}

/** The policy as a golden shows it: only what differs from the defaults, selectors by their keys. */
function readable(policy: Omit<Policy, "version">): object {
  const defaults = new Map<string, unknown>(Object.entries(DEFAULT_TRAITS));
  const rules = policy.rules.map(({ name, mode, match, ...rest }) => {
    const special = Object.entries(rest).filter(
      ([key, value]) => JSON.stringify(value) !== JSON.stringify(defaults.get(key)),
    );
    return { name, mode, match, ...Object.fromEntries(special) };
  });
  return JSON.parse(JSON.stringify({ ...policy, rules }, (_, value: unknown) => readableValue(value)));
}

function readableValue(value: unknown): unknown {
  if (value instanceof Map) {
    return Object.fromEntries(value);
  }
  if (value === Number.POSITIVE_INFINITY) {
    return "no limit";
  }
  return isSelector(value) ? value.keys.map(({ key }) => key) : value;
}

function isSelector(value: unknown): value is Selector {
  return typeof value === "object" && value !== null && "isWildcardOnly" in value && "keys" in value;
}

describe("the file", () => {
  it.each(filesOf("valid"))("is accepted with the meaning written down: %s", (file) => {
    const result = parseConfig(readFileSync(new URL(`valid/${file}`, fixtures), "utf8"), file);
    if (!result.ok) {
      throw new Error(formatIssues(result.error));
    }
    const { policy, remarks } = result.value;
    const { version: _, ...meaning } = policy;
    const text = remarks.length === 0 ? {} : { remarks: formatIssues(remarks).split("\n") };
    expectGolden(`valid/${file}`, { ...readable(meaning), ...text });
  });

  it.each(filesOf("invalid"))("is refused with the sentences written down: %s", (file) => {
    const result = parseConfig(readFileSync(new URL(`invalid/${file}`, fixtures), "utf8"), file);
    const issues = result.ok ? [] : result.error;
    expect(issues.length).toBeGreaterThan(0);
    expectGolden(`invalid/${file}`, { issues, asText: formatIssues(issues).split("\n") });
  });

  it("keeps 0300, 00e1 and 0x8086 the texts that they are", () => {
    const policy = policyOf(readFileSync(new URL("valid/text-stays-text.yaml", fixtures), "utf8"));
    const device = aDevice("0000:01:00.0", { vendor: "8086", device: "00e1", class: "030000" });
    expect(policy.rules.map((rule) => evaluateSelector(rule.match, device).verdict)).toEqual(
      Array.from(policy.rules, () => "match"),
    );
  });

  it("may be the example that contrib/ gives, whose defaults are the real ones", () => {
    const text = readFileSync(first, "utf8");
    const policy = policyOf(text, "first.yaml");
    expect(policy.rules.map((rule) => [rule.name, ...vmsOf(rule)])).toEqual([
      ["nvidia", "desk"],
      ["rear-usb-card", "media"],
    ]);
    expect(policy.rules.flatMap((rule) => rule.match.remarks)).toEqual([]);
    const { limits, sources } = policyOf(text.slice(0, text.indexOf("limits:")), "short.yaml");
    expect({ limits, sources }).toEqual({ limits: policy.limits, sources: policy.sources });
  });

  it("gets another version with every change of its text, and the same one for the same text", () => {
    const text = "vms: []\nrules: []\n";
    expect(policyOf(text).version).toMatch(/^[0-9a-f]{64}$/);
    expect(policyOf(text).version).toBe(policyOf(text, "other.yaml").version);
    expect(policyOf(`${text}# note\n`).version).not.toBe(policyOf(text).version);
  });

  it("has the keys that core's selectors know, and no other", () => {
    expect([...keysAt(["rules", 0, "match"])].sort()).toEqual([...SELECTOR_KEYS].sort());
    const accepts = (key: string) =>
      parseConfig(`vms: [{name: a, qmp: /a}]\nrules: [{name: r, match: {${key}: "*"}, vm: a}]`, "c.yaml").ok;
    expect(["driver", "__proto__", "constructor", "any.driver", ""].filter(accepts)).toEqual(["driver"]);
  });

  it("may begin with a byte order mark and have Windows line ends", () => {
    expect(policyOf("\ufeffvms: []\r\nrules: []\r\n").rules).toEqual([]);
    const broken = parseConfig("\ufeffvms: []\r\nrules: [*x]\r\n", "c.yaml");
    expect(broken).toMatchObject({ ok: false, error: [{ line: 2, column: 9, source: "rules: [*x]" }] });
  });
});

describe("a complaint about a pattern", () => {
  const issueOf = (value: string) => {
    const result = parseConfig(
      `vms: [{name: a, qmp: /a}]\nrules: [{name: r, match: {vendor: ${value}}, vm: a}]`,
      "c",
    );
    return result.ok ? undefined : result.error[0];
  };

  it("points at the character, with and without quotes", () => {
    expect(issueOf("10(e")?.column).toBe(37);
    expect(issueOf('"10(e"')?.column).toBe(38);
    expect(issueOf("[10de, '10(e']")?.column).toBe(45);
  });

  it("points at the value where escapes move its characters", () => {
    expect(issueOf('"\\x310(e"')?.column).toBe(35);
  });
});
