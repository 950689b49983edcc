/**
 * Names of the physical slots: what is printed on the machine. They come and go with slot drivers (pciehp, acpiphp),
 * so they are read at every look: a few dozen small files that never block.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type PciAddress, slotOf } from "../core/address.js";
import { readTextIfAny } from "./device-facts.js";
import type { HostRoot } from "./root.js";

/** Name by domain, bus and device, or by domain and bus where the slot stands for a whole bus. */
export type SlotNames = ReadonlyMap<string, string>;

/** The slots of a host; `undefined` where sysfs shows no such folder. */
export function readSlotNames(root: HostRoot): SlotNames | undefined {
  const names = namesIn(root.slots());
  if (names === undefined) {
    return undefined;
  }
  const slots = new Map<string, string>();
  // Two drivers may register one slot, the second as `8-1`: the shorter name is the printed one.
  for (const name of names.sort((a, b) => a.length - b.length || (a < b ? -1 : 1))) {
    const place = readTextIfAny(join(root.slots(), name, "address"))?.toLowerCase();
    if (place !== undefined && !slots.has(place)) {
      slots.set(place, name);
    }
  }
  return slots;
}

/** The slot that a device is in; `null` where none is known for its place. */
export function slotNameOf(names: SlotNames, address: PciAddress): string | null {
  const slot = slotOf(address);
  return names.get(slot) ?? names.get(slot.slice(0, -":00".length)) ?? null;
}

function namesIn(path: string): string[] | undefined {
  try {
    return readdirSync(path);
  } catch {
    return undefined;
  }
}
