/**
 * Names for ids from the host's `pci.ids` (Debian: package pci.ids), for people only: nothing is ever matched by them.
 * The file is optional, and older than the newest cards.
 */
import { readFileSync } from "node:fs";
import type { Device } from "../core/device.js";
import type { HostRoot } from "./root.js";

/** What the file calls a device; a name that it lacks is absent. */
export interface PciNames {
  readonly vendor?: string;
  readonly device?: string;
}

/** Where distributions put the file: Debian and most; Fedora and Arch. */
const PLACES = ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"];

/** Looks names up; of the file only the parts about vendors that are asked for are ever taken apart. */
export function readPciNames(root: HostRoot): (device: Device) => PciNames {
  const text = PLACES.map((place) => readIfAny(root.inside(place))).find((found) => found !== undefined);
  const vendors = new Map<string, VendorEntry | undefined>();
  return ({ vendor, device }) => {
    if (text === undefined || vendor === undefined) {
      return {};
    }
    if (!vendors.has(vendor)) {
      vendors.set(vendor, entryOf(text, vendor));
    }
    const entry = vendors.get(vendor);
    const name = entry?.devices.get(device ?? "");
    return {
      ...(entry === undefined ? {} : { vendor: entry.name }),
      ...(name === undefined ? {} : { device: name }),
    };
  };
}

/** Vendors in whose name the text occurs, case aside; those whose name begins with it first. Empty without the file. */
export function findVendors(root: HostRoot, text: string): readonly { id: string; name: string }[] {
  const wanted = text.toLowerCase();
  const lines = PLACES.map((place) => readIfAny(root.inside(place))).find((found) => found !== undefined);
  const found = (lines ?? "").split("\n").flatMap((line) => {
    const [, id, name] = /^([0-9a-f]{4}) {2}(.+)$/.exec(line) ?? [];
    return id !== undefined && name?.toLowerCase().includes(wanted) === true ? [{ id, name }] : [];
  });
  const isFirst = ({ name }: { readonly name: string }) => name.toLowerCase().startsWith(wanted);
  return [...found.filter(isFirst), ...found.filter((entry) => !isFirst(entry))];
}

interface VendorEntry {
  readonly name: string;
  readonly devices: ReadonlyMap<string, string>;
}

/** The lines of one vendor: `10de  NVIDIA Corporation`, then `<tab>2204  GA102 [GeForce RTX 3090]`, up to the next. */
function entryOf(text: string, vendor: string): VendorEntry | undefined {
  const start = text.indexOf(`\n${vendor}  `) + 1;
  if (start === 0) {
    return undefined;
  }
  const rest = text.slice(start);
  const end = rest.search(/\n[^\t#\n]/);
  const [first = "", ...lines] = rest.slice(0, end < 0 ? undefined : end).split("\n");
  const devices = lines.flatMap((line) => {
    const [, id, name] = /^\t([0-9a-f]{4}) {2}(.+)$/.exec(line) ?? [];
    return id === undefined || name === undefined ? [] : [[id, name] as const];
  });
  return { name: first.slice(vendor.length).trim(), devices: new Map(devices) };
}

function readIfAny(path: string): string | undefined {
  try {
    // So that the first line may be a vendor too.
    return `\n${readFileSync(path, "utf8")}`;
  } catch {
    return undefined;
  }
}
