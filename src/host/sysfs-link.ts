/**
 * What the links of a device's sysfs folder say. All synchronous: kernfs answers them from memory, they never wait for
 * a driver (facts.md 5), and a trip through the thread pool costs three to seven times as much.
 */
import { readlinkSync, statSync } from "node:fs";
import { basename } from "node:path";
import { type PciAddress, parseAddress } from "../core/address.js";
import { type Place, placeBelow } from "../core/place.js";
import { errnoOf } from "./error.js";
import type { HostRoot } from "./root.js";

/** Errors that mean "no such thing (any more)" in sysfs, ENODEV being the answer of a device on its way out. */
const ABSENT: ReadonlySet<string | undefined> = new Set(["ENOENT", "ENODEV", "ENXIO", "ENOTDIR", "EINVAL"]);

/** Whether a failed call means that the thing is not there. */
function isAbsence(error: unknown): boolean {
  return ABSENT.has(errnoOf(error));
}

/** Target of a link; `null` when there is none. */
export function readLink(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (isAbsence(error)) {
      return null;
    }
    throw error;
  }
}

/** Name of the bound driver; `null` when none is bound. A device whose unbind hangs looks driverless (facts.md 5). */
export function readDriver(root: HostRoot, address: PciAddress): string | null {
  const target = readLink(root.driverLink(address));
  return target === null ? null : basename(target);
}

/** Number behind the `iommu_group` link, whatever kind of group it is; `null` without one. */
export function readGroupNumber(root: HostRoot, address: PciAddress): number | null {
  const target = readLink(root.attribute(address, "iommu_group"));
  const name = target === null ? "" : basename(target);
  return /^\d+$/.test(name) ? Number(name) : null;
}

/**
 * Inode of the device's sysfs folder: the kernel gives a new one at each appearance of a device.
 * `null` when the device is not there.
 */
export function readAppearance(root: HostRoot, address: PciAddress): string | null {
  try {
    const stat = statSync(root.device(address), { bigint: true, throwIfNoEntry: false });
    return stat === undefined ? null : String(stat.ino);
  } catch (error) {
    if (isAbsence(error)) {
      return null;
    }
    throw error;
  }
}

/**
 * Reads the place of a device from the target of its link, such as
 * `../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0`. A domain below another device (VMD) has a root bus of its own.
 */
export function placeOf(target: string, physfn: PciAddress | null = null): Place | undefined {
  const segments = target.split("/").filter((segment) => segment !== "");
  const at = segments.findLastIndex((segment) => /^pci[0-9a-f]{4,8}:[0-9a-f]{2}$/.test(segment));
  if (at < 0) {
    return undefined;
  }
  const rootBus = (segments[at] ?? "").slice("pci".length);
  const chain = segments.slice(at + 1).flatMap((segment) => parseAddress(segment) ?? []);
  return placeBelow(rootBus, chain, physfn);
}
