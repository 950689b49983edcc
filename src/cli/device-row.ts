/** A device as the commands show it: the first columns of a table, and its JSON (contrib/doc/json.md). */
import type { PciAddress } from "../core/address.js";
import type { Device } from "../core/device.js";
import { describeClass } from "../core/pci-class.js";
import type { Protection } from "../core/protection.js";
import type { PciNames } from "../host/pci-names.js";
import { renderTable } from "./io.js";
import { renderWrapped } from "./wrapped-table.js";

export const DEVICE_COLUMNS = ["ADDRESS", "ID", "CLASS", "DRIVER", "IOMMU GROUP", "NUMA"] as const;

/** `-` is known to be none, `?` is not known. */
export function deviceCells(device: Device): string[] {
  const { numaNode } = device;
  return [
    device.address,
    `${device.vendor ?? "?"}:${device.device ?? "?"}`,
    device.class === undefined ? "?" : `${device.class} ${describeClass(device.class)}`,
    device.driver === undefined ? "?" : (device.driver ?? "-"),
    device.iommuGroup === undefined ? "?" : String(device.iommuGroup ?? "-"),
    numaNode === undefined || numaNode < 0 ? "-" : String(numaNode),
  ];
}

/** Why the device is not simply taken; empty where nothing speaks against it. */
export function protectionNote(protection: Protection | undefined): string {
  if (protection === undefined) {
    return "";
  }
  return `${protection.level === "hard" ? "protected" : "in use"}: ${protection.because}`;
}

/** The name for people; empty where pci.ids has none. */
export function nameCell({ vendor, device }: PciNames): string {
  return [vendor, device].filter((name) => name !== undefined).join(" ");
}

/** The facts under their names in a recording, whether the host needs the device, and its names. */
export function deviceJson(
  device: Device,
  protections: ReadonlyMap<PciAddress, Protection>,
  names: PciNames,
): Readonly<Record<string, unknown>> {
  const { appearance: _, isRecorded: __, ...facts } = device;
  const hasNames = names.vendor !== undefined || names.device !== undefined;
  return {
    ...facts,
    protection: protections.get(device.address) ?? null,
    ...(hasNames ? { names } : {}),
  };
}

/**
 * A table that ends in two columns of sentences: on a terminal they are wrapped, as they may be longer than a line;
 * for other programs each device stays one line.
 */
export function renderSentences(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  columns: number | undefined,
): string[] {
  return columns === undefined
    ? renderTable(header, rows)
    : renderWrapped(header, rows, { width: columns, sentences: 2 });
}
