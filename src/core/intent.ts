/**
 * What was wanted by hand or learnt, and cannot be found out by looking: it is kept in the intents file and enters
 * `assign` as data (semantics.md 5). Holds are its older half (lease.ts).
 */
import type { PciAddress } from "./address.js";
import type { Identity } from "./device.js";

/** A card that a pinned rule has taken: what it was, and where. */
export interface Pin {
  readonly rule: string;
  readonly address: PciAddress;
  readonly path: string | null;
  readonly serial: string | null;
  readonly identity: Identity;
}

/** Keeps everyone else away from a device; by itself it attaches nothing. */
export interface Reservation {
  readonly address: PciAddress;
  readonly vm: string;
  /** In the clock of the world; `null`: until it is taken back. */
  readonly untilMs: number | null;
  /** For people: who wanted it and why. */
  readonly detail: string;
}

/** An operator's `attach`: a claim above all rules until `detach`. */
export interface Order {
  readonly address: PciAddress;
  readonly vm: string;
  readonly atMs: number;
}

/** Keeps a device from everyone until it is cleared. */
export interface Quarantine {
  readonly address: PciAddress;
  /** Another kind of card at the address is not in quarantine. */
  readonly identity: Identity;
  /** For people. */
  readonly why: string;
  readonly atMs: number;
  /** Somebody has cleared it: it goes back to the host, and the entry with its lease. */
  readonly isCleared: boolean;
}

/** Where a card was in a VM: it goes there again where it can. */
export interface PortPreference {
  readonly vm: string;
  readonly address: PciAddress;
  readonly serial: string | null;
  readonly identity: Identity;
  /** Bus name of the port. */
  readonly bus: string;
  /** Slot in hex. */
  readonly addr: string;
}

export interface Intents {
  readonly pins: readonly Pin[];
  readonly reservations: readonly Reservation[];
  readonly orders: readonly Order[];
  readonly quarantines: readonly Quarantine[];
  readonly ports: readonly PortPreference[];
}

export const NO_INTENTS: Intents = { pins: [], reservations: [], orders: [], quarantines: [], ports: [] };
