/**
 * Every way of "would but may not", as values with what a person needs to know to change it.
 * `kind` is for programs and never changes its meaning; the sentence is for people.
 */
import type { PciAddress } from "./address.js";

/** A member of an IOMMU group that keeps the group from being taken. */
export interface Blocker {
  readonly address: PciAddress;
  readonly driver: string | null;
  /** VM that another rule wants it for; `null` when no rule does. */
  readonly vm: string | null;
}

export type HeldReason =
  // decided by assign: no rule or no VM can change by itself
  | { readonly kind: "protected"; readonly because: string }
  | { readonly kind: "in-use"; readonly because: string }
  | { readonly kind: "never" }
  | { readonly kind: "not-allowed" }
  | {
      readonly kind: "drifted";
      readonly expected: string;
      readonly found: string;
      readonly movedTo: PciAddress | null;
    }
  | { readonly kind: "quarantined"; readonly why: string }
  | { readonly kind: "reserved"; readonly vm: string; readonly detail: string }
  | { readonly kind: "unsafe"; readonly weaknesses: readonly string[] }
  | { readonly kind: "unit-incomplete"; readonly member: PciAddress; readonly why: string }
  | { readonly kind: "outranked"; readonly rule: string; readonly vm: string }
  | { readonly kind: "kept-elsewhere"; readonly vm: string }
  | { readonly kind: "no-class"; readonly class: string }
  | { readonly kind: "settling" }
  | {
      readonly kind: "short";
      readonly needed: number;
      readonly found: number;
      /** Who has what the rule could use. */
      readonly holders: readonly string[];
    }
  | { readonly kind: "delicate-class"; readonly what: string }
  | { readonly kind: "fact-unknown"; readonly keys: readonly string[] }
  | { readonly kind: "conflict"; readonly rules: readonly string[]; readonly vms: readonly string[] }
  | { readonly kind: "no-iommu-group" }
  | {
      readonly kind: "iommu-group-blocked";
      readonly iommuGroup: number;
      readonly blockers: readonly Blocker[];
    }
  | {
      readonly kind: "iommu-group-unfit";
      readonly iommuGroup: number;
      readonly member: PciAddress;
      readonly why: string;
    }
  // decided by plan: the moment is not right
  | { readonly kind: "vm-down"; readonly vm: string; readonly why: string }
  | { readonly kind: "vm-unknown"; readonly vm: string }
  | { readonly kind: "vm-unreachable"; readonly vm: string; readonly why: string }
  | { readonly kind: "vm-not-ready"; readonly vm: string; readonly runState: string }
  /** A migration is under way, or the guest has moved away: hands off. */
  | { readonly kind: "migrating"; readonly vm: string; readonly phase: string }
  | { readonly kind: "no-free-port"; readonly vm: string; readonly needed: number; readonly ports: string }
  /** The port that a rule names cannot be had. */
  | { readonly kind: "port-not-free"; readonly vm: string; readonly port: string; readonly why: string }
  /** No free port has address space for the BARs; `wanted`: the properties with which this port would have. */
  | { readonly kind: "no-room"; readonly vm: string; readonly port: string; readonly wanted: string }
  /** An attach got no answer, and the VM was not looked at since. */
  | { readonly kind: "outcome-unknown"; readonly vm: string; readonly port: string }
  | {
      readonly kind: "memlock";
      readonly vm: string;
      readonly limitBytes: number;
      readonly neededBytes: number;
    }
  | { readonly kind: "process-unknown"; readonly vm: string }
  | {
      readonly kind: "node-access";
      readonly vm: string;
      /** QEMU's user; `null` while its process is not known. */
      readonly uid: number | null;
      readonly iommuGroup: number;
      readonly detail: string;
    }
  /** Somebody has the IOMMU group open who is not asked to let go of it. */
  | { readonly kind: "group-busy"; readonly iommuGroup: number; readonly detail: string }
  | {
      readonly kind: "group-not-viable";
      readonly iommuGroup: number;
      readonly siblings: readonly { readonly address: PciAddress; readonly driver: string }[];
    }
  | { readonly kind: "foreign"; readonly vm: string; readonly id: string | null }
  | { readonly kind: "leased-elsewhere"; readonly vm: string }
  | { readonly kind: "in-vm-elsewhere"; readonly vm: string }
  /** Another member of its IOMMU group is still in that VM. */
  | { readonly kind: "iommu-group-in-vm"; readonly vm: string; readonly member: PciAddress }
  | { readonly kind: "hold"; readonly cause: "ejected-by-guest" | "driver-changed"; readonly detail: string }
  | {
      readonly kind: "backing-off";
      readonly untilMs: number;
      readonly failures: number;
      readonly detail: string;
    }
  | { readonly kind: "refused"; readonly detail: string }
  | { readonly kind: "intents-lost" }
  | { readonly kind: "unplug-pending"; readonly vm: string; readonly times: number; readonly sinceMs: number }
  /** The same for longer than a guest takes that co-operates; it is asked again and again. */
  | {
      readonly kind: "unplug-overdue";
      readonly vm: string;
      readonly times: number;
      readonly sinceMs: number;
      /** When it was asked last. */
      readonly askedMs: number;
      /** Where the guest does not run, and so cannot answer. */
      readonly runState?: string;
    }
  /** It shares a port with functions that stay: a VM lets go of a card only whole. */
  | { readonly kind: "card-stays"; readonly vm: string; readonly staying: readonly PciAddress[] }
  | { readonly kind: "cannot-unplug"; readonly vm: string; readonly id: string | null }
  | { readonly kind: "detach-limit"; readonly count: number; readonly limit: number }
  | { readonly kind: "vm-missing"; readonly vm: string }
  | { readonly kind: "kept-without-rule"; readonly vm: string; readonly rule: string };

/** One device that waits, for whom, by which rule, and why. */
export interface Held {
  readonly address: PciAddress;
  readonly vm: string | null;
  readonly rule: string | null;
  readonly reason: HeldReason;
}
