/**
 * What the one-shot commands decide on: the devices of this host, or of a recorded one, and what the host needs.
 * Asks no agent and needs no rights.
 */
import { type Command, Option } from "commander";
import { counted } from "../base/counted.js";
import type { PciAddress } from "../core/address.js";
import type { Device } from "../core/device.js";
import { assumeIommuGroups } from "../core/iommu-group.js";
import { type DmaSafety, NO_FACTS, type Protection, protect } from "../core/protection.js";
import type { Selector } from "../core/selector.js";
import { type HostPicture, type LookOptions, lookAtHost, readRecording } from "../host/recording.js";
import { hostRoot } from "../host/root.js";
import { DEFAULTS } from "./io.js";

/** The options by which a command is told which host is meant. */
export interface HostOptions {
  /** A recording or a folder with a sysfs tree; absent: the host below `root`. */
  readonly host?: string;
  readonly root: string;
}

/** The same for commands that decide something. */
export interface InventoryOptions extends HostOptions {
  /** One IOMMU group per card, where a recording does not say. */
  readonly assumeIommuGroups?: boolean;
}

/** Where the devices of an answer come from, as JSON answers have it. */
export interface InventorySource {
  readonly kind: "host" | "recording";
  /** Facts that were made up on request: `iommuGroup`. */
  readonly assumed: readonly string[];
}

export interface Inventory {
  /** Sorted by address. */
  readonly devices: readonly Device[];
  readonly protections: ReadonlyMap<PciAddress, Protection>;
  readonly dma: DmaSafety;
  /** Sentences for standard error. */
  readonly notes: readonly string[];
  readonly isRecorded: boolean;
  readonly source: InventorySource;
}

/** Adds the options of {@link HostOptions} to a command. */
export function withHostOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--host <file|dir>",
        "a recorded host (pciplug capture) or an unpacked sysfs tree",
      ).conflicts("root"),
    )
    .option("--root <dir>", "another host root", DEFAULTS.root);
}

/** Adds the options of {@link InventoryOptions} to a command. */
export function withInventoryOptions(command: Command): Command {
  return withHostOptions(command).option(
    "--assume-iommu-groups",
    "where a recording does not say: one IOMMU group per card",
  );
}

/** What of the host that is meant is to be known. */
interface InventoryWishes extends LookOptions {
  /** What the operator lists as needed by the host. */
  readonly operator?: readonly Selector[];
}

/**
 * Looks at the host that is meant.
 *
 * @throws {HostError} `host.bad-recording`, `host.no-sysfs`
 */
export async function loadInventory(options: InventoryOptions & InventoryWishes): Promise<Inventory> {
  const picture = await pictureOf(options);
  const isAssuming =
    options.assumeIommuGroups === true && picture.devices.some(({ iommuGroup }) => iommuGroup === undefined);
  const devices = isAssuming ? assumeIommuGroups(picture.devices) : picture.devices;
  const isRecorded = options.host !== undefined;
  return {
    devices,
    protections: protect(devices, picture.protectionFacts ?? NO_FACTS, { operator: options.operator ?? [] }),
    dma: picture.dma ?? { weaknesses: [] },
    notes: notesOn(picture, devices, isAssuming),
    isRecorded,
    source: { kind: isRecorded ? "recording" : "host", assumed: isAssuming ? ["iommuGroup"] : [] },
  };
}

/** The host that is meant, as it was seen. @throws {HostError} as {@link loadInventory} */
export function pictureOf(options: HostOptions & LookOptions): Promise<HostPicture> {
  const { host, root } = options;
  return host === undefined ? lookAtHost(hostRoot(root), options) : readRecording(host, options.wishes);
}

function notesOn(picture: HostPicture, devices: readonly Device[], isAssuming: boolean): string[] {
  const unknownGroups = devices.filter(({ iommuGroup }) => iommuGroup === undefined).length;
  return [
    ...(picture.protectionFacts === null
      ? ["the recording has no protection facts: nothing but bridges is protected in it"]
      : []),
    ...(isAssuming ? ["IOMMU groups are assumed where the recording does not say: one per card"] : []),
    ...(unknownGroups > 0
      ? [
          `the IOMMU group of ${counted(unknownGroups, "device")} is not known (--assume-iommu-groups: one per card)`,
        ]
      : []),
  ];
}
