/** Where on a bus a new device goes, and QEMU's refusals about it (hw/pci/pci.c, facts.md 1 and 4). Pure. */
import { functionOfDevfn, type SimBus, type SimDevice, slotOfDevfn } from "./qemu-device.js";
import { fault, type SimReply } from "./reply.js";

const SLOTS = 32;
const ADDR = /^(?:0x)?([0-9a-f]{1,2})(?:\.(?:0x)?([0-7]))?$/i;

/** What is to be placed. */
export interface Newcomer {
  readonly driver: string;
  readonly isMultifunction: boolean;
  readonly isHotplugged: boolean;
}

/** Reads `addr`: slot in hex, optionally `.function`. A JSON number is read as its decimal digits would be. */
function parseDevfn(addr: unknown): number | undefined {
  const match = ADDR.exec(String(addr));
  const slot = Number.parseInt(match?.[1] ?? "", 16);
  if (match === null || slot >= SLOTS) {
    return undefined;
  }
  return slot * 8 + Number(match[2] ?? 0);
}

/** Finds the place of a newcomer: its devfn, or QEMU's refusal. */
export function placeOn(bus: SimBus, newcomer: Newcomer, addr: unknown): number | SimReply {
  if (addr === undefined) {
    return (
      firstFree(bus) ??
      fault(`PCI: no slot/function available for ${newcomer.driver}, all in use or reserved`)
    );
  }
  const devfn = parseDevfn(addr);
  if (devfn === undefined) {
    return fault(`Property '${newcomer.driver}.addr' doesn't take value '${String(addr)}'`);
  }
  return refusal(bus, newcomer, devfn) ?? devfn;
}

function firstFree(bus: SimBus): number | undefined {
  for (let slot = bus.firstSlot; slot < SLOTS; slot += 1) {
    if (!bus.reservedSlots.has(slot) && !bus.occupants.has(slot * 8)) {
      return slot * 8;
    }
  }
  return undefined;
}

function refusal(bus: SimBus, newcomer: Newcomer, devfn: number): SimReply | undefined {
  const slot = slotOfDevfn(devfn);
  const fn = functionOfDevfn(devfn);
  if (newcomer.isHotplugged && slot < bus.firstSlot) {
    return fault("Unsupported PCI slot 0 for standard hotplug controller. Valid slots are between 1 and 31.");
  }
  const present = bus.occupants.get(devfn);
  if (present !== undefined || bus.reservedSlots.has(slot)) {
    return fault(
      `PCI: slot ${slot} function ${fn} not available for ${newcomer.driver}, in use by ${nameOf(present)}`,
    );
  }
  const first = bus.occupants.get(slot * 8);
  if (newcomer.isHotplugged && fn !== 0 && first !== undefined) {
    return fault(
      `PCI: slot ${slot} function 0 already occupied by ${first.driver}, new func ${newcomer.driver} cannot be exposed to guest.`,
    );
  }
  return fn === 0 && !newcomer.isMultifunction ? singleFunctionRefusal(bus, slot) : undefined;
}

function singleFunctionRefusal(bus: SimBus, slot: number): SimReply | undefined {
  const populated = [1, 2, 3, 4, 5, 6, 7].find((fn) => bus.occupants.has(slot * 8 + fn));
  const place = slot.toString(16);
  return populated === undefined
    ? undefined
    : fault(`PCI: ${place}.0 indicates single function, but ${place}.${populated} is already populated.`);
}

function nameOf(device: SimDevice | undefined): string {
  return device === undefined ? "the chipset" : `${device.driver},id=${device.id ?? "(null)"}`;
}
