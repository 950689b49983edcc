/**
 * The one front door: everything that can be learnt, in the words of the domain.
 * An event only means "look again"; what comes in here is what the look has shown.
 */
import type { PciAddress } from "./address.js";
import type { Device } from "./device.js";
import type { FoundVm } from "./found-vms.js";
import type { Intents, Quarantine } from "./intent.js";
import type { Hold, Lease } from "./lease.js";
import type { Policy, SourceName } from "./policy.js";
import type { DmaSafety, Protection } from "./protection.js";
import type { Outcome, Step } from "./step.js";
import type { VmStatus } from "./vm.js";

/** State of one watch source. */
export interface SourceState {
  readonly kind: "up" | "missing" | "off";
  readonly detail: string;
}

export type Signal =
  /** The agent starts: who we are in this boot. */
  | {
      readonly kind: "start";
      readonly atMs: number;
      readonly bootId: string;
      readonly mode: "act" | "observe";
      /** Lifts the detach limit for the policy that is in force at the start. */
      readonly isDetachConfirmed: boolean;
    }
  | { readonly kind: "policy-loaded"; readonly atMs: number; readonly policy: Policy }
  /** The file as it is now is no policy: the last good one stays. One sentence for each complaint. */
  | { readonly kind: "policy-refused"; readonly atMs: number; readonly reasons: readonly string[] }
  /** The operator means what this version of the policy takes from VMs (semantics.md 6). */
  | { readonly kind: "detach-confirmed"; readonly policy: string }
  /** The file may be another one, or somebody asks: read it again. */
  | { readonly kind: "reload-wanted"; readonly by: "file" | "signal" }
  /** Something happened on the host: look again. */
  | { readonly kind: "look-wanted"; readonly source: SourceName }
  /** A whole look at the host's devices. */
  | {
      readonly kind: "host-seen";
      readonly atMs: number;
      /** Which source called for this look first. */
      readonly source: SourceName | "start" | "step" | "policy";
      readonly devices: readonly Device[];
      /** Devices that the host needs, and why. */
      readonly protections: ReadonlyMap<PciAddress, Protection>;
      readonly dma: DmaSafety;
    }
  | { readonly kind: "source-changed"; readonly name: SourceName; readonly state: SourceState }
  /** Which VMs there are at the places that the policy's patterns name: all of them, each time. */
  | { readonly kind: "vms-found"; readonly found: readonly FoundVm[] }
  | { readonly kind: "vm-seen"; readonly atMs: number; readonly vm: string; readonly status: VmStatus }
  /** DEVICE_DELETED: QEMU has let go of a device. */
  | { readonly kind: "device-deleted"; readonly atMs: number; readonly vm: string; readonly id: string }
  /** RESET: the machine was reset, by its guest (a reboot) or from outside. Comes up to three times for one. */
  | { readonly kind: "vm-reset"; readonly atMs: number; readonly vm: string; readonly isByGuest: boolean }
  | { readonly kind: "leases-written"; readonly leases: readonly Lease[] }
  /** The intents file as it was found. `isDamaged`: some were lost, and nobody has accepted that yet. */
  | {
      readonly kind: "intents-read";
      readonly holds: readonly Hold[];
      readonly intents: Intents;
      readonly isDamaged: boolean;
    }
  /** A device is kept from everyone from now on. */
  | { readonly kind: "quarantine-made"; readonly quarantine: Quarantine }
  /** Somebody has looked at a device in quarantine, and it may go back to the host. */
  | { readonly kind: "quarantine-cleared"; readonly atMs: number; readonly address: PciAddress }
  | { readonly kind: "step-started"; readonly atMs: number; readonly lane: string; readonly step: Step }
  | {
      readonly kind: "step-ended";
      readonly atMs: number;
      readonly lane: string;
      readonly step: Step;
      readonly outcome: Outcome;
    }
  /** The policy in force would take more from VMs than is allowed: this stays so until it is confirmed or replaced. */
  | { readonly kind: "detach-barred"; readonly policy: string; readonly count: number }
  | { readonly kind: "tick"; readonly atMs: number };
