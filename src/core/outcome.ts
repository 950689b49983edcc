/** What one rule's say about one device came to: every way, as values, and as sentences. */
import type { PciAddress } from "./address.js";
import type { HeldReason } from "./held.js";
import { describeHeld } from "./held-text.js";

export type Outcome =
  /** The rule gives the device to the VM. */
  | { readonly kind: "takes"; readonly vm: string }
  /** The VM gets it all the same, by another rule. */
  | { readonly kind: "given"; readonly vm: string; readonly rule: string }
  /** The rule wants it and may not or cannot have it. */
  | { readonly kind: "held"; readonly vm: string | null; readonly reason: HeldReason }
  /** A select rule that has enough, or cannot use it; `why` is the whole sentence. */
  | { readonly kind: "spare"; readonly vm: string; readonly why: string }
  /** The rule says nothing while its VM is down. */
  | { readonly kind: "silent"; readonly vm: string }
  /** The rule asks for a fact that is not known. */
  | { readonly kind: "unknown"; readonly keys: readonly string[] }
  | { readonly kind: "no-match"; readonly keys: readonly string[] };

/** An outcome as it is told. */
export interface OutcomeReport {
  readonly kind: Outcome["kind"];
  readonly vm: string | null;
  /** Of `held`: for programs. */
  readonly reason: HeldReason["kind"] | null;
  readonly message: string;
}

/** An outcome in its sentence. */
export function reportOutcome(outcome: Outcome): OutcomeReport {
  return {
    kind: outcome.kind,
    vm: "vm" in outcome ? outcome.vm : null,
    reason: outcome.kind === "held" ? outcome.reason.kind : null,
    message: describeOutcome(outcome),
  };
}

function describeOutcome(outcome: Outcome): string {
  switch (outcome.kind) {
    case "takes":
      return `gives it to ${outcome.vm}`;
    case "given":
      return `${outcome.vm} has it by rule ${outcome.rule}`;
    case "held":
      return describeHeld(outcome.reason);
    case "spare":
      return outcome.why;
    case "silent":
      return `says nothing while ${outcome.vm} is down (whenDown: next)`;
    case "unknown":
      return `not known on this host: ${outcome.keys.join(", ")}`;
    case "no-match":
      return `does not match: ${outcome.keys.join(", ")}`;
  }
}

/** Addresses as part of a sentence: a few of them, and how many more. */
export function listed(addresses: readonly PciAddress[], most = 4): string {
  const shown = addresses.slice(0, most).join(", ");
  return addresses.length > most ? `${shown} and ${addresses.length - most} more` : shown;
}
