/**
 * What the steps work with: the host's and the VMs' hands, each behind the smallest interface that is needed.
 * Made by compose.ts; the simulation makes its own.
 */
import type { PciAddress } from "../core/address.js";
import type { Lease, OriginalState } from "../core/lease.js";
import type { RefusalReason } from "../core/next-move.js";
import type { Signal } from "../core/signal.js";
import type { Outcome, Placement } from "../core/step.js";
import type { VmStatus } from "../core/vm.js";
import type { World } from "../core/world.js";
import type { HostEye } from "./host-eye.js";
import type { LeaseBook } from "./lease-book.js";

/** What came of one change of the host. `undone`: what was put back on the way. */
export type HostDeed =
  | { readonly kind: "done" }
  | {
      readonly kind: "failed";
      readonly code: string;
      readonly detail: string;
      readonly reason?: RefusalReason;
    }
  | { readonly kind: "stuck"; readonly detail: string };

/** The hands on the host. Each write is announced in the audit, on disk, before it is made. */
export interface HostHands {
  /** What the device is to go back to one day; `null` where that is not known, as on a recorded host. */
  readonly readOriginal: (address: PciAddress) => Promise<OriginalState | null>;
  /** The PCIe device serial number; `null` where the device has none, or it cannot be read. */
  readonly readSerial: (address: PciAddress) => Promise<string | null>;
  readonly bind: (lease: Lease) => Promise<HostDeed>;
  readonly reserveCompanion: (lease: Lease) => Promise<HostDeed>;
  readonly release: (lease: Lease) => Promise<HostDeed>;
  /** The same in the middle of a transaction that failed: goes on even when the audit cannot be written. */
  readonly undo: (lease: Lease) => Promise<HostDeed>;
  /** Owner of an IOMMU group's vfio node. @throws when there is no node. */
  readonly nodeOwner: (iommuGroup: number) => Promise<{ uid: number; gid: number }>;
  readonly giveNode: (iommuGroup: number, uid: number, gid: number) => Promise<HostDeed>;
  /** Lets a process lock that many bytes of memory. */
  readonly raiseMemlock: (
    process: { readonly pid: number; readonly startTicks: string },
    bytes: number,
  ) => Promise<HostDeed>;
  /** Processes that have the IOMMU group open. */
  readonly holders: (iommuGroup: number) => Promise<readonly number[]>;
}

/** The hands on one VM. */
export interface VmHands {
  readonly attach: (placement: Placement) => Promise<Outcome>;
  readonly detach: (id: string, address: PciAddress) => Promise<Outcome>;
  readonly reset: () => Promise<Outcome>;
  readonly look: () => Promise<VmStatus>;
}

/** What a step comes back with: the outcome, and what was seen on the way, oldest first. */
export interface Deed {
  readonly outcome: Outcome;
  readonly seen: readonly Signal[];
  /** What was seen after an outcome that is not known: it tells what became of it. */
  readonly seenAfter?: readonly Signal[];
}

export interface Tools {
  readonly world: () => World;
  readonly now: () => number;
  readonly eye: HostEye;
  readonly leases: LeaseBook;
  readonly host: HostHands;
  readonly vm: (name: string) => VmHands | undefined;
}
