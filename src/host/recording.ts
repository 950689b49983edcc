/**
 * A host as it is looked at without an agent: the one we run on, or one that was recorded, as a file (`pci-machine/1`
 * with the extensions of `pciplug capture`) or as an unpacked sysfs tree.
 *
 * What a recording does not say stays unknown. Must never follow links from folder to folder: recorded trees have cycles.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../base/error.js";
import type { Result } from "../base/result.js";
import { compareAddresses } from "../core/address.js";
import type { Device } from "../core/device.js";
import type { DmaSafety, ProtectionFacts } from "../core/protection.js";
import { parseProtectionFacts } from "../core/protection-recording.js";
import { type FactWishes, NO_WISHES } from "../core/wishes.js";
import { readTextIfAny } from "./device-facts.js";
import { readDmaSafety } from "./dma-facts.js";
import { errnoOf, HostError } from "./error.js";
import { gatherProtectionFacts } from "./protection-facts.js";
import { parseRecordedDevice } from "./recorded-device.js";
import { withPlaces } from "./recorded-place.js";
import { type HostRoot, hostRoot } from "./root.js";
import { scanOnce } from "./scan.js";
import { asRecord } from "./state-file.js";

export const RECORDING_SCHEMA = "pci-machine/1";

/** A look at a host. */
export interface HostPicture {
  /** Sorted by address. */
  readonly devices: readonly Device[];
  /** What the host stands on; `null`: the recording does not say. */
  readonly protectionFacts: ProtectionFacts | null;
  readonly dma: DmaSafety | null;
  /** Release of its kernel. */
  readonly kernel: string | null;
  /** Where its file systems are mounted: names that a capture must not give away. */
  readonly mountPoints: readonly string[];
}

/** A recording is a text that is read whole. */
const MOST_BYTES = 64 * 2 ** 20;

/** What of a host is to be looked at beyond the usual. */
export interface LookOptions {
  readonly wishes?: FactWishes;
  /** Folders of the agent, as paths of the host: no override lifts what they lie on. */
  readonly folders?: readonly string[];
}

/** Looks at the host below a root now. @throws {HostError} `host.no-sysfs` */
export async function lookAtHost(
  root: HostRoot,
  { wishes = NO_WISHES, folders = [] }: LookOptions = {},
): Promise<HostPicture> {
  return {
    devices: await scanOnce(root, wishes),
    protectionFacts: await gatherProtectionFacts(root, folders),
    dma: readDmaSafety(root),
    kernel: readTextIfAny(root.kernelRelease()) ?? null,
    mountPoints: mountPointsOf(root),
  };
}

/**
 * Reads a recorded host: a file, or a folder with a sysfs tree in `sys` or one level down in `<name>/sys`.
 *
 * @throws {HostError} `host.bad-recording` with one sentence that says what is wrong, and where.
 */
export async function readRecording(path: string, wishes: FactWishes = NO_WISHES): Promise<HostPicture> {
  const stat = statOf(path);
  if (stat.isDirectory()) {
    return await readTree(path, wishes);
  }
  if (stat.size > MOST_BYTES) {
    throw bad(path, `it has ${stat.size} bytes, more than ${MOST_BYTES}`);
  }
  return parseRecording(readText(path), path);
}

/** Reads the text of a recording; `path` is for the messages. @throws {HostError} as {@link readRecording} */
export function parseRecording(text: string, path: string): HostPicture {
  const file = asRecord(parseJson(text, path));
  if (file?.["schema"] !== RECORDING_SCHEMA) {
    const schema = JSON.stringify(file?.["schema"]) ?? "none";
    throw bad(path, `its schema is ${schema}, this program knows "${RECORDING_SCHEMA}"`);
  }
  const { devices, protectionFacts, dma, kernel, captureKind } = file;
  if (!Array.isArray(devices)) {
    throw bad(path, "it has no list of devices");
  }
  const parsed = devices.map((entry, at) => accept(parseRecordedDevice(entry), path, at));
  refuseTwins(parsed, path);
  const isWholeSysfs = typeof captureKind === "string" && captureKind.startsWith("sysfs snapshot");
  return {
    devices: withPlaces(parsed, isWholeSysfs)
      .map(asRecorded)
      .sort((a, b) => compareAddresses(a.address, b.address)),
    protectionFacts: parsedOrNull(protectionFacts, parseProtectionFacts, path, "protectionFacts"),
    dma: parsedOrNull(dma, asDmaSafety, path, "dma"),
    kernel: typeof kernel === "string" ? kernel : null,
    mountPoints: [],
  };
}

function asRecorded(device: Device): Device {
  return { ...device, isRecorded: true };
}

function accept(parsed: Result<Device, string>, path: string, at: number): Device {
  if (!parsed.ok) {
    throw bad(path, `devices[${at}] ${parsed.error}`);
  }
  return parsed.value;
}

function refuseTwins(devices: readonly Device[], path: string): void {
  const seen = new Set<string>();
  for (const { address } of devices) {
    if (seen.has(address)) {
      throw bad(path, `it has ${address} twice`);
    }
    seen.add(address);
  }
}

function parsedOrNull<T>(
  value: unknown,
  read: (value: unknown) => T | undefined,
  path: string,
  key: string,
): T | null {
  if (value === undefined || value === null) {
    return null;
  }
  const parsed = read(value);
  if (parsed === undefined) {
    throw bad(path, `its ${key} are not those that a capture writes`);
  }
  return parsed;
}

function asDmaSafety(value: unknown): DmaSafety | undefined {
  const weaknesses: unknown = asRecord(value)?.["weaknesses"];
  return Array.isArray(weaknesses) && weaknesses.every((entry) => typeof entry === "string")
    ? { weaknesses }
    : undefined;
}

async function readTree(dir: string, wishes: FactWishes): Promise<HostPicture> {
  const root = hostRoot(rootIn(dir));
  const { protectionFacts, ...picture } = await lookAtHost(root, { wishes });
  const hasGroups =
    existsSync(root.iommuGroups()) || picture.devices.some(({ iommuGroup }) => iommuGroup !== null);
  const hasDrivers = picture.devices.some(({ driver }) => driver !== null);
  return {
    ...picture,
    devices: picture.devices.map((device) => asRecorded(withoutUncollected(device, hasGroups, hasDrivers))),
    // Without PID 1's mounts the rest would only say that nothing can be told.
    protectionFacts: existsSync(root.proc(1, "mountinfo")) ? protectionFacts : null,
  };
}

/** Who unpacked the tree may have left a kind of link out: where no device has one, none is known. */
function withoutUncollected(device: Device, hasGroups: boolean, hasDrivers: boolean): Device {
  const { iommuGroup, driver, ...facts } = device;
  return {
    ...facts,
    ...(hasGroups && iommuGroup !== undefined ? { iommuGroup } : {}),
    ...(hasDrivers && driver !== undefined ? { driver } : {}),
  };
}

/** The folder that stands for `/`: this one, or the only one in it that has a PCI bus below `sys`. */
function rootIn(dir: string): string {
  const hasBus = (path: string): boolean => existsSync(hostRoot(path).devices());
  const inside = readdirSync(dir).map((name) => join(dir, name));
  const [only, ...others] = hasBus(dir) ? [dir] : inside.filter(hasBus);
  if (only === undefined) {
    throw bad(dir, "there is no sys/bus/pci/devices in it or in a folder of it");
  }
  if (others.length > 0) {
    throw bad(dir, `it holds several trees; name one of ${[only, ...others].sort().join(", ")}`);
  }
  return only;
}

function mountPointsOf(root: HostRoot): string[] {
  const lines = readTextIfAny(root.proc(1, "mountinfo"))?.split("\n") ?? [];
  // proc_pid_mountinfo(5): the fifth field, with blanks as octal escapes.
  return lines.map((line) =>
    (line.split(" ")[4] ?? "").replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    ),
  );
}

function statOf(path: string): ReturnType<typeof statSync> & object {
  try {
    return statSync(path);
  } catch (cause) {
    throw bad(
      path,
      errnoOf(cause) === "ENOENT" ? "there is no such file or folder" : messageOf(cause),
      cause,
    );
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw bad(path, messageOf(cause), cause);
  }
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw bad(path, `it is not JSON: ${messageOf(cause)}`, cause);
  }
}

function bad(path: string, why: string, cause?: unknown): HostError {
  return new HostError("host.bad-recording", `cannot read the recorded host ${path}: ${why}`, { cause });
}
