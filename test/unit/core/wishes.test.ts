import { describe, expect, it } from "vitest";
import { DEFAULT_TRAITS, type GroupRule, type SelectRule } from "../../../src/core/policy.js";
import { compileSelector, type RawSelector } from "../../../src/core/selector.js";
import { NO_WISHES, wishesOf } from "../../../src/core/wishes.js";
import { aPolicy, aRule } from "../../support/builders.js";

function compile(raw: RawSelector) {
  const compiled = compileSelector(raw);
  if (!compiled.ok) {
    throw new Error(JSON.stringify(compiled.error));
  }
  return compiled.value;
}

describe("what a policy wishes to know", () => {
  it("is nothing while its rules ask for plain facts", () => {
    expect(wishesOf(aPolicy([]))).toEqual(NO_WISHES);
    expect(wishesOf(aPolicy([aRule("r", { vendor: "10de", not: { driver: "nvme" } }, "a")]))).toEqual(
      NO_WISHES,
    );
  });

  it("is all that its rules ask for, once, also where they nest", () => {
    const rules = [
      aRule("one", { not: { any: [{ sysfs: { b: "1" } }, { when: '"a" in sysfs' }] } }, "a"),
      aRule("two", { sysfs: { a: "1" }, udev: { ID_PATH: "*" } }, "a"),
    ];
    expect(wishesOf(aPolicy(rules))).toEqual({ serial: false, udev: true, attributes: ["a", "b"] });
  });

  it("is what alternatives, named classes and the policy's own lists ask for", () => {
    const match = compile({ vendor: "10de" });
    const select: SelectRule = {
      ...{ ...DEFAULT_TRAITS, name: "s", match, mode: "select", vm: "a", prefer: [] },
      alternatives: [
        { match: null, count: { min: 1, max: 1 } },
        { match: compile({ sysfs: { alternative: "1" } }), count: { min: 1, max: 1 } },
      ],
    };
    const group: GroupRule = {
      ...{ ...DEFAULT_TRAITS, name: "g", match, mode: "group" },
      classify: { kind: "named", classes: [{ name: "x", match: compile({ sysfs: { named: "1" } }) }] },
      to: { kind: "map", vms: new Map([["x", "a"]]) },
    };
    const byKey: GroupRule = { ...group, name: "k", classify: { kind: "key", key: "numaNode" } };
    const policy = aPolicy([select, group, byKey], {
      never: [compile({ sysfs: { never: "1" } })],
      allow: [compile({ sysfs: { allow: "1" } })],
      protect: [compile({ sysfs: { protect: "1" } })],
    });
    expect(wishesOf(policy).attributes).toEqual(["allow", "alternative", "named", "never", "protect"]);
  });

  it.each([
    ["asks for one", aRule("r", { serial: "00-11-*" }, "a")],
    ["asks for one in an expression", aRule("r", { when: 'serial == ""' }, "a")],
    ["pins its cards", aRule("r", { vendor: "10de" }, "a", { isPinned: true })],
    ["follows it", aRule("r", { vendor: "10de" }, "a", { follow: "serial" })],
    ["expects one", aRule("r", { vendor: "10de" }, "a", { expect: { serial: "00-11-22-ff-ff-33-44-55" } })],
  ])("is the serial where a rule %s", (_why, rule) => {
    expect(wishesOf(aPolicy([rule]))).toEqual({ ...NO_WISHES, serial: true });
  });

  it("is no serial where a rule expects other things", () => {
    const rule = aRule("r", { vendor: "10de" }, "a", { expect: { vendor: "10de" } });
    expect(wishesOf(aPolicy([rule])).serial).toBe(false);
  });
});
