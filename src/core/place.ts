/** Where a device hangs, told without the bus numbers that firmware and hot-plug may change. */
import { addressParts, type PciAddress } from "./address.js";

/** Every field as in {@link Device}. */
export interface Place {
  readonly parent: PciAddress | null;
  /** Domain and bus, such as `0000:00`. */
  readonly rootBus: string;
  readonly root: PciAddress | null;
  readonly path: string;
}

/**
 * The place of the last device of a chain: the bridges below the root bus, outermost first, then the device itself.
 *
 * A VF hangs below the bridge of its PF, but may have a later bus number, and there the device and function of another
 * one (kernel: drivers/pci/iov.c, pci_iov_virtfn_bus). Its last step then begins with the distance: `1+00.0`.
 */
export function placeBelow(
  rootBus: string,
  chain: readonly PciAddress[],
  physfn: PciAddress | null = null,
): Place {
  const last = chain.at(-1);
  const steps = chain.map((address) => address.slice(-"00.0".length));
  const distance = last === undefined || physfn === null ? 0 : busOf(last) - busOf(physfn);
  if (distance > 0) {
    steps.push(`${distance}+${steps.pop() ?? ""}`);
  }
  return {
    parent: chain.at(-2) ?? null,
    rootBus,
    root: chain.length > 1 ? (chain[0] ?? null) : null,
    path: [rootBus, ...steps].join("/"),
  };
}

function busOf(address: PciAddress): number {
  return addressParts(address).bus;
}
