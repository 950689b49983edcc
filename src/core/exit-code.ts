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

const CODES: Partial<Record<HeldReason["kind"], ExitCode>> = {
  conflict: EXIT.conflict,
  protected: EXIT.protected,
  "in-use": EXIT.protected,
  "iommu-group-unfit": EXIT.protected,
  drifted: EXIT.drifted,
  // The operator's own wish, kept; and what a sweeping rule leaves alone by itself.
  "delicate-class": EXIT.ok,
  never: EXIT.ok,
  "not-allowed": EXIT.ok,
  // The device has a place; only this rule has not got it.
  outranked: EXIT.ok,
};

/** The weightiest first. */
const WEIGHTS: readonly ExitCode[] = [EXIT.conflict, EXIT.protected, EXIT.drifted, EXIT.noMatch, EXIT.held];

/** The weightiest of several. */
export function weightiest(codes: readonly ExitCode[]): ExitCode {
  return WEIGHTS.find((code) => codes.includes(code)) ?? EXIT.ok;
}

/** The exit code of one reason not to. */
export function exitCodeOfHeld(kind: HeldReason["kind"]): ExitCode {
  return CODES[kind] ?? EXIT.held;
}

type RuleOutcome = Pick<PlanReport["rules"][number], "matches" | "onNoMatch" | "short">;

/** The exit code of a rule by itself: a rule that must match and does not, or that is short of its minimum. */
export function exitCodeOfRule({ matches, onNoMatch, short }: RuleOutcome): ExitCode {
  if (matches === 0) {
    return onNoMatch === "fail" ? EXIT.noMatch : EXIT.ok;
  }
  return short === undefined ? EXIT.ok : EXIT.held;
}

/** The exit code of a plan, or of a part of one: what stands against it weighs more than what it would do. */
export function exitCodeOfPlan({
  held,
  rules,
  steps,
}: Pick<PlanReport, "steps"> & {
  readonly held: readonly { readonly reason: { readonly kind: HeldReason["kind"] } }[];
  readonly rules: readonly RuleOutcome[];
}): ExitCode {
  const code = weightiest([
    ...held.map(({ reason }) => exitCodeOfHeld(reason.kind)),
    ...rules.map(exitCodeOfRule),
  ]);
  const isAllIdle = rules.length > 0 && rules.every((rule) => rule.matches === 0);
  return code === EXIT.ok && isAllIdle && steps.length === 0 ? EXIT.noMatch : code;
}
