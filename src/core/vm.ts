/**
 * One VM as seen through QMP: what qemu/ reports and the decisions read. Data only.
 */
import type { PciAddress } from "./address.js";

/** How a hot-pluggable bus tells the guest: by ACPI, or natively by pciehp/SHPC (facts.md 2.1 step 4). */
export type PlugMode = "acpi" | "native" | "unknown";

export type PortState =
  | { readonly kind: "free" }
  | { readonly kind: "plugged"; readonly by: readonly string[] }
  | { readonly kind: "unusable"; readonly reason: string };

/** A place in a VM where a card can be plugged. */
export interface Port {
  /** Bus name: the `bus` argument of device_add. */
  readonly bus: string;
  /** QOM path of the bus. */
  readonly path: string;
  /** QOM type of the port, such as `pcie-root-port`. */
  readonly type: string;
  readonly mode: PlugMode;
  readonly state: PortState;
  /** The slot in hex, as `addr` of device_add begins: always given (facts.md 1). */
  readonly addr: string;
  /** Address space that the port was started with; absent for what has no such properties. */
  readonly reserve?: PortReserve;
}

/** A port's properties `mem-reserve` and `pref64-reserve`, in bytes; `null`: not set, the firmware decides. */
export interface PortReserve {
  readonly memory: number | null;
  readonly prefetchable: number | null;
}

/** A vfio-pci device found in a VM. */
export interface Attached {
  /** QOM path of the device. */
  readonly path: string;
  /** QEMU id; `null` for a device without one. */
  readonly id: string | null;
  /** The host's address, from `sysfsdev`; `null` where it names no PCI address. */
  readonly address: PciAddress | null;
  /** Name of the bus that it sits on. */
  readonly bus: string | null;
  /** Slot times eight plus function; `null` where QEMU did not say. */
  readonly devfn: number | null;
  readonly mode: PlugMode;
  /** Memory BARs that the guest left without an address though another has one: it found no room (facts.md 2.2). */
  readonly unassignedBars?: readonly number[];
  /**
   * True: certain, the guest has given it addresses. False: not (yet), which is no failure: a guest may have no driver for
   * it, or not be up. Absent: it cannot be told (facts.md 2.2).
   */
  readonly isInUse?: boolean;
  /** False for `vfio-pci-nohotplug` and for ports that cannot hot-plug. */
  readonly canUnplug: boolean;
}

/** The QEMU process behind a QMP socket, from /proc (facts.md 7 and 8). */
export interface VmProcess {
  readonly pid: number;
  /** Start time in clock ticks since boot (field 22 of /proc/PID/stat): with the pid, the process's identity. */
  readonly startTicks: string;
  readonly uid: number;
  readonly gid: number;
  /** RLIMIT_MEMLOCK in bytes; `null` when unlimited. */
  readonly memlockBytes: number | null;
  /** Whether CAP_IPC_LOCK makes the limit void. */
  readonly canLockAnyMemory: boolean;
  /** The program that it runs, from /proc/PID/exe; `null` when it cannot be read. */
  readonly executable: string | null;
  /** Its cgroup in the unified hierarchy, such as `/system.slice/microvm@a.service`; `null` when there is none. */
  readonly cgroup: string | null;
}

/** A VM that answers. */
export interface VmView {
  /** QEMU's run state: `running`, `paused`, `prelaunch`, `inmigrate`, ... */
  readonly runState: string;
  /** QEMU's word for a migration that is under way, such as `active`; absent while there is none. */
  readonly migration?: string;
  /** QOM type of the machine, such as `pc-q35-7.2-machine`. */
  readonly machine: string;
  /** Whether QEMU's own firmware (SeaBIOS) starts the guest; what others give to ports is not known. */
  readonly hasOwnFirmware: boolean;
  /** Guest memory in bytes; `null` when QEMU did not say. */
  readonly memoryBytes: number | null;
  readonly ports: readonly Port[];
  readonly attached: readonly Attached[];
  /** `null` when the process could not be found. */
  readonly process: VmProcess | null;
}

/** What is known of a VM at this moment. */
export type VmStatus =
  /** Not looked at yet. */
  | { readonly kind: "unknown" }
  /** No process behind the socket (ENOENT, ECONNREFUSED): what it held is free (facts.md 7). */
  | { readonly kind: "absent"; readonly sinceMs: number; readonly reason: string }
  /** Something is there but cannot be spoken to: what it holds is unknown, so nothing of it is touched. */
  | { readonly kind: "unreachable"; readonly code: string; readonly reason: string }
  | { readonly kind: "up"; readonly view: VmView };

/** Text that tells one QEMU process from the next one on the same socket; `null` when it could not be found. */
export function processKey(process: VmProcess | null): string | null {
  return process === null ? null : `${process.pid}:${process.startTicks}`;
}

/** Run states that are a migration's: of a guest that comes, of one that goes, and of one that has gone. */
const MIGRATING_STATES: ReadonlySet<string> = new Set(["inmigrate", "finish-migrate", "postmigrate", "colo"]);

/**
 * The word for what keeps every hand off a VM while its guest moves: QEMU refuses to plug and unplug then, and what was
 * plugged into one end of it would be missing at the other; `null` while no migration is under way.
 */
export function migrationPhase({
  runState,
  migration,
}: Pick<VmView, "runState" | "migration">): string | null {
  return migration ?? (MIGRATING_STATES.has(runState) ? runState : null);
}

/**
 * Run states in which a device may be plugged or unplugged (facts.md 1 and 3). In `paused` and `prelaunch` the guest
 * answers once it runs. In the others nobody does: a guest that is off (`shutdown`), states of QEMU's own.
 */
const PLUGGABLE_STATES: ReadonlySet<string> = new Set(["running", "paused", "prelaunch", "suspended"]);

/** Whether devices may be moved while the VM is in this run state. */
export function isPluggableState(runState: string): boolean {
  return PLUGGABLE_STATES.has(runState);
}

/** What tells one port of a VM from the others. */
export function portKey(port: Pick<Port, "bus" | "addr">): string {
  return `${port.bus} ${slotText(port.addr)}`;
}

/** The port that a device sits in, as {@link portKey} writes it; `null` where that is not known. */
export function portKeyOf(entry: Pick<Attached, "bus" | "devfn">): string | null {
  return entry.bus === null || entry.devfn === null
    ? null
    : portKey({ bus: entry.bus, addr: (entry.devfn >> 3).toString(16) });
}

/** The slot of an `addr` such as `1f` or `0.1`. */
function slotText(addr: string): string {
  return addr.split(".")[0] ?? addr;
}
