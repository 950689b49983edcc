/** The order of the rules. */
import type { Policy, Rule } from "./policy.js";

/** A rule and its place in the order of who goes first: priority, then place in the file (semantics.md 4). */
export interface RankedRule {
  readonly rule: Rule;
  readonly rank: number;
}

/** The order of the rules: higher priority first, then the file's order. */
export function rankRules(policy: Policy): readonly RankedRule[] {
  return policy.rules
    .map((rule, place) => ({ rule, place }))
    .sort((a, b) => b.rule.priority - a.rule.priority || a.place - b.place)
    .map(({ rule }, rank) => ({ rule, rank }));
}
