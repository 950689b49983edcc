/** What a rule matches, in the words that all commands share. Each goes behind the rule's name. */
import { describeOpen } from "../core/open-question.js";
import type { RuleReport } from "../core/rule-report.js";

type Counts = Pick<RuleReport, "matches" | "open">;

/** `matches 4`, `matches nothing on this host`, and what could not be judged and why. */
export function describeMatches(rule: Counts): string {
  return `${certainly(rule)}${openly(rule)}`;
}

/** The same, with how many devices it gives to VMs. */
export function describeCounts(rule: Counts & Pick<RuleReport, "got">): string {
  return `${certainly(rule)}, gives ${rule.got}${openly(rule)}`;
}

function certainly({ matches, open }: Counts): string {
  if (open === undefined) {
    return matches === 0 ? "matches nothing on this host" : `matches ${matches}`;
  }
  return `matches ${matches === 0 ? "nothing" : matches} for certain`;
}

function openly({ open }: Counts): string {
  return open === undefined ? "" : `; ${describeOpen(open.devices, open.why)}`;
}
