/** Reads protection facts back from a recording: a value from a file becomes facts only whole. */
import { type PciAddress, parseAddress } from "./address.js";
import {
  AREAS,
  type Carrier,
  type ProtectionFacts,
  type UnknownFact,
  USE_LEVELS,
  type Use,
} from "./protection.js";

/** Facts as {@link ProtectionFacts} writes them; `undefined` when anything about them is not as it should be. */
export function parseProtectionFacts(value: unknown): ProtectionFacts | undefined {
  const entry = asRecord(value);
  const carriers = listOf(entry?.["carriers"], parseCarrier);
  const uses = listOf(entry?.["uses"], parseUse);
  const unknown = listOf(entry?.["unknown"], parseUnknown);
  const seen = entry?.["withInterface"];
  const withInterface = seen === null ? null : listOf(seen, asAddress);
  const isConsoleOnScreen = entry?.["isConsoleOnScreen"];
  return carriers === undefined ||
    uses === undefined ||
    unknown === undefined ||
    withInterface === undefined ||
    typeof isConsoleOnScreen !== "boolean"
    ? undefined
    : { carriers, uses, unknown, withInterface, isConsoleOnScreen };
}

function parseCarrier(value: unknown): Carrier | undefined {
  const entry = asRecord(value);
  const { id, label } = entry ?? {};
  const on = listOf(entry?.["on"], asText);
  const functions = listOf(entry?.["functions"], asAddress);
  const otherwise = listOf(entry?.["otherwise"], (area) => AREAS.find((known) => known === area));
  return typeof id !== "string" ||
    typeof label !== "string" ||
    on === undefined ||
    functions === undefined ||
    otherwise === undefined
    ? undefined
    : { id, label, on, functions, otherwise };
}

function parseUse(value: unknown): Use | undefined {
  const { carrier, what, level: written, isLiftable, isGrounded } = asRecord(value) ?? {};
  const level = USE_LEVELS.find((known) => known === written);
  return typeof carrier !== "string" ||
    typeof what !== "string" ||
    level === undefined ||
    typeof isLiftable !== "boolean" ||
    typeof isGrounded !== "boolean"
    ? undefined
    : { carrier, what, level, isLiftable, isGrounded };
}

function parseUnknown(value: unknown): UnknownFact | undefined {
  const { area: written, detail, isLiftable } = asRecord(value) ?? {};
  const area = AREAS.find((known) => known === written);
  return area === undefined || typeof detail !== "string" || typeof isLiftable !== "boolean"
    ? undefined
    : { area, detail, isLiftable };
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}

function asText(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function asAddress(value: unknown): PciAddress | undefined {
  return typeof value === "string" ? parseAddress(value) : undefined;
}

/** Every entry parsed; `undefined` when it is no list or one of them is not what it should be. */
function listOf<T>(value: unknown, parse: (entry: unknown) => T | undefined): readonly T[] | undefined {
  if (!Array.isArray(value)) {
    return undefined;
  }
  const parsed = value.map(parse);
  const whole = parsed.flatMap((entry) => (entry === undefined ? [] : [entry]));
  return whole.length === parsed.length ? whole : undefined;
}
