/** Exit codes of a plan (semantics.md 10). */
import { describe, expect, it } from "vitest";
import { exitCodeOfPlan, exitCodeOfRule } from "../../../src/core/exit-code.js";
import type { HeldReason } from "../../../src/core/held.js";
import type { PlanReport } from "../../../src/core/report.js";
import { anAddress } from "../../support/builders.js";

const rule = { name: "r", mode: "select", onNoMatch: "wait", matches: 1, got: 1 } as const;

function plan(
  reasons: readonly HeldReason["kind"][],
  matches: readonly number[] = [1],
  steps: PlanReport["steps"] = [],
): PlanReport {
  const address = anAddress("0000:01:00.0");
  return {
    schema: "pciplug-plan/1",
    source: "agent",
    steps,
    assignments: [],
    held: reasons.map((kind) => ({ address, vm: "a", rule: "r", reason: { kind, message: "" } })),
    rules: matches.map((count, index) => ({ ...rule, name: `r${index}`, matches: count })),
  };
}
const release = { kind: "release", vm: "a", addresses: [anAddress("0000:01:00.0")] } as const;

describe("the exit code of a plan", () => {
  it.each<[string, PlanReport, number]>([
    ["0 when nothing is held", plan([]), 0],
    ["0 when there is something to do and nothing is held", plan([], [1], [release]), 0],
    ["0 when there are no rules at all", plan([], []), 0],
    ["0 when at least one rule matches", plan([], [0, 1]), 0],
    ["3 when no rule matches anything", plan([], [0, 0]), 3],
    ["0 when no rule matches, but what no rule names goes back", plan([], [0], [release]), 0],
    ["2 when a device waits for its moment", plan(["vm-down"]), 2],
    ["2 when a device was refused", plan(["refused"]), 2],
    ["5 for a protected device", plan(["vm-down", "protected"]), 5],
    ["5 for an IOMMU group with a member that may not be taken", plan(["iommu-group-unfit"]), 5],
    ["5 for a device that the host merely uses", plan(["in-use"]), 5],
    ["6 for a card that is not the expected one", plan(["drifted", "vm-down"]), 6],
    ["5 when one is protected and another one drifted", plan(["drifted", "protected"]), 5],
    ["0 for what the operator keeps from every VM", plan(["never", "not-allowed"]), 0],
    ["4 for a conflict, which weighs more than protection", plan(["protected", "conflict", "vm-down"]), 4],
  ])("is %s", (_, report, code) => {
    expect(exitCodeOfPlan(report)).toBe(code);
  });

  it("is 3 when a rule that must match does not, whatever others match or wait for", () => {
    const fail = { ...rule, name: "must", onNoMatch: "fail", matches: 0 } as const;
    expect(exitCodeOfPlan({ ...plan(["vm-down"]), rules: [rule, fail] })).toBe(3);
    expect(exitCodeOfPlan({ ...plan(["drifted"]), rules: [rule, fail] })).toBe(6);
    expect(exitCodeOfPlan({ ...plan([]), rules: [rule, { ...fail, onNoMatch: "warn" }] })).toBe(0);
  });

  it("is 2 when a rule is short of its minimum, though no device is held for it", () => {
    const short = { needed: 2, found: 0, holders: [] };
    expect(exitCodeOfPlan({ ...plan([]), rules: [{ ...rule, short }] })).toBe(2);
    expect(exitCodeOfRule({ ...rule, matches: 0, short })).toBe(0);
  });
});
