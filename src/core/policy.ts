/**
 * What the operator wants: the VMs, the ordered rules, the limits and the watch sources. Made by config/.
 */
import type { Selector } from "./selector.js";

/** A virtual machine of the operator's file. */
export interface VmSpec {
  readonly name: string;
  /** Path of its QMP socket (unix). */
  readonly qmp: string;
}

/** One rule: which devices, how, and for whom. */
export interface Rule {
  readonly name: string;
  readonly match: Selector;
  /** `batch`: every match goes to the VM. */
  readonly mode: "batch";
  readonly vm: string;
}

export interface Limits {
  /** How many attached devices one change of the policy may take from VMs (semantics.md 6). */
  readonly detachPerChange: number;
  /** How long the cards of a vanished VM stay bound for its return, in milliseconds (semantics.md 6, onVmGone). */
  readonly keepAfterVmGoneMs: number;
}

/** The names under which the log says who saw a device first (facts.md 10). */
export const SOURCE_NAMES = ["udevadm", "udev-database", "sysfs-polling", "rescan"] as const;
export type SourceName = (typeof SOURCE_NAMES)[number];

/** Which watch sources are wanted. */
export interface SourceSettings {
  readonly udevadm: boolean;
  readonly udevDatabase: boolean;
  /** `auto`: poll only while no event source is healthy (facts.md 13). */
  readonly sysfsPolling: boolean | "auto";
  /** Period of the full look, in milliseconds; `null` when switched off. */
  readonly rescanMs: number | null;
}

/** The whole of the operator's file, checked. */
export interface Policy {
  readonly vms: readonly VmSpec[];
  readonly rules: readonly Rule[];
  readonly limits: Limits;
  readonly sources: SourceSettings;
  /** Changes whenever the file's meaning may have: a digest of its text. */
  readonly version: string;
}
