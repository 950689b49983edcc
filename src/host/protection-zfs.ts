/**
 * The disks of ZFS pools. No kernel interface shows them; ZFS itself records them in its cache file, a packed list in which
 * every path stands as plain text (zpool-create(8), `cachefile`). A pool that is not recorded may lie on any disk.
 */
import { join } from "node:path";
import type { BlockDevices } from "./protection-blocks.js";
import type { ProtectionNotes } from "./protection-notes.js";
import type { HostRoot } from "./root.js";
import { namesIn, textIfThere } from "./sysfs-tree.js";

export class ZfsPools {
  readonly #root: HostRoot;
  readonly #notes: ProtectionNotes;
  readonly #blocks: BlockDevices;

  constructor(root: HostRoot, notes: ProtectionNotes, blocks: BlockDevices) {
    this.#root = root;
    this.#notes = notes;
    this.#blocks = blocks;
  }

  /** Ids of the pools that are imported. */
  imported(): readonly string[] {
    // Beside the folders of the pools are plain files, in which there are no names.
    const folder = this.#root.zfsPools();
    const names = namesIn(folder).filter((name) => namesIn(join(folder, name)).length > 0);
    return names.map((name) => this.pool(name));
  }

  /** What a volume may lie on: any imported pool. */
  all(): readonly string[] {
    const pools = this.imported();
    return pools.length > 0 ? pools : [this.pool("of a volume")];
  }

  /** The id of one pool. */
  pool(name: string): string {
    return this.#notes.carrier(`zfs/${name}`, () => ({
      label: `the ZFS pool ${name}`,
      on: this.#membersOf(name),
      functions: [],
      otherwise: ["storage"],
    }));
  }

  /** All disks that are recorded, whichever pool they are of; none if this pool is not among those recorded. */
  #membersOf(name: string): readonly string[] {
    const cache = textIfThere(this.#root.zfsCache());
    if (!cache.includes(name)) {
      return [];
    }
    const nodes = [...cache.matchAll(/\/dev\/[\x21-\x7e]+/g)].map(([node]) => node);
    return [...new Set(nodes.map((node) => this.#blocks.byNode(node)))];
  }
}
