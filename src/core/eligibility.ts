/**
 * Whether a rule may take a device that it matches, for the device's own sake: never and allow, what the host needs,
 * what the card was expected to be, quarantine, reservations, DMA safety. Neighbours and rivals are another matter.
 */
import type { PciAddress } from "./address.js";
import type { Device } from "./device.js";
import type { Exclusion } from "./findings.js";
import type { HeldReason } from "./held.js";
import type { Reservation } from "./intent.js";
import { isBridgeDevice } from "./iommu-group.js";
import { delicacyOf } from "./pci-class.js";
import type { Expectation, Rule } from "./policy.js";
import type { World } from "./world.js";

/** What eligibility depends on beside rule and device. */
export type Circumstances = Pick<World, "protections" | "dma" | "intents" | "nowMs">;

/**
 * Why the rule may not take the device for this VM (`null`: for whichever); `null` when it may. `exclusion`: what
 * `never` and `allow` say of the device. `isNamed`: it matches the rule itself and does not merely come along.
 */
export function objectionTo(
  rule: Rule,
  vm: string | null,
  device: Device,
  exclusion: Exclusion | null,
  circumstances: Circumstances,
  isNamed: boolean,
): HeldReason | null {
  return (
    (exclusion === null ? null : { kind: exclusion }) ??
    (isNamed ? (delicacyObjection(rule, device) ?? expectationObjection(rule.expect, device)) : null) ??
    needObjection(rule, device, circumstances) ??
    intentObjection(vm, device, circumstances) ??
    groupObjection(device) ??
    dmaObjection(rule, circumstances)
  );
}

/** What the host needs is taken only by a rule that names it, says what it expects, and means it (semantics.md 8). */
function needObjection(rule: Rule, device: Device, { protections }: Circumstances): HeldReason | null {
  if (isBridgeDevice(device)) {
    return { kind: "protected", because: "bridges are never taken" };
  }
  const protection = protections.get(device.address);
  if (protection === undefined) {
    return null;
  }
  const { because, level, isLiftable } = protection;
  if (level === "soft" && rule.takeConfigured) {
    return null;
  }
  if (rule.isOverride && isLiftable && rule.expect !== null && names(rule, device)) {
    return serialObjection(rule.expect, device, because);
  }
  return level === "soft" ? { kind: "in-use", because } : { kind: "protected", because };
}

/** An override must tell the card from others of its model where it can: by the serial, if it has one. */
function serialObjection(expect: Expectation, { serial }: Device, because: string): HeldReason | null {
  if (expect.serial !== undefined || serial === null) {
    return null;
  }
  return serial === undefined
    ? { kind: "fact-unknown", keys: ["serial"] }
    : {
        kind: "protected",
        because: `${because}; an override must expect its serial number too: ${serial}`,
      };
}

/** Whether the rule writes the device's address or path out in full. */
function names(rule: Rule, device: Device): boolean {
  const { exactAddresses, exactPaths } = rule.match;
  return (
    exactAddresses.includes(device.address) || (device.path !== undefined && exactPaths.includes(device.path))
  );
}

const EXPECTED = ["vendor", "device", "subsystemVendor", "subsystemDevice", "serial"] as const;

function expectationObjection(expect: Expectation | null, device: Device): HeldReason | null {
  if (expect === null) {
    return null;
  }
  const stated = EXPECTED.filter((key) => expect[key] !== undefined);
  const differing = stated.filter((key) => device[key] !== undefined && device[key] !== expect[key]);
  if (differing.length > 0) {
    const tell = (of: Partial<Record<(typeof EXPECTED)[number], string | null>>) =>
      differing.map((key) => `${key} ${of[key] ?? "none"}`).join(", ");
    return { kind: "drifted", expected: tell(expect), found: tell(device), movedTo: null };
  }
  const unknown = stated.filter((key) => device[key] === undefined);
  return unknown.length === 0 ? null : { kind: "fact-unknown", keys: unknown };
}

function intentObjection(
  vm: string | null,
  device: Device,
  { intents, nowMs }: Circumstances,
): HeldReason | null {
  const quarantine = intents.quarantines.find(
    (entry) => entry.address === device.address && entry.appearance === device.appearance && !entry.isCleared,
  );
  if (quarantine !== undefined) {
    return { kind: "quarantined", why: quarantine.why };
  }
  const reservation = reservationOn(device.address, { intents, nowMs });
  return reservation === undefined || vm === null || reservation.vm === vm
    ? null
    : { kind: "reserved", vm: reservation.vm, detail: reservation.detail };
}

/** The reservation in force on a device. */
export function reservationOn(address: PciAddress, { intents, nowMs }: Pick<World, "intents" | "nowMs">) {
  return intents.reservations.find((entry) => entry.address === address && isInForce(entry, nowMs));
}

/** Whether a reservation has not ended yet. */
export function isInForce({ untilMs }: Reservation, nowMs: number): boolean {
  return untilMs === null || untilMs > nowMs;
}

function groupObjection({ iommuGroup }: Device): HeldReason | null {
  if (iommuGroup === undefined) {
    return { kind: "fact-unknown", keys: ["iommuGroup"] };
  }
  return iommuGroup === null ? { kind: "no-iommu-group" } : null;
}

function delicacyObjection(rule: Rule, device: Device): HeldReason | null {
  const what = rule.match.isWildcardOnly ? delicacyOf(device.class) : undefined;
  return what === undefined ? null : { kind: "delicate-class", what };
}

function dmaObjection(rule: Rule, { dma }: Circumstances): HeldReason | null {
  return dma.weaknesses.length === 0 || rule.acceptUnsafe
    ? null
    : { kind: "unsafe", weaknesses: dma.weaknesses };
}
