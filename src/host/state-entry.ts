/** Checks of what is read back from the state files: a text from disk becomes a lease or a hold only whole. */
import { type PciAddress, parseAddress } from "../core/address.js";
import type { Identity } from "../core/device.js";
import type { Hold, Lease, OriginalState } from "../core/lease.js";
import { asRecord } from "./state-file.js";

/** A lease from disk; `undefined` when anything about it is not as it should be. */
export function parseLease(value: unknown): Lease | undefined {
  const entry = asRecord(value);
  const address = addressIn(entry?.["address"]);
  const identity = parseIdentity(entry?.["identity"]);
  const original = entry?.["original"] === null ? null : parseOriginal(entry?.["original"]);
  const owner = parseOwner(entry?.["nodeOwner"]);
  const { vm, rule, role, bootId, appearance, serial, release, isKeptWithoutRule } = entry ?? {};
  if (
    address === undefined ||
    identity === undefined ||
    original === undefined ||
    owner === undefined ||
    !areTexts(vm, rule, bootId, appearance) ||
    (serial !== undefined && typeof serial !== "string") ||
    (release !== undefined && release !== "vfio" && release !== "quarantine") ||
    (isKeptWithoutRule !== undefined && isKeptWithoutRule !== true) ||
    (role !== "claimed" && role !== "companion")
  ) {
    return undefined;
  }
  const texts = { vm, rule, bootId, appearance } as Pick<Lease, "vm" | "rule" | "bootId" | "appearance">;
  const known = {
    ...(serial === undefined ? {} : { serial }),
    ...(release === undefined ? {} : { release }),
    ...(isKeptWithoutRule === undefined ? {} : { isKeptWithoutRule }),
  } satisfies Partial<Lease>;
  return { address, ...texts, role, identity, ...known, original, ...owner };
}

/** A hold from disk; `undefined` when anything about it is not as it should be. */
export function parseHold(value: unknown): Hold | undefined {
  const entry = asRecord(value);
  const address = addressIn(entry?.["address"]);
  const { vm, appearance, process, cause, detail, atMs } = entry ?? {};
  if (
    address === undefined ||
    !areTexts(vm, appearance, detail) ||
    !isTextOrNull(process) ||
    typeof atMs !== "number" ||
    (cause !== "ejected-by-guest" && cause !== "driver-changed")
  ) {
    return undefined;
  }
  const texts = { vm, appearance, detail } as Pick<Hold, "vm" | "appearance" | "detail">;
  return { address, ...texts, process, cause, atMs };
}

/** A parsed address; `undefined` for anything else. */
export function addressIn(value: unknown): PciAddress | undefined {
  return typeof value === "string" ? parseAddress(value) : undefined;
}

/** The ids of a card; `undefined` when they are not as they should be. */
export function parseIdentity(value: unknown): Identity | undefined {
  const entry = asRecord(value);
  const { vendor, device, subsystemVendor, subsystemDevice } = entry ?? {};
  return entry !== undefined &&
    isTextOrNull(vendor) &&
    isTextOrNull(device) &&
    isTextOrNull(subsystemVendor) &&
    isTextOrNull(subsystemDevice)
    ? { vendor, device, subsystemVendor, subsystemDevice }
    : undefined;
}

function parseOriginal(value: unknown): OriginalState | undefined {
  const entry = asRecord(value);
  const { driver, override } = entry ?? {};
  return entry !== undefined && isTextOrNull(driver) && isTextOrNull(override)
    ? { driver, override }
    : undefined;
}

/** The optional owner as it goes into a lease; `undefined` when it is there and wrong. */
function parseOwner(value: unknown): Pick<Lease, "nodeOwner"> | undefined {
  if (value === undefined) {
    return {};
  }
  const { uid, gid } = asRecord(value) ?? {};
  return isId(uid) && isId(gid) ? { nodeOwner: { uid, gid } } : undefined;
}

/** Whether all of them are texts. */
export function areTexts(...values: readonly unknown[]): boolean {
  return values.every((value) => typeof value === "string");
}

/** Whether it is a text, or known to be none. */
export function isTextOrNull(value: unknown): value is string | null {
  return value === null || typeof value === "string";
}

function isId(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
