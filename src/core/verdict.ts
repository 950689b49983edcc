/**
 * Three-valued answers (semantics.md 3): a question about a fact that is not known has no yes and no no.
 */

/** What a selector, one of its keys or one of its patterns says about a device. */
export type Verdict = "match" | "no-match" | "unknown";

/** OR: one match is enough; without one, a single unknown leaves the question open. */
export function anyOf(verdicts: readonly Verdict[]): Verdict {
  if (verdicts.includes("match")) {
    return "match";
  }
  return verdicts.includes("unknown") ? "unknown" : "no-match";
}

/** AND: one no-match is enough; without one, a single unknown leaves the question open. */
export function allOf(verdicts: readonly Verdict[]): Verdict {
  if (verdicts.includes("no-match")) {
    return "no-match";
  }
  return verdicts.includes("unknown") ? "unknown" : "match";
}

/** NOT: what is not known stays so. */
export function negate(verdict: Verdict): Verdict {
  if (verdict === "unknown") {
    return verdict;
  }
  return verdict === "match" ? "no-match" : "match";
}
