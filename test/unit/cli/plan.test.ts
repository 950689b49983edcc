/** What `pciplug plan` shows a person. */
import { describe, expect, it } from "vitest";
import { renderPlan } from "../../../src/cli/plan.js";
import type { PlanReport } from "../../../src/core/report.js";
import { anAddress } from "../../support/builders.js";

const nothing: PlanReport = { schema: "pciplug-plan/1", source: "agent", steps: [], held: [], rules: [] };
const gpu = anAddress("0000:65:00.0");
const audio = anAddress("0000:65:00.1");

describe("the plan for people", () => {
  it("says so when there is nothing to do", () => {
    expect(renderPlan(nothing)).toEqual(["Nothing to do."]);
  });

  it("shows the steps, then what is held and why, then the rules that match nothing", () => {
    const plan: PlanReport = {
      ...nothing,
      steps: [
        { kind: "bind", vm: "b", addresses: [gpu, audio] },
        { kind: "release", vm: "b", addresses: [gpu], why: "no rule of b names it any more" },
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
        { name: "r", matches: 1 },
        { name: "ghost", matches: 0 },
        { name: "spook", matches: 0 },
      ],
    };
    expect(renderPlan(plan)).toEqual([
      "To do:",
      "STEP     DEVICES                    VM  WHY",
      "bind     0000:65:00.0 0000:65:00.1  b",
      "release  0000:65:00.0               b   no rule of b names it any more",
      "",
      "Held:",
      "ADDRESS       VM  RULE  WHY",
      "0000:65:00.0  b   r     b is not running",
      "0000:65:00.1  -   -     protected: console",
      "",
      "Rules that match nothing on this host: ghost, spook",
    ]);
  });

  it("writes out control characters of a reason", () => {
    const reason = { kind: "refused" as const, message: "QEMU said \u001b]0;owned\u0007" };
    const lines = renderPlan({ ...nothing, held: [{ address: gpu, vm: "b", rule: "r", reason }] });
    expect(lines.at(-1)).toBe("0000:65:00.0  b   r     QEMU said \\u001b]0;owned\\u0007");
  });
});
