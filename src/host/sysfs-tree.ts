/**
 * Ways through a host's folders: the links of /sys/class and what they lead to. Never goes from folder to folder by itself
 * (sysfs is full of cycles). Synchronous: see sysfs-link.ts.
 */
import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type PciAddress, parseAddress } from "../core/address.js";
import { errnoOf } from "./error.js";
import { readLink } from "./sysfs-link.js";

const GONE: ReadonlySet<string | undefined> = new Set(["ENOENT", "ENOTDIR", "ESRCH", "ENODEV"]);

/** Names in a folder; none where it does not exist (any more). @throws when it exists but cannot be read. */
export function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (GONE.has(errnoOf(error))) {
      return [];
    }
    throw error;
  }
}

/** Text of a file that a kernel without the feature does not have; empty then. @throws when it cannot be read. */
export function textIfThere(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    if (GONE.has(errnoOf(error))) {
      return "";
    }
    throw error;
  }
}

/** What one link points to, as a path; `undefined` where there is no such link. Cheaper than the whole real path. */
export function behindLink(path: string): string | undefined {
  const target = readLink(path);
  return target === null ? undefined : resolve(dirname(path), target);
}

/** The path without any links; `undefined` where it leads nowhere. */
export function realPathOf(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

/** Every PCI function on the way to a thing in /sys/devices. */
export function functionsOn(path: string): PciAddress[] {
  const found: PciAddress[] = [];
  for (const segment of path.split("/")) {
    const address = parseAddress(segment);
    if (address !== undefined) {
      found.push(address);
    }
  }
  return found;
}
