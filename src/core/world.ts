/**
 * Everything the decisions may know, as one immutable value. Only reduce.ts makes new ones.
 */
import type { PciAddress } from "./address.js";
import type { Device } from "./device.js";
import type { FoundVm } from "./found-vms.js";
import { type Intents, NO_INTENTS } from "./intent.js";
import type { Hold, Lease } from "./lease.js";
import type { RefusalReason } from "./next-move.js";
import type { Policy, SourceName } from "./policy.js";
import type { PortInFlight } from "./ports-in-flight.js";
import type { DmaSafety, Protection } from "./protection.js";
import type { ShunnedPort } from "./shunned-ports.js";
import type { SourceState } from "./signal.js";
import type { Step } from "./step.js";
import type { PlugMode, VmStatus } from "./vm.js";

/** An unplug that was asked for and is not done. QEMU shows no sign of it (facts.md 2.3): we keep it here. */
export interface Unplug {
  readonly vm: string;
  readonly id: string;
  readonly address: PciAddress;
  /** The QEMU process that was asked: another one on the same socket never was. `null` when it was not known. */
  readonly process: string | null;
  readonly mode: PlugMode;
  readonly firstAskedMs: number;
  readonly askedMs: number;
  readonly times: number;
  /** How often this guest was asked: a reset makes it another one. */
  readonly timesSinceReset: number;
  /** Present where QEMU answered that the guest's slot is busy: it can be asked again soon. */
  readonly isBusy?: true;
  /** When the machine was reset to complete it; absent: it was not. */
  readonly resetMs?: number;
}

/** The last time that a machine was reset, by its guest or from outside. */
export interface VmReset {
  readonly atMs: number;
  readonly isByGuest: boolean;
}

/** A state of things that keeps a device from coming, as it was at the refusal. */
export type Awaited =
  /** RLIMIT_MEMLOCK of the VM's process; `null` when unlimited. */
  | { readonly kind: "memory-limit"; readonly bytes: number | null }
  /** Neighbours in the IOMMU group that were on host drivers; at least one. */
  | {
      readonly kind: "sibling-drivers";
      readonly drivers: readonly { readonly address: PciAddress; readonly driver: string }[];
    };

/** A (device, VM) pair that was refused or failed lately. Void when any of what it names has changed. */
export interface Backoff {
  readonly vm: string;
  readonly address: PciAddress;
  readonly appearance: string;
  readonly process: string | null;
  readonly policy: string;
  readonly failures: number;
  /** Why it was refused; `null` when it failed otherwise. */
  readonly reason: RefusalReason | null;
  /** What else ends the rest when it changes; `null`: nothing. */
  readonly waitsOn: Awaited | null;
  /** When to try again; `null`: only after a change. */
  readonly untilMs: number | null;
  readonly detail: string;
}

/** What went wrong with a VM, and when, in the clock of the world. */
export interface VmError {
  readonly atMs: number;
  readonly message: string;
}

/** A file that was not taken; the last good policy stays. */
export interface PolicyRefusal {
  readonly atMs: number;
  readonly reasons: readonly string[];
}

export interface World {
  readonly nowMs: number;
  readonly bootId: string;
  readonly mode: "act" | "observe";
  /** Whether the operator has lifted the detach limit for the policy in force. */
  readonly isDetachConfirmed: boolean;
  readonly policy: Policy | null;
  /** When the policy in force was read, in the clock of the world. */
  readonly policyLoadedMs: number;
  /** Why the file as it is now was refused; `null` when it is the policy in force. */
  readonly policyRefusal: PolicyRefusal | null;
  /** The version of a policy that would lose too many devices, and how many: it does not wear away by small pieces. */
  readonly detachBar: { readonly policy: string; readonly count: number } | null;
  /** Whether the host was looked at since the start. */
  readonly isHostSeen: boolean;
  readonly devices: ReadonlyMap<PciAddress, Device>;
  readonly protections: ReadonlyMap<PciAddress, Protection>;
  readonly dma: DmaSafety;
  /** When the set of devices last changed, in the clock of the world; `null`: it is not waited for. */
  readonly inventoryMovedMs: number | null;
  readonly vms: ReadonlyMap<string, VmStatus>;
  /** VMs at the places that the policy's patterns name; those that the policy in force has no use for count for nothing. */
  readonly foundVms: readonly FoundVm[];
  /** What went wrong last with a VM: it stays when all is well again. */
  readonly vmErrors: ReadonlyMap<string, VmError>;
  readonly leases: ReadonlyMap<PciAddress, Lease>;
  readonly holds: readonly Hold[];
  readonly intents: Intents;
  /** Whether holds were lost with a damaged file: then nothing new is attached (semantics.md 5). */
  readonly areIntentsLost: boolean;
  readonly unplugs: ReadonlyMap<string, Unplug>;
  /** By VM. */
  readonly resets: ReadonlyMap<string, VmReset>;
  readonly backoffs: ReadonlyMap<string, Backoff>;
  /** By VM and port. */
  readonly portsInFlight: ReadonlyMap<string, PortInFlight>;
  /** By VM and port: refused by QEMU although they look free. */
  readonly shunnedPorts: ReadonlyMap<string, ShunnedPort>;
  /** The step each lane is in the middle of. */
  readonly running: ReadonlyMap<string, Step>;
  readonly sources: ReadonlyMap<SourceName, SourceState>;
}

/** Before anything was learnt. */
export const emptyWorld: World = {
  nowMs: 0,
  bootId: "",
  mode: "act",
  isDetachConfirmed: false,
  policy: null,
  policyLoadedMs: 0,
  policyRefusal: null,
  detachBar: null,
  isHostSeen: false,
  devices: new Map(),
  protections: new Map(),
  dma: { weaknesses: [] },
  inventoryMovedMs: null,
  vms: new Map(),
  foundVms: [],
  vmErrors: new Map(),
  leases: new Map(),
  holds: [],
  intents: NO_INTENTS,
  areIntentsLost: false,
  unplugs: new Map(),
  resets: new Map(),
  backoffs: new Map(),
  portsInFlight: new Map(),
  shunnedPorts: new Map(),
  running: new Map(),
  sources: new Map(),
};

/** Key of one device in one VM, for the maps above. */
export function pairKey(vm: string, what: string): string {
  return `${vm}/${what}`;
}

/** What is known of a VM; `unknown` before the first look. */
export function vmStatus(world: World, vm: string): VmStatus {
  return world.vms.get(vm) ?? { kind: "unknown" };
}
