/** What a command tells its caller by its exit status (semantics.md 10). */
import type { HeldReason } from "./held.js";
import type { PlanReport } from "./report.js";

export const EXIT = {
  ok: 0,
  bug: 1,
  held: 2,
  noMatch: 3,
  conflict: 4,
  protected: 5,
  drifted: 6,
  usage: 64,
  unavailable: 69,
  busy: 75,
  notPermitted: 77,
  badFile: 78,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

const severity: Partial<Record<HeldReason["kind"], ExitCode>> = {
  conflict: EXIT.conflict,
  protected: EXIT.protected,
  "iommu-group-unfit": EXIT.protected,
};

/** The exit code of a plan: what stands against it weighs more than what it would do. */
export function exitCodeOfPlan(report: PlanReport): ExitCode {
  const codes = report.held.map((held) => severity[held.reason.kind] ?? EXIT.held);
  if (codes.includes(EXIT.conflict)) {
    return EXIT.conflict;
  }
  if (codes.includes(EXIT.protected)) {
    return EXIT.protected;
  }
  if (codes.length > 0) {
    return EXIT.held;
  }
  const isAllIdle = report.rules.length > 0 && report.rules.every((rule) => rule.matches === 0);
  return isAllIdle && report.steps.length === 0 ? EXIT.noMatch : EXIT.ok;
}
