/**
 * Which devices the host needs, and why: pure, over facts that protection-facts.ts gathers. First, conservative part of
 * semantics.md 8: bridges, storage below mounts and swap, network interfaces with a default route, the console's GPU.
 *
 * Facts that could not be read protect every device that they could be about.
 */
import type { PciAddress } from "../core/address.js";
import type { Device } from "../core/device.js";
import { isBridge } from "../core/pci-class.js";
import type { Protection } from "../core/protection.js";

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
