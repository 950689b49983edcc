/** What assign finds out on its way, for those who tell who waits, who stays, and why. */
import type { PciAddress } from "./address.js";
import type { ExactClaims, ExactVerdict } from "./exact-claims.js";
import type { Findings } from "./findings.js";
import type { GroupDecision } from "./groups.js";
import type { HeldReason } from "./held.js";
import type { Selection } from "./selection.js";
import type { Situation } from "./situation.js";

/** A select rule that cannot have its minimum. */
export interface Shortage {
  readonly rule: string;
  readonly vm: string;
  readonly needed: number;
  readonly found: number;
  /** VMs (and the rules that gave it to them) that have what the rule could use. */
  readonly holders: readonly string[];
}

export interface AssignParts {
  readonly situation: Situation;
  readonly findings: Findings;
  readonly exact: ExactClaims;
  readonly verdicts: ReadonlyMap<PciAddress, ExactVerdict>;
  readonly selections: readonly Selection[];
  /** Units that select rules may not have after all, with the reason of their IOMMU group. */
  readonly forbidden: ReadonlyMap<string, HeldReason>;
  readonly decision: GroupDecision;
  readonly shortages: readonly Shortage[];
}
