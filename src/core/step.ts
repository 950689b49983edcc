/**
 * The vocabulary of doing: what a plan consists of and what can come of it.
 * The executor has one function per step kind; a missing one does not compile.
 */
import type { PciAddress } from "./address.js";
import type { LeaseTerms } from "./lease.js";
import type { RefusalReason } from "./next-move.js";

/** One device on its way into one port. */
export interface Placement {
  readonly address: PciAddress;
  /** The QEMU id that it gets: carries our prefix. */
  readonly id: string;
  readonly bus: string;
  /** Slot in hex; with `.function` where several functions share a port. */
  readonly addr: string;
  /** Of function 0 of a card with more functions: QEMU then shows them all to the guest (facts.md 4). */
  readonly isMultifunction?: true;
  /** The rule that gives it to the VM. */
  readonly rule: string;
  /** More properties for device_add, by the rule's wish. */
  readonly properties: Readonly<Record<string, string>>;
}

/** What each kind of step needs to know. */
export interface StepArguments {
  /** Lease all, move all to vfio-pci, verify all; undone in reverse when one fails. */
  readonly bind: {
    readonly vm: string;
    readonly rule: string;
    readonly iommuGroup: number;
    readonly members: readonly PciAddress[];
    /** Driverless neighbours in the IOMMU group: only their override is set (semantics.md 7). */
    readonly companions: readonly PciAddress[];
    /** Neighbours that leave their host driver for vfio-pci as well, and go to no VM. */
    readonly bystanders: readonly PciAddress[];
    /** What the ledger has to remember of each member's rule. */
    readonly terms: Readonly<Record<PciAddress, LeaseTerms>>;
  };
  /** Hand a bound unit to the VM, one device after the other; undone in reverse when one is refused. */
  readonly attach: {
    readonly vm: string;
    /** Those of the devices on their way: one, or several for a card in one port. */
    readonly iommuGroups: readonly number[];
    readonly placements: readonly Placement[];
    /** User that must be able to open the IOMMU groups' nodes; `null` when QEMU's process is not known. */
    readonly nodeOwner: { readonly uid: number; readonly gid: number } | null;
  };
  /** Ask the VM to let go of one device. */
  readonly detach: {
    readonly vm: string;
    readonly id: string;
    readonly address: PciAddress;
    readonly why: string;
    /** The other functions in its port: they leave with it (facts.md 4). Absent where there are none. */
    readonly mates?: readonly { readonly id: string; readonly address: PciAddress }[];
  };
  /** Reset the machine: that completes unplugs that its guest does not answer (the option `resetToComplete`). */
  readonly reset: { readonly vm: string; readonly addresses: readonly PciAddress[]; readonly why: string };
  /** Give a device back to the host, exactly as it was. */
  readonly release: { readonly vm: string; readonly address: PciAddress; readonly why: string };
  /** Close a lease whose card is not there any more: nothing is written to the host. */
  readonly forget: { readonly vm: string; readonly address: PciAddress; readonly why: string };
  /** Keep a device that a VM has let go of from everyone, until somebody clears it. */
  readonly quarantine: { readonly vm: string; readonly address: PciAddress; readonly why: string };
  /** Write down what the rule of a lease says now: the rule may be gone when the device is given back. */
  readonly renew: { readonly vm: string; readonly address: PciAddress; readonly terms: LeaseTerms };
  /** Write down a device of ours that a VM has but the ledger does not. */
  readonly adopt: { readonly vm: string; readonly rule: string; readonly address: PciAddress };
  /** Allow the VM's process to lock the memory that its first device takes (`raiseMemlock` of the VM). */
  readonly "raise-memlock": {
    readonly vm: string;
    /** The devices that wait for it. */
    readonly addresses: readonly PciAddress[];
    readonly process: { readonly pid: number; readonly startTicks: string };
    /** The new limit. */
    readonly bytes: number;
    readonly why: string;
  };
}

export type StepKind = keyof StepArguments;
export type StepOf<K extends StepKind> = { readonly kind: K } & StepArguments[K];
export type Step = { [K in StepKind]: StepOf<K> }[StepKind];

/** What came of a step. */
export type Outcome =
  | { readonly kind: "done"; readonly detail?: string }
  /** An unplug was asked for; the VM has not let go yet. */
  | { readonly kind: "pending" }
  | {
      readonly kind: "refused";
      readonly reason: RefusalReason;
      /** The words of the refusal, as they came. */
      readonly detail: string;
      /** The device whose turn it was, in a step that is about several. */
      readonly at?: PciAddress;
    }
  | { readonly kind: "failed"; readonly code: string; readonly detail: string }
  /** Not known what happened: look again. */
  | { readonly kind: "timed-out"; readonly detail: string }
  | { readonly kind: "cancelled"; readonly detail: string };

/** Every address that a step is about. */
export function addressesOf(step: Step): readonly PciAddress[] {
  switch (step.kind) {
    case "bind":
      return [...step.members, ...step.companions, ...step.bystanders];
    case "attach":
      return step.placements.map((placement) => placement.address);
    case "raise-memlock":
    case "reset":
      return step.addresses;
    case "detach":
    case "release":
    case "forget":
    case "quarantine":
    case "renew":
    case "adopt":
      return [step.address];
  }
}
