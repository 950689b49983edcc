/**
 * A recording of a host, made to be shown to others: the facts that decisions are made from, and nothing that tells
 * whose machine it is. Serial numbers only on request; no host name, no paths but those that every Linux host has.
 */
import type { Device } from "../core/device.js";
import { publicFacts, withoutPrivatePaths } from "./capture-facts.js";
import { RECORDED_FIELDS } from "./recorded-device.js";
import { type HostPicture, RECORDING_SCHEMA } from "./recording.js";

export interface CaptureOptions {
  /** Name and version of the program. */
  readonly capturedBy: string;
  readonly withSerials: boolean;
}

/** The recording as plain JSON; {@link parseRecording} reads it back. */
export function captureOf(picture: HostPicture, options: CaptureOptions): Readonly<Record<string, unknown>> {
  const scrub = (text: string) => withoutPrivatePaths(text, picture.mountPoints);
  const { protectionFacts, dma } = picture;
  return {
    schema: RECORDING_SCHEMA,
    name: "captured-host",
    description: "one host, its devices and what it stands on",
    captureKind: "pciplug capture",
    capturedBy: options.capturedBy,
    ...(picture.kernel === null ? {} : { kernel: picture.kernel }),
    deviceCount: picture.devices.length,
    devices: picture.devices.map((device) => recordedDevice(device, options.withSerials)),
    ...(protectionFacts === null ? {} : { protectionFacts: publicFacts(protectionFacts, scrub) }),
    ...(dma === null ? {} : { dma: { weaknesses: dma.weaknesses.map(scrub) } }),
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
