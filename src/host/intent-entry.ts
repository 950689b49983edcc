/** Checks of what is read back from the intents file: a text from disk becomes an intent only whole. */
import type { Order, Pin, PortPreference, Quarantine, Reservation } from "../core/intent.js";
import { addressIn, areTexts, isTextOrNull, parseIdentity } from "./state-entry.js";
import { asRecord } from "./state-file.js";

/** A pin from disk; `undefined` when anything about it is not as it should be. */
export function parsePin(value: unknown): Pin | undefined {
  const entry = asRecord(value);
  const address = addressIn(entry?.["address"]);
  const identity = parseIdentity(entry?.["identity"]);
  const { rule, path, serial } = entry ?? {};
  return address !== undefined &&
    identity !== undefined &&
    typeof rule === "string" &&
    isTextOrNull(path) &&
    isTextOrNull(serial)
    ? { rule, address, path, serial, identity }
    : undefined;
}

/** A reservation from disk. */
export function parseReservation(value: unknown): Reservation | undefined {
  const entry = asRecord(value);
  const address = addressIn(entry?.["address"]);
  const { vm, untilMs, detail } = entry ?? {};
  return address !== undefined && areTexts(vm, detail) && (untilMs === null || typeof untilMs === "number")
    ? { address, vm: String(vm), untilMs, detail: String(detail) }
    : undefined;
}

/** An operator's order from disk. */
export function parseOrder(value: unknown): Order | undefined {
  const entry = asRecord(value);
  const address = addressIn(entry?.["address"]);
  const { vm, atMs } = entry ?? {};
  return address !== undefined && typeof vm === "string" && typeof atMs === "number"
    ? { address, vm, atMs }
    : undefined;
}

/** A quarantine from disk. */
export function parseQuarantine(value: unknown): Quarantine | undefined {
  const entry = asRecord(value);
  const address = addressIn(entry?.["address"]);
  const identity = parseIdentity(entry?.["identity"]);
  const { why, atMs, isCleared } = entry ?? {};
  return address !== undefined &&
    identity !== undefined &&
    typeof why === "string" &&
    typeof atMs === "number" &&
    typeof isCleared === "boolean"
    ? { address, identity, why, atMs, isCleared }
    : undefined;
}

/** Where a card was in a VM, from disk. */
export function parsePortPreference(value: unknown): PortPreference | undefined {
  const entry = asRecord(value);
  const address = addressIn(entry?.["address"]);
  const identity = parseIdentity(entry?.["identity"]);
  const { vm, serial, bus, addr } = entry ?? {};
  return address !== undefined && identity !== undefined && isTextOrNull(serial) && areTexts(vm, bus, addr)
    ? { vm: String(vm), address, serial, identity, bus: String(bus), addr: String(addr) }
    : undefined;
}
