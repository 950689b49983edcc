/**
 * What the host's storage stands on, as PID 1 sees it: mounts, swap, the agent's own folders, and everything that is put
 * together of block devices, mounted or not.
 */
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { type Mount, mountOf, parseMounts, parseSwapPartitions } from "./mount-table.js";
import { BlockDevices } from "./protection-blocks.js";
import { MountGrounds } from "./protection-mounts.js";
import type { HostNetwork } from "./protection-network.js";
import type { ProtectionNotes } from "./protection-notes.js";
import { FileShares } from "./protection-shares.js";
import { ZfsPools } from "./protection-zfs.js";
import type { HostRoot } from "./root.js";
import { behindLink, namesIn, realPathOf, textIfThere } from "./sysfs-tree.js";

/** File systems that list in /sys/fs the block devices on which they are mounted, in whatever mount namespace. */
const LISTED_BY_DEVICE = ["ext4", "xfs", "f2fs", "erofs"];

/** Only these can be made of other block devices; asking a thousand disks would cost more than all else together. */
const VIRTUAL = /\/virtual\/block\//;

export class HostStorage {
  readonly blocks: BlockDevices;
  readonly #root: HostRoot;
  readonly #notes: ProtectionNotes;
  readonly #shares: FileShares;
  readonly #pools: ZfsPools;
  readonly #network: HostNetwork;
  #mounts: readonly Mount[] = [];
  #grounds: MountGrounds | undefined;

  constructor(root: HostRoot, notes: ProtectionNotes, network: HostNetwork) {
    this.#root = root;
    this.#notes = notes;
    this.#network = network;
    this.blocks = new BlockDevices(root, notes, {
      ofFile: (path) => this.#below(path),
      ofServer: (address) => network.carriersTo(address),
      ofPools: () => this.#pools.all(),
    });
    this.#shares = new FileShares(root, notes);
    this.#pools = new ZfsPools(root, notes, this.blocks);
  }

  /** Notes everything; what lies below the given folders (host paths) no override will ever lift. */
  gather(folders: readonly string[]): void {
    this.#notes.attempt("storage", "mounts", () => this.#readMounts(folders));
    this.#notes.attempt("storage", "swap", () => this.#swaps());
    this.#notes.attempt("storage", "file systems", () => this.#fileSystems());
    this.#notes.attempt("storage", "ZFS pools", () => this.#poolsInUse());
    this.#notes.attempt("storage", "stacked block devices", () => this.#stacks());
    this.#notes.attempt("storage", "file shares", () => this.#sharesInUse());
  }

  #readMounts(folders: readonly string[]): void {
    this.#mounts = parseMounts(readFileSync(this.#root.proc(1, "mountinfo"), "utf8"));
    const grounds = new MountGrounds(this.#mounts, {
      root: this.#root,
      notes: this.#notes,
      network: this.#network,
      blocks: this.blocks,
      shares: this.#shares,
      pools: this.#pools,
      listed: () => this.#superblocks().map(({ id }) => id),
    });
    this.#grounds = grounds;
    for (const mount of this.#mounts) {
      for (const id of grounds.of(mount)) {
        this.#notes.use(id, mount.place, { isLiftable: mount.place !== "/" });
      }
    }
    for (const folder of folders) {
      for (const id of this.#below(this.#root.isLive ? (realPathOf(folder) ?? folder) : folder)) {
        this.#notes.use(id, `the agent's own ${folder}`, { isLiftable: false });
      }
    }
  }

  /** What a path lies on. */
  #below(path: string): readonly string[] {
    const mount = mountOf(this.#mounts, path);
    return mount === undefined ? [] : (this.#grounds?.of(mount) ?? []);
  }

  #swaps(): void {
    for (const path of parseSwapPartitions(textIfThere(this.#root.swaps()))) {
      this.#notes.use(this.blocks.byNode(path), "swap");
    }
  }

  #fileSystems(): void {
    for (const { id, type } of this.#superblocks()) {
      if (!this.#notes.isUsed(id)) {
        this.#notes.use(id, `a mounted ${type}`);
      }
    }
    const sets = this.#root.fileSystems("bcache");
    for (const set of namesIn(sets)) {
      for (const member of namesIn(join(sets, set)).filter((name) => /^(bdev|cache)\d+$/.test(name))) {
        // Each leads to the `bcache` folder of its block device.
        const folder = behindLink(join(sets, set, member));
        if (folder !== undefined) {
          this.#notes.use(this.blocks.byName(basename(dirname(folder))), "a part of a bcache set");
        }
      }
    }
  }

  /** Block devices and sets of them with a file system that some namespace has mounted, PID 1's or another. */
  #superblocks(): { readonly id: string; readonly type: string }[] {
    const shown = new Set(namesIn(this.#root.blockDevices()));
    const single = LISTED_BY_DEVICE.flatMap((type) =>
      namesIn(this.#root.fileSystems(type))
        .filter((name) => shown.has(name))
        .map((name) => ({ id: this.blocks.byName(name), type })),
    );
    const btrfs = namesIn(this.#root.fileSystems("btrfs")).flatMap((id) => this.blocks.btrfs(id) ?? []);
    const bcachefs = namesIn(this.#root.fileSystems("bcachefs")).flatMap(
      (id) => this.blocks.bcachefs(id) ?? [],
    );
    return [
      ...single,
      ...btrfs.map((id) => ({ id, type: "btrfs" })),
      ...bcachefs.map((id) => ({ id, type: "bcachefs" })),
    ];
  }

  #poolsInUse(): void {
    for (const id of this.#pools.imported()) {
      if (!this.#notes.isUsed(id)) {
        this.#notes.use(id, "an imported pool");
      }
    }
  }

  /** Whatever is put together of others is in use, mounted or not. */
  #stacks(): void {
    for (const name of namesIn(this.#root.blockDevices())) {
      const folder = behindLink(this.#root.blockClass(name)) ?? "";
      if (VIRTUAL.test(folder) && namesIn(join(folder, "slaves")).length > 0) {
        const id = this.blocks.byName(name);
        if (!this.#notes.isUsed(id)) {
          this.#notes.use(id, "a stacked device");
        }
      }
    }
  }

  /** Mounts of an outer root may be invisible to a chrooted PID 1, so each share counts as in use. */
  #sharesInUse(): void {
    for (const id of this.#shares.all()) {
      if (!this.#notes.isUsed(id)) {
        this.#notes.use(id, "a file share", { isGrounded: false });
      }
    }
  }
}
