/**
 * One device of a recording (`pci-machine/1`): a text from elsewhere becomes a Device only where every field that is
 * there has its form. Fields that are absent stay unknown. Pure.
 */
import { err, ok, type Result } from "../base/result.js";
import { type PciAddress, parseAddress } from "../core/address.js";
import type { Device } from "../core/device.js";
import { isBridge } from "../core/pci-class.js";
import { memoryOf, prefetchableOf } from "./device-facts.js";
import { parseSerial } from "./serial.js";
import { asRecord } from "./state-file.js";

/** Recordings know no inodes, and no device of theirs goes away and comes back. */
const APPEARANCE = "recorded";

/** How one field is read, and what it must be, for people. `undefined` from `read`: it is not that. */
interface Field<T> {
  readonly read: (value: unknown) => T | undefined;
  readonly expected: string;
}

type FieldName = Exclude<keyof Device, "address" | "appearance" | "isRecorded" | "lent">;

/** In the order in which a capture writes them. */
export const RECORDED_FIELDS: { readonly [K in FieldName]-?: Field<Device[K]> } = {
  vendor: hex(4),
  device: hex(4),
  subsystemVendor: hex(4),
  subsystemDevice: hex(4),
  class: { read: (value) => text(/^([0-9a-f]{4}|[0-9a-f]{6})$/, value), expected: "six hex digits" },
  revision: hex(2),
  numaNode: {
    read: (value) => (Number.isSafeInteger(value) ? Number(value) : undefined),
    expected: "a number",
  },
  iommuGroup: orNull({ read: natural, expected: "a number" }),
  driver: orNull(name()),
  parent: orNull(address()),
  rootBus: { read: (value) => text(/^[0-9a-f]{4,8}:[0-9a-f]{2}$/, value), expected: "a domain and a bus" },
  bootVga: { read: flag, expected: '"0" or "1"' },
  physfn: orNull(address()),
  path: {
    read: (value) => text(/^[0-9a-f:/.+]{1,512}$/, value),
    expected: "a path such as 0000:00/1c.0/00.0",
  },
  root: orNull(address()),
  slot: orNull(name()),
  label: orNull(name()),
  serial: orNull({
    read: (value) => text(/^([0-9a-f]{2}-){7}[0-9a-f]{2}$/, value),
    expected: "eight pairs of hex digits",
  }),
  memory: { read: natural, expected: "a number of bytes" },
  prefetchable: { read: natural, expected: "a number of bytes" },
  udev: { read: (value) => recordOf(value, aText), expected: "an object of texts" },
  attributes: {
    read: (value) => recordOf(value, (entry) => (entry === null ? null : aText(entry))),
    expected: "an object of texts",
  },
};

/** Checks one device. The error names the field, what it is, and what it must be. */
export function parseRecordedDevice(value: unknown): Result<Device, string> {
  const entry = asRecord(value);
  if (entry === undefined) {
    return err("is not an object");
  }
  const own = typeof entry["address"] === "string" ? parseAddress(entry["address"]) : undefined;
  if (own === undefined) {
    return err(complaint("address", entry["address"], "a full PCI address"));
  }
  const facts: Record<string, unknown> = { address: own, appearance: APPEARANCE };
  for (const [key, field] of Object.entries(RECORDED_FIELDS)) {
    // A source that shows no programming interface has `class4`.
    const written = entry[key] ?? (key === "class" ? entry["class4"] : entry[key]);
    const fact = written === undefined ? undefined : field.read(written);
    if (written !== undefined && fact === undefined) {
      return err(complaint(key, written, field.expected));
    }
    if (fact !== undefined) {
      facts[key] = fact;
    }
  }
  return ok(withRawFacts(facts as unknown as Device, entry));
}

/** Recordings of sysfs carry the attributes from which the scanner would make these facts. */
function withRawFacts(device: Device, entry: Readonly<Record<string, unknown>>): Device {
  const { resource, configHex } = entry;
  const isEndpoint = device.class === undefined || !isBridge(device.class);
  const lines = Array.isArray(resource) ? resource.map(String) : undefined;
  const memory = device.memory ?? memoryOf(lines);
  const prefetchable = device.prefetchable ?? prefetchableOf(lines);
  const serial =
    device.serial === undefined && typeof configHex === "string" && isEndpoint
      ? parseSerial(Buffer.from(configHex, "hex"))
      : device.serial;
  return {
    ...device,
    ...(memory === undefined ? {} : { memory }),
    ...(prefetchable === undefined ? {} : { prefetchable }),
    ...(serial === undefined ? {} : { serial }),
  };
}

function complaint(key: string, value: unknown, expected: string): string {
  return `has the ${key} ${JSON.stringify(value) ?? "undefined"}, which is not ${expected}`;
}

function hex(digits: number): Field<string> {
  const form = new RegExp(`^[0-9a-f]{${digits}}$`);
  return { read: (value) => text(form, value), expected: `${digits} hex digits` };
}

function address(): Field<PciAddress> {
  return {
    read: (value) => (typeof value === "string" ? parseAddress(value) : undefined),
    expected: "a full PCI address",
  };
}

function name(): Field<string> {
  return { read: aText, expected: "a text" };
}

function orNull<T>({ read, expected }: Field<T>): Field<T | null> {
  return { read: (value) => (value === null ? null : read(value)), expected: `${expected} or null` };
}

function text(form: RegExp, value: unknown): string | undefined {
  const lower = typeof value === "string" ? value.toLowerCase() : "";
  return form.test(lower) ? lower : undefined;
}

function aText(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function natural(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : undefined;
}

/** sysfs writes 0 and 1; a person may write a boolean. */
function flag(value: unknown): boolean | undefined {
  const values = new Map<unknown, boolean>([
    ["1", true],
    ["0", false],
    [true, true],
    [false, false],
  ]);
  return values.get(value);
}

function recordOf<T>(
  value: unknown,
  read: (entry: unknown) => T | undefined,
): Readonly<Record<string, T>> | undefined {
  const entries = Object.entries(asRecord(value) ?? {}).map(([key, entry]) => [key, read(entry)] as const);
  return asRecord(value) === undefined || entries.some(([, entry]) => entry === undefined)
    ? undefined
    : (Object.fromEntries(entries) as Record<string, T>);
}
