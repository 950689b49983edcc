/** What a simulated QEMU is started with. */
import type { SimGuestOptions } from "./guest.js";
import type { SimHost } from "./host.js";
import type { SimMachineType, SimPlugMode } from "./topology.js";

/** A port or bridge of the command line. */
export interface SimPort {
  /** Left out: a port without id (facts.md 2.5). */
  readonly id?: string;
  /** Device model; `pcie-root-port` by default. */
  readonly kind?: string;
  /** False as in `hotplug=off`. */
  readonly hotplug?: boolean;
  /** Bus that it sits on; the root bus by default. */
  readonly bus?: string;
  readonly addr?: string;
  readonly multifunction?: boolean;
  readonly chassis?: number;
  /** Bytes, as `mem-reserve` and `pref64-reserve` of a pcie-root-port. */
  readonly "mem-reserve"?: number;
  readonly "pref64-reserve"?: number;
  readonly slot?: number;
}

/** A device of the command line. */
export interface SimColdDevice {
  readonly driver: string;
  readonly id?: string;
  readonly bus?: string;
  readonly addr?: string;
  readonly multifunction?: boolean;
  /** Address on the host, for vfio-pci. */
  readonly host?: string;
}

export interface SimQemuOptions {
  readonly host: SimHost;
  /** At most 107 bytes. */
  readonly socketPath: string;
  /** As `-name`; left out: without. */
  readonly name?: string;
  /** As `-uuid`; left out: all zeros. */
  readonly uuid?: string;
  /** `q35` by default. */
  readonly machine?: SimMachineType;
  /** `acpi` by default; microvm is always native. */
  readonly mode?: SimPlugMode;
  /** The firmware's file; QEMU's own by default. */
  readonly firmware?: string;
  readonly ports?: readonly SimPort[];
  readonly coldDevices?: readonly SimColdDevice[];
  /** Guest memory; 128 MiB by default. */
  readonly memoryBytes?: number;
  /** True as with `-S`: state `prelaunch` until `cont`. */
  readonly isPaused?: boolean;
  /** As with -no-reboot: what would reset the machine ends the process instead. */
  readonly isRebootEnd?: boolean;
  /** As with -no-shutdown: a guest that powers off leaves the process there, in the state `shutdown`. */
  readonly isShutdownKept?: boolean;
  /** A co-operative guest by default. */
  readonly guest?: SimGuestOptions;
  /** User of the process; the one who plays root by default. Others need a simulation run by real root to be given nodes. */
  readonly uid?: number;
  readonly gid?: number;
  /** RLIMIT_MEMLOCK; `null` (unlimited) by default. Void for who plays root. */
  readonly memlockBytes?: number | null;
  /** How long realizing a vfio-pci blocks every monitor, in simulated milliseconds; 0 by default (facts.md 1.2). */
  readonly realizeMs?: number;
  /** Simulated milliseconds per real one; 100 by default. */
  readonly speed?: number;
}
