/** What one VM gets and by which rules, what it is short of, and what stands in its own way. */
import { reportAssignments } from "./assignment-report.js";
import { devicesOf } from "./explain-rule.js";
import type { VmExplanation } from "./explanation.js";
import { describeHeld } from "./held-text.js";
import { OutcomeFinder } from "./outcome-finder.js";
import { planAll } from "./plan.js";
import { vmsOf } from "./policy.js";
import { rankRules } from "./ranking.js";
import { vmObjection } from "./readiness.js";
import { type PlanReport, reportAllHeld, reportStep, reportVm } from "./report.js";
import { reportRules } from "./rule-report.js";
import type { Scene } from "./scene.js";
import { vmStatus } from "./world.js";

/** Explains one VM of the policy in force. */
export function explainVm(scene: Scene, vm: string, source: PlanReport["source"]): VmExplanation {
  const { world } = scene;
  const plan = planAll(world, scene);
  const assignments = reportAssignments(scene).filter((entry) => entry.vm === vm);
  const rules = rulesFor(scene, vm);
  const names = new Set(rules.map(({ name }) => name));
  return {
    schema: "pciplug-explain/1",
    source,
    about: "vm",
    vm: reportVm(world, vm),
    obstacle: source === "offline" ? null : obstacleOf(scene, vm, assignments.length),
    rules,
    assignments,
    held: reportAllHeld(plan.held, source).filter(
      (entry) => entry.vm === vm || (entry.vm === null && entry.rule !== null && names.has(entry.rule)),
    ),
    steps: plan.steps.filter((step) => step.vm === vm).map(reportStep),
  };
}

function obstacleOf({ world, taken }: Scene, vm: string, wanted: number): VmExplanation["obstacle"] {
  const inside = [...taken.values()].filter((occupant) => occupant.vm === vm).length;
  const reason = vmObjection(vm, vmStatus(world, vm), Math.max(0, wanted - inside));
  return reason === null ? null : { kind: reason.kind, message: describeHeld(reason) };
}

/** The rules that may give it something, in the order of who goes first; what they give to others is left out. */
function rulesFor(scene: Scene, vm: string): VmExplanation["rules"] {
  const { policy } = scene.world;
  const finder = new OutcomeFinder(scene);
  const reports = new Map(reportRules(scene).map((report) => [report.name, report]));
  return (policy === null ? [] : rankRules(policy)).flatMap(({ rule }) => {
    const report = reports.get(rule.name);
    if (report === undefined || !vmsOf(rule).includes(vm)) {
      return [];
    }
    const devices = devicesOf(scene, rule, finder).filter(({ outcome }) => [vm, null].includes(outcome.vm));
    return [{ ...report, priority: rule.priority, devices }];
  });
}
