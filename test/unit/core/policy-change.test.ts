/** What another policy says otherwise, in the words of the audit. */
import { describe, expect, it } from "vitest";
import type { GroupRule, Rule } from "../../../src/core/policy.js";
import { comparePolicies, describeChange } from "../../../src/core/policy-change.js";
import { aPolicy, aRule } from "../../support/builders.js";

const gpus = aRule("gpus", { vendor: "10de" }, "a");
const nics = aRule("nics", { class: "ethernet" }, "b");
const said = (before: readonly Rule[], after: readonly Rule[]) =>
  describeChange(comparePolicies(aPolicy(before), aPolicy(after)));

describe("the change from one policy to another", () => {
  it("names the rules and VMs that came, went and mean something else", () => {
    const wider = aRule("gpus", { vendor: ["10de", "1002"] }, "a");
    const audio = aRule("audio", { class: "audio" }, "c");
    expect(said([gpus, nics], [audio, wider])).toBe(
      "rules: added audio, removed nics, changed gpus; VMs: added c, removed b",
    );
  });

  it("sees a pattern, a trait, a target, an order and a setting", () => {
    expect(said([gpus], [aRule("gpus", { vendor: "10d?" }, "a")])).toBe("rules: changed gpus");
    expect(said([gpus], [{ ...gpus, priority: 1 }])).toBe("rules: changed gpus");
    expect(said([gpus, nics], [nics, gpus])).toMatch(/^rules in another order$/);
    const limits = { detachPerChange: 2, keepAfterVmGoneMs: 60_000 };
    expect(describeChange(comparePolicies(aPolicy([gpus]), aPolicy([gpus], { limits })))).toBe(
      "limits changed",
    );
    const qmp = [{ name: "a", qmp: "/run/elsewhere.sock" }];
    expect(describeChange(comparePolicies(aPolicy([gpus]), aPolicy([gpus], { vms: qmp })))).toBe(
      "VMs: changed a",
    );
  });

  it("sees into what JSON has no words for: maps of classes, and counts without an end", () => {
    const { vm: _, ...base } = gpus;
    const group = (vms: ReadonlyMap<string, string>): GroupRule => ({
      ...base,
      mode: "group",
      classify: { kind: "key", key: "numaNode" },
      to: { kind: "map", vms },
    });
    const one = group(new Map([["0", "a"]]));
    expect(said([one], [group(new Map([["1", "a"]]))])).toBe("rules: changed gpus");
    expect(said([one], [group(new Map([["0", "a"]]))])).toBe("it means the same");
    const select = (max: number): Rule => ({
      ...gpus,
      mode: "select",
      alternatives: [{ match: null, count: { min: 1, max } }],
      prefer: [],
    });
    expect(said([select(4)], [select(Number.POSITIVE_INFINITY)])).toBe("rules: changed gpus");
    expect(said([select(Number.POSITIVE_INFINITY)], [select(Number.NaN)])).toBe("rules: changed gpus");
  });

  it("says so when only the text is another one", () => {
    expect(describeChange(comparePolicies(aPolicy([gpus]), aPolicy([gpus], { version: "v2" })))).toBe(
      "it means the same",
    );
  });
});
