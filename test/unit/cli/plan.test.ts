/** What `pciplug plan` shows a person. */
import { describe, expect, it } from "vitest";
import { renderPlan } from "../../../src/cli/plan.js";
import type { PlanReport } from "../../../src/core/report.js";
import { anAddress } from "../../support/builders.js";

const nothing: PlanReport = {
  schema: "pciplug-plan/1",
  source: "agent",
  steps: [],
  assignments: [],
  held: [],
  rules: [],
};
const rule = { name: "r", mode: "batch", onNoMatch: "wait", matches: 1, got: 1 } as const;
const gpu = anAddress("0000:65:00.0");
const audio = anAddress("0000:65:00.1");

describe("the plan for people", () => {
  it("says so when there is nothing to do", () => {
    expect(renderPlan(nothing)).toEqual(["Nothing to do."]);
  });

  it("shows the steps, who is to have what, what is held and why, then the rules that match nothing", () => {
    const plan: PlanReport = {
      ...nothing,
      steps: [
        { kind: "bind", vm: "b", addresses: [gpu, audio] },
        { kind: "release", vm: "b", addresses: [gpu], why: "no rule of b names it any more" },
      ],
      assignments: [
        { address: gpu, vm: "b", rule: "r" },
        { address: audio, vm: "b", rule: "sound", kept: "sticky" },
      ],
      held: [
        { address: gpu, vm: "b", rule: "r", reason: { kind: "vm-down", message: "b is not running" } },
        {
          address: audio,
          vm: null,
          rule: null,
          reason: { kind: "protected", message: "protected: console" },
        },
      ],
      rules: [
        rule,
        { ...rule, name: "ghost", matches: 0, got: 0 },
        { ...rule, name: "spook", matches: 0, got: 0 },
      ],
    };
    expect(renderPlan(plan)).toEqual([
      "To do:",
      "STEP     DEVICES                    VM  WHY",
      "bind     0000:65:00.0 0000:65:00.1  b",
      "release  0000:65:00.0               b   no rule of b names it any more",
      "",
      "Assigned:",
      "ADDRESS       VM  RULE",
      "0000:65:00.0  b   r",
      "0000:65:00.1  b   sound  kept: sticky",
      "",
      "Held:",
      "ADDRESS       VM  RULE  WHY",
      "0000:65:00.0  b   r     b is not running",
      "0000:65:00.1  -   -     protected: console",
      "",
      "Rules that match nothing on this host: ghost, spook",
    ]);
  });

  it("shows a rule that is short, though no device can be shown for it", () => {
    const short = { needed: 2, found: 0, holders: ["a (rule first)"] };
    expect(renderPlan({ ...nothing, rules: [{ ...rule, mode: "select", got: 0, short }] })).toEqual([
      "Nothing to do.",
      "",
      "Short:",
      "RULE  NEEDS  CAN HAVE  THE OTHERS ARE WITH",
      "r     2      0         a (rule first)",
    ]);
  });

  it("does not say that a rule matches nothing where that is not known", () => {
    const open = { devices: 3, why: ["serial unreadable", "NUMA node not known"] };
    const rules = [
      { ...rule, name: "dim", matches: 0, got: 0, open },
      { ...rule, name: "half", open: { ...open, devices: 1 } },
    ];
    expect(renderPlan({ ...nothing, rules })).toEqual([
      "Nothing to do.",
      "",
      "Rule dim matches nothing for certain; 3 devices could not be judged: serial unreadable, NUMA node",
      "not known",
      "Rule half matches 1 for certain; 1 device could not be judged: serial unreadable, NUMA node not",
      "known",
    ]);
  });

  it("puts many devices that are held for one reason on one line, where that is wanted", () => {
    const reason = { kind: "delicate-class" as const, message: "storage is left alone" };
    const other = { kind: "protected" as const, message: "protected: console" };
    const many = [1, 2, 3, 4].map((bus) => ({
      address: anAddress(`0000:0${bus}:00.0`),
      vm: "b",
      rule: "all",
      reason,
    }));
    const held = [...many, { address: gpu, vm: "b", rule: "all", reason: other }];
    expect(renderPlan({ ...nothing, held }, true)).toEqual([
      "Nothing to do.",
      "",
      "Held:",
      "ADDRESS                  VM  RULE  WHY",
      "0000:01:00.0 and 3 more  b   all   storage is left alone",
      "0000:65:00.0             b   all   protected: console",
      "",
      "Many devices on one line: pciplug plan --all shows each of them.",
    ]);
    expect(renderPlan({ ...nothing, held })).toHaveLength(9);
    expect(renderPlan({ ...nothing, held: held.slice(1) }, true)).toHaveLength(8);
  });

  it("speaks of no steps where nobody could be asked what there is to do", () => {
    expect(renderPlan({ ...nothing, source: "offline" })).toEqual(["No VM is to have any device."]);
    const assignments = [{ address: gpu, vm: "b", rule: "r" }];
    expect(renderPlan({ ...nothing, source: "offline", assignments })[0]).toBe("Assigned:");
  });

  it("breaks long reasons, so that 100 columns are enough", () => {
    const message = "QEMU said this and that and more ".repeat(8).trim();
    const held = [{ address: gpu, vm: "b", rule: "r", reason: { kind: "refused" as const, message } }];
    const lines = renderPlan({ ...nothing, held });
    expect(lines.every((line) => line.length <= 100)).toBe(true);
    expect(lines.join(" ").replaceAll(/ +/g, " ")).toContain(message);
  });

  it("writes out control characters of a reason", () => {
    const reason = { kind: "refused" as const, message: "QEMU said \u001b]0;owned\u0007" };
    const lines = renderPlan({ ...nothing, held: [{ address: gpu, vm: "b", rule: "r", reason }] });
    expect(lines.at(-1)).toBe("0000:65:00.0  b   r     QEMU said \\u001b]0;owned\\u0007");
  });
});
