/**
 * Pins: a rule that has learnt its cards keeps to them, wherever renumbering puts them, and takes no stranger in their
 * place (semantics.md 5).
 */
import type { PciAddress } from "./address.js";
import { type Device, identityOf, isSameIdentity } from "./device.js";
import type { HeldReason } from "./held.js";
import type { Pin } from "./intent.js";
import type { Rule } from "./policy.js";

/** What a pinned rule means now. */
export interface Pinned {
  /** What it may take: its own cards wherever they are, and matches that nobody was pinned in the place of. */
  readonly devices: readonly Device[];
  /** Those of them that are its own cards: a rule that chooses takes them before others. */
  readonly learnt: ReadonlySet<PciAddress>;
  /** Devices in the place of a pinned card that are not that card. */
  readonly drifted: ReadonlyMap<PciAddress, HeldReason>;
}

/** Holds the pins of a rule against what matches it now. */
export function followPins(
  rule: Pick<Rule, "name" | "follow" | "match">,
  matched: readonly Device[],
  pins: readonly Pin[],
  devices: ReadonlyMap<PciAddress, Device>,
): Pinned {
  const drifted = new Map<PciAddress, HeldReason>();
  const own = new Map<PciAddress, Device>();
  /** Of the same model as a pinned card, and perhaps another one: nothing is taken before that is known. */
  const open = new Map<PciAddress, HeldReason>();
  for (const pin of ownPins(rule, pins)) {
    const there = deviceOf(pin, rule.follow, devices);
    if (there !== undefined && pin.serial !== null && there.serial === undefined) {
      open.set(there.address, { kind: "fact-unknown", keys: ["serial"] });
      continue;
    }
    if (there !== undefined && isMeant(pin, rule, matched) && isCardOf(pin, there)) {
      own.set(there.address, there);
    }
    const stranger = strangerFor(pin, there, rule, devices);
    if (stranger !== undefined) {
      drifted.set(stranger.address, driftOf(pin, stranger, devices));
    }
  }
  const learnt = new Set(own.keys());
  for (const device of matched) {
    if (!drifted.has(device.address)) {
      own.set(device.address, device);
    }
  }
  // One card of the rule may stand where another one of it was learnt.
  const strange = [...drifted].filter(([address]) => !own.has(address));
  return {
    devices: [...own.values()].filter(({ address }) => !open.has(address)),
    learnt,
    drifted: new Map([...strange, ...open]),
  };
}

/** The pins of a rule; one that was learnt without the serial number counts no more beside the one that has it. */
function ownPins({ name }: Pick<Rule, "name">, pins: readonly Pin[]): readonly Pin[] {
  const own = pins.filter((entry) => entry.rule === name);
  const isRefined = (pin: Pin) =>
    own.some(
      (other) =>
        other.serial !== null &&
        other.address === pin.address &&
        isSameIdentity(other.identity, pin.identity),
    );
  return own.filter((pin) => pin.serial !== null || !isRefined(pin));
}

/** By address a pin only narrows what the rule matches; one that follows its card also brings it in. */
function isMeant(pin: Pin, rule: Pick<Rule, "follow">, matched: readonly Device[]): boolean {
  return rule.follow !== "address" || matched.some(({ address }) => address === pin.address);
}

/**
 * Who stands where the pinned card belongs. A card that was found elsewhere leaves its old place to others, unless the
 * rule writes that very address out.
 */
function strangerFor(
  pin: Pin,
  there: Device | undefined,
  rule: Pick<Rule, "match">,
  devices: ReadonlyMap<PciAddress, Device>,
): Device | undefined {
  const isFound = there !== undefined && isCardOf(pin, there);
  const place = there === undefined || isFound ? devices.get(pin.address) : there;
  const isMeant = !isFound || rule.match.exactAddresses.includes(pin.address);
  return place !== undefined && isMeant && !isCardOf(pin, place) ? place : undefined;
}

/** Whether a device is the card that was pinned: its ids and, where both are known, its serial number. */
export function isCardOf(pin: Pin, device: Device): boolean {
  const isSameSerial = pin.serial === null || device.serial === undefined || device.serial === pin.serial;
  return isSameIdentity(pin.identity, identityOf(device)) && isSameSerial;
}

/** What is learnt of a device that a rule takes. */
export function pinOf(rule: string, device: Device, serial: string | null): Pin {
  const { address, path } = device;
  return {
    rule,
    address,
    path: path ?? null,
    serial: device.serial ?? serial,
    identity: identityOf(device),
  };
}

function deviceOf(
  pin: Pin,
  follow: Rule["follow"],
  devices: ReadonlyMap<PciAddress, Device>,
): Device | undefined {
  if (follow === "address") {
    return devices.get(pin.address);
  }
  const fact = follow === "path" ? pin.path : pin.serial;
  const before = devices.get(pin.address);
  const found = fact === null ? before : [...devices.values()].find((device) => device[follow] === fact);
  // Where no card is known by that serial number, it may be the one in the old place that has not told its own.
  const isPerhaps = follow === "serial" && before?.serial === undefined;
  return found ?? (isPerhaps && before !== undefined && isCardOf(pin, before) ? before : undefined);
}

function driftOf(pin: Pin, found: Device, devices: ReadonlyMap<PciAddress, Device>): HeldReason {
  const elsewhere =
    pin.serial === null ? [] : [...devices.values()].filter((other) => other.serial === pin.serial);
  return {
    kind: "drifted",
    expected: describe(pin.identity, pin.serial),
    found: describe(identityOf(found), found.serial ?? null),
    movedTo: elsewhere[0]?.address ?? null,
  };
}

function describe(
  { vendor, device, subsystemVendor, subsystemDevice }: Pin["identity"],
  serial: string | null,
) {
  const ids = `${vendor ?? "?"}:${device ?? "?"} (${subsystemVendor ?? "?"}:${subsystemDevice ?? "?"})`;
  return serial === null ? ids : `${ids}, serial ${serial}`;
}
