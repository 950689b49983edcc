/**
 * A recording of a host, made to be shown to others: the facts that decisions are made from, and nothing that tells
 * whose machine it is. Serial numbers only on request; no host name, no paths but those that every Linux host has.
 */
import type { Device } from "../core/device.js";
import { RECORDED_FIELDS } from "./recorded-device.js";
import { type HostPicture, RECORDING_SCHEMA } from "./recording.js";

export interface CaptureOptions {
  /** Name and version of the program. */
  readonly capturedBy: string;
  readonly withSerials: boolean;
}

/** The recording as plain JSON; {@link parseRecording} reads it back. */
export function captureOf(picture: HostPicture, options: CaptureOptions): Readonly<Record<string, unknown>> {
  const scrub = (text: string) => scrubbed(text, picture.mountPoints, options.withSerials);
  return {
    schema: RECORDING_SCHEMA,
    name: "captured-host",
    description: "one host, its devices and what it stands on",
    captureKind: "pciplug capture",
    capturedBy: options.capturedBy,
    ...(picture.kernel === null ? {} : { kernel: picture.kernel }),
    deviceCount: picture.devices.length,
    devices: picture.devices.map((device) => recordedDevice(device, options.withSerials)),
    ...(picture.protectionFacts === null
      ? {}
      : { protectionFacts: mapTexts(picture.protectionFacts, scrub) }),
    ...(picture.dma === null ? {} : { dma: mapTexts(picture.dma, scrub) }),
  };
}

function recordedDevice(device: Device, withSerials: boolean): Readonly<Record<string, unknown>> {
  const facts: [string, unknown][] = [["address", device.address]];
  for (const key of Object.keys(RECORDED_FIELDS) as (keyof typeof RECORDED_FIELDS)[]) {
    const value = device[key];
    if (value !== undefined && (key !== "serial" || withSerials)) {
      facts.push([key, value]);
    }
  }
  const { bootVga, udev } = device;
  return {
    ...Object.fromEntries(facts),
    // As sysfs writes it, and so as recordings have it.
    ...(bootVga === undefined ? {} : { bootVga: bootVga ? "1" : "0" }),
    ...(udev === undefined ? {} : { udev: publicProperties(udev, withSerials) }),
  };
}

const TELLS_ONE_FROM_ANOTHER = /serial|wwn|uuid|(^|_)mac(_|$)/i;

function publicProperties(
  properties: Readonly<Record<string, string>>,
  withSerials: boolean,
): Readonly<Record<string, string>> {
  const isPublic = ([key, value]: readonly [string, string]) =>
    !value.startsWith("/") && (withSerials || !TELLS_ONE_FROM_ANOTHER.test(key));
  return Object.fromEntries(Object.entries(properties).filter(isPublic));
}

/** Folders that every Linux host has (hier(7)), so that they tell nothing; the longest match counts. */
const WELL_KNOWN = new Set([
  ...["/", "/boot", "/boot/efi", "/dev", "/efi", "/etc", "/home", "/media", "/mnt", "/nix", "/nix/store"],
  ...["/opt", "/proc", "/root", "/run", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/log"],
  ...[
    "/var/lib/pciplug",
    "/var/log/pciplug",
    "/var/tmp",
    "/proc/1/mountinfo",
    "/proc/1/net/route",
    "/proc/swaps",
  ],
]);
/** A path within a sentence: it begins after a blank, a quote or a bracket. */
const PATH = /(?<![\w./:-])\/[^\s'",;)]*/g;
const UUID = /\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/gi;

function scrubbed(text: string, mountPoints: readonly string[], withSerials: boolean): string {
  // Mount points may have blanks in them, where a path within a sentence would seem to end.
  const private_ = mountPoints.filter((path) => shortened(path) !== path).sort((a, b) => b.length - a.length);
  const withoutMounts = private_.reduce((rest, path) => rest.replaceAll(path, shortened(path)), text);
  const withoutPaths = withoutMounts.replace(PATH, shortened);
  return withSerials ? withoutPaths : withoutPaths.replace(UUID, "...");
}

/** `/srv/customers/acme` becomes `/srv/...`. */
function shortened(path: string): string {
  if (WELL_KNOWN.has(path) || path === "/...") {
    return path;
  }
  const segments = path.split("/");
  for (let length = segments.length - 1; length > 1; length -= 1) {
    const folder = segments.slice(0, length).join("/");
    if (WELL_KNOWN.has(folder)) {
      return `${folder}/...`;
    }
  }
  return "/...";
}

/** The same plain value with every text in it changed; names of keys stay. */
function mapTexts(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === "string") {
    return change(value);
  }
  if (Array.isArray(value)) {
    return value.map((entry) => mapTexts(entry, change));
  }
  return typeof value === "object" && value !== null
    ? Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, mapTexts(entry, change)]))
    : value;
}
