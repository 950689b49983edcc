/**
 * Which devices the host needs, and why: the verdict of semantics.md 8, pure over facts that host/ gathers.
 *
 * Facts that could not be read protect every device that they could be about.
 */
import type { PciAddress } from "./address.js";
import type { Device } from "./device.js";
import { isBridge } from "./pci-class.js";

/** Why a device is not simply taken. */
export interface Protection {
  /** For people, completing "protected: ". */
  readonly because: string;
  /** `hard`: the host stands on it. `soft`: it is in use, and a rule may say `takeConfigured: true`. */
  readonly level: "hard" | "soft";
  /** False: no override ever lifts it (bridges, what the root file system or the agent's own state stands on). */
  readonly isLiftable: boolean;
}

/** How well the host keeps a device's DMA and interrupts inside its VM. */
export interface DmaSafety {
  /** Each a sentence about what is weak, such as `allow_unsafe_interrupts is on`; empty on a sound host. */
  readonly weaknesses: readonly string[];
}

/** What a fact can be about. */
export type Area = "storage" | "network" | "console";

export interface ProtectionFacts {
  /** Devices that something leads to which the host stands on. */
  readonly needed: readonly { readonly address: PciAddress; readonly because: string }[];
  /** What could not be found out. */
  readonly unknown: readonly { readonly area: Area; readonly detail: string }[];
  /** Whether the kernel's console is on a screen. */
  readonly isConsoleOnScreen: boolean;
}

/** Base classes that carry nothing of the area. Any other device may: USB, virtio and unknown classes above all. */
const INNOCENT: Readonly<Record<Area, ReadonlySet<string>>> = {
  storage: new Set(["02", "03", "04", "0b", "12", "40"]),
  network: new Set(["01", "03", "04", "0b", "12", "40"]),
  console: new Set(["01", "02", "04", "0b"]),
};

/** Address -> because, for every protected device. */
export function protect(
  devices: readonly Device[],
  facts: ProtectionFacts,
): ReadonlyMap<PciAddress, Protection> {
  const needed = new Map(facts.needed.map(({ address, because }) => [address, because]));
  const protections = new Map<PciAddress, string>();
  for (const device of devices) {
    const because = needed.get(device.address) ?? becauseOf(device, facts);
    if (because !== undefined) {
      protections.set(device.address, because);
    }
  }
  for (const { address, physfn } of devices) {
    // Taking a PF from its driver takes its VFs from whoever has them.
    if (typeof physfn === "string" && !protections.has(physfn)) {
      const because = protections.get(address);
      protections.set(
        physfn,
        because === undefined ? `it has the VF ${address}` : `its VF ${address}: ${because}`,
      );
    }
  }
  return new Map(
    [...protections].map(([address, because]) => [address, { because, level: "hard", isLiftable: false }]),
  );
}

function becauseOf(device: Device, facts: ProtectionFacts): string | undefined {
  if (device.class !== undefined && isBridge(device.class)) {
    return "it is a bridge";
  }
  if (device.bootVga === true && facts.isConsoleOnScreen) {
    return "it shows the active console";
  }
  const base = device.class?.slice(0, 2) ?? "";
  return facts.unknown.find(({ area }) => !INNOCENT[area].has(base))?.detail;
}
