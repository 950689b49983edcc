/** Folders that an outer machine shares with this one through a virtio device: 9p and virtiofs. */
import { join } from "node:path";
import { readTextIfAny } from "./device-facts.js";
import type { ProtectionNotes } from "./protection-notes.js";
import type { HostRoot } from "./root.js";
import { behindLink, functionsOn, namesIn } from "./sysfs-tree.js";

/** Type of the mount -> driver of the device. */
const DRIVERS = { "9p": "9pnet_virtio", virtiofs: "virtiofs" } as const;

export class FileShares {
  readonly #root: HostRoot;
  readonly #notes: ProtectionNotes;

  constructor(root: HostRoot, notes: ProtectionNotes) {
    this.#root = root;
    this.#notes = notes;
  }

  /** Ids of all shares. */
  all(): readonly string[] {
    return Object.values(DRIVERS).flatMap((driver) => this.#of(driver).map(({ id }) => id));
  }

  /** Ids of the shares that a mount may be of: the one with its tag or, where no tag can be read, all of its kind. */
  named(type: keyof typeof DRIVERS, tag: string): readonly string[] {
    const shares = this.#of(DRIVERS[type]);
    const named = shares.filter((share) => share.tag === tag);
    const found = (named.length > 0 ? named : shares).map(({ id }) => id);
    return found.length > 0 ? found : [`share/${tag}`];
  }

  #of(driver: string): { readonly id: string; readonly tag: string | undefined }[] {
    const folder = this.#root.virtioDriver(driver);
    return namesIn(folder)
      .filter((name) => /^virtio\d+$/.test(name))
      .flatMap((name) => {
        const device = behindLink(join(folder, name));
        if (device === undefined) {
          return [];
        }
        const id = this.#notes.carrier(`share/${name}`, () => ({
          label: `${driver} ${name}`,
          on: [],
          functions: functionsOn(device),
          otherwise: [],
        }));
        return [{ id, tag: readTextIfAny(join(device, "mount_tag"))?.replaceAll("\0", "") }];
      });
  }
}
