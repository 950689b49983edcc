/** Exit codes of a plan (semantics.md 10). */
import { describe, expect, it } from "vitest";
import { exitCodeOfPlan } from "../../../src/core/exit-code.js";
import type { HeldReason } from "../../../src/core/held.js";
import type { PlanReport } from "../../../src/core/report.js";
import { anAddress } from "../../support/builders.js";

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
    held: reasons.map((kind) => ({ address, vm: "a", rule: "r", reason: { kind, message: "" } })),
    rules: matches.map((count, index) => ({ name: `r${index}`, matches: count })),
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
    ["4 for a conflict, which weighs more than protection", plan(["protected", "conflict", "vm-down"]), 4],
  ])("is %s", (_, report, code) => {
    expect(exitCodeOfPlan(report)).toBe(code);
  });
});
