/**
 * The answers of `explain`, in the shape in which people and programs get them: `pciplug-explain/1`. Data only. A fact
 * that is absent is not known.
 */
import type { PciAddress } from "./address.js";
import type { AssignmentReport } from "./assignment-report.js";
import type { Device } from "./device.js";
import type { KeyReport } from "./explain-keys.js";
import type { Exclusion } from "./findings.js";
import type { Lease } from "./lease.js";
import type { OutcomeReport } from "./outcome.js";
import type { Rule } from "./policy.js";
import type { Protection } from "./protection.js";
import type { HeldReport, PlanReport, StepReport, VmReport } from "./report.js";
import type { RuleReport } from "./rule-report.js";
import type { Verdict } from "./verdict.js";

interface Answer {
  readonly schema: "pciplug-explain/1";
  readonly source: PlanReport["source"];
}

/** What becomes of a device in the end. */
export interface DeviceVerdict {
  /** `spare`: a rule matches it and none needs it; `none`: no rule speaks of it. */
  readonly kind: "assigned" | "held" | "spare" | "none";
  readonly vm: string | null;
  readonly rule: string | null;
  readonly kept?: "sticky";
  /** Why it is held; of an assigned device: what it waits for. */
  readonly reason: HeldReport["reason"] | null;
  readonly message: string;
}

/** One rule, held against one device. */
export interface RuleOnDevice {
  readonly name: string;
  readonly mode: Rule["mode"];
  readonly vms: readonly string[];
  readonly priority: number;
  readonly verdict: Verdict;
  readonly keys: readonly KeyReport[];
  readonly outcome: OutcomeReport;
}

/** One member of an IOMMU group. */
export interface GroupMember {
  readonly address: PciAddress;
  readonly class?: string;
  /** `null`: none. */
  readonly driver?: string | null;
  /** `companion`: driverless, kept from host drivers; `bystander`: bound to vfio-pci and given to nobody. */
  readonly part: "bridge" | "member" | "companion" | "bystander" | "protected" | "held" | "unclaimed";
  readonly vm: string | null;
}

/** What was wanted by hand, learnt or seen of a device, beside the rules. */
export interface DeviceNotes {
  readonly lease: Pick<Lease, "vm" | "rule" | "role"> | null;
  /** The VM that lists it. */
  readonly inVm: { readonly vm: string; readonly id: string | null; readonly ours: boolean } | null;
  /** The VM of an operator's `attach`. */
  readonly order: string | null;
  readonly reservation: {
    readonly vm: string;
    readonly detail: string;
    readonly endsInMs: number | null;
  } | null;
  readonly holds: readonly { readonly vm: string; readonly cause: string; readonly detail: string }[];
  readonly pins: readonly {
    readonly rule: string;
    readonly serial: string | null;
    readonly path: string | null;
  }[];
  readonly quarantine: string | null;
}

export interface DeviceExplanation extends Answer, DeviceNotes {
  readonly about: "device";
  readonly device: Omit<Device, "appearance" | "isRecorded">;
  readonly verdict: DeviceVerdict;
  readonly exclusion: Exclusion | null;
  readonly protection: Protection | null;
  readonly iommuGroup: { readonly number: number; readonly members: readonly GroupMember[] } | null;
  /** In the order of who goes first. */
  readonly rules: readonly RuleOnDevice[];
  /** What would be done with it now. */
  readonly steps: readonly StepReport[];
}

/** A device that a rule speaks of. */
export interface DeviceOfRule {
  readonly address: PciAddress;
  readonly class?: string;
  readonly outcome: OutcomeReport;
}

/** A device that fails on one key only. */
export interface NearMiss {
  readonly address: PciAddress;
  readonly class?: string;
  readonly key: KeyReport;
}

export interface RuleExplanation extends Answer {
  readonly about: "rule";
  readonly rule: RuleReport & Pick<RuleOnDevice, "vms" | "priority">;
  readonly devices: readonly DeviceOfRule[];
  readonly nearMisses: readonly NearMiss[];
}

/** One rule that may give devices to a VM. */
export interface RuleOfVm extends RuleReport {
  readonly priority: number;
  readonly devices: readonly DeviceOfRule[];
}

export interface VmExplanation extends Answer {
  readonly about: "vm";
  readonly vm: VmReport;
  /** What keeps the VM from getting anything now. */
  readonly obstacle: HeldReport["reason"] | null;
  readonly rules: readonly RuleOfVm[];
  readonly assignments: readonly AssignmentReport[];
  readonly held: readonly HeldReport[];
  readonly steps: readonly StepReport[];
}

export type Explanation = DeviceExplanation | VmExplanation | RuleExplanation;
