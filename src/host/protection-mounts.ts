/** What each kind of mount stands on: block devices, shares, servers, pools, other mounts, or nothing at all. */
import { basename } from "node:path";
import { layersOf, type Mount, mountOf } from "./mount-table.js";
import type { BlockDevices } from "./protection-blocks.js";
import type { HostNetwork } from "./protection-network.js";
import type { ProtectionNotes } from "./protection-notes.js";
import type { FileShares } from "./protection-shares.js";
import type { ZfsPools } from "./protection-zfs.js";
import type { HostRoot } from "./root.js";
import { realPathOf } from "./sysfs-tree.js";

/** File systems that keep nothing, or only in memory or on the board's own flash. A fuse process's files are looked at. */
const WITHOUT_DEVICE = new Set(
  `autofs bdev binder binfmt_misc bpf cgroup cgroup2 configfs cpuset debugfs dax devfs devpts devtmpfs dmabuf drm
  efivarfs functionfs fuse fusectl gadgetfs guest_memfd hugetlbfs ipathfs jffs2 mqueue nfsd none nsfs openpromfs
  oprofilefs pidfs pipefs proc pstore ramfs resctrl rootfs rpc_pipefs secretmem securityfs selinuxfs smackfs sockfs
  spufs sysfs tmpfs tracefs ubifs usbfs xenfs`.split(/\s+/),
);
/** File systems whose blocks come over the network. */
const OVER_NETWORK = /^(nfs4?|cifs|smb3|ceph|afs|lustre|orangefs|9p)$/;
const IN_LAYERS = /^(overlay|aufs|unionfs)$/;

/** Where a mount may lead. */
export interface MountSources {
  readonly root: HostRoot;
  readonly notes: ProtectionNotes;
  readonly network: HostNetwork;
  readonly blocks: BlockDevices;
  readonly shares: FileShares;
  readonly pools: ZfsPools;
  /** File systems that are mounted somewhere, in whatever namespace. */
  readonly listed: () => readonly string[];
}

export class MountGrounds {
  readonly #mounts: readonly Mount[];
  readonly #sources: MountSources;
  readonly #known = new Map<string, readonly string[]>();
  #hidden: readonly string[] | undefined;

  constructor(mounts: readonly Mount[], sources: MountSources) {
    this.#mounts = mounts;
    this.#sources = sources;
  }

  /** Ids of what the mount stands on; none for one that stands on no device. */
  of(mount: Mount): readonly string[] {
    const known = this.#known.get(mount.id);
    if (known !== undefined) {
      return known;
    }
    // A mount that leads back to itself says nothing more by that.
    this.#known.set(mount.id, []);
    const found = this.#find(mount);
    this.#known.set(mount.id, found);
    return found;
  }

  #find(mount: Mount): readonly string[] {
    const { number, type, source } = mount;
    const { blocks, shares, pools } = this.#sources;
    if (!number.startsWith("0:")) {
      return [blocks.byNumber(number, basename(source))];
    }
    if (WITHOUT_DEVICE.has(type) || type.startsWith("fuse.")) {
      return [];
    }
    if (type === "zfs") {
      return [pools.pool(source.split("/")[0] ?? "")];
    }
    if (type === "virtiofs" || (type === "9p" && /(^|,)trans=virtio(,|$)/.test(mount.options))) {
      return shares.named(type, source);
    }
    if (OVER_NETWORK.test(type)) {
      return [this.#remote(mount)];
    }
    if (IN_LAYERS.test(type)) {
      return [this.#layered(mount)];
    }
    return this.#onSource(mount);
  }

  /** btrfs and bcachefs have no device number of their own; ecryptfs and the like name another folder. */
  #onSource(mount: Mount): readonly string[] {
    const { blocks, root } = this.#sources;
    if (mount.source.startsWith("/dev/")) {
      return mount.source
        .split(":")
        .map((node) => blocks.setOf(basename(realPathOf(root.inside(node)) ?? node)));
    }
    const below = mount.source.startsWith("/") ? mountOf(this.#mounts, mount.source) : undefined;
    if (below !== undefined && below !== mount) {
      return this.of(below);
    }
    return [
      this.#sources.notes.carrier(`mount/${mount.id}`, () => ({
        label: mount.type,
        on: [],
        functions: [],
        otherwise: ["storage", "network"],
      })),
    ];
  }

  #remote(mount: Mount): string {
    const { notes, network } = this.#sources;
    return notes.carrier(`mount/${mount.id}`, () => ({
      label: mount.type,
      on: [...new Set(serversOf(mount).flatMap((server) => network.carriersTo(server)))],
      functions: [],
      otherwise: ["network"],
    }));
  }

  #layered(mount: Mount): string {
    return this.#sources.notes.carrier(`mount/${mount.id}`, () => {
      const layers = layersOf(mount).map((layer) => mountOf(this.#mounts, layer));
      const visible = layers.flatMap((layer) => (layer === undefined || layer === mount ? [] : [layer]));
      const hidden = layers.length === 0 || visible.length < layers.length ? this.#outOfSight() : [];
      return {
        label: mount.type,
        on: [...new Set([...visible.flatMap((layer) => this.of(layer)), ...hidden])],
        functions: [],
        otherwise: [],
      };
    });
  }

  /**
   * What PID 1 does not see mounted, or only folders of it, but somebody has: an overlay whose layers were left behind
   * with an initramfs or outside a chroot can only lie on that. Where there is nothing of the kind, it may lie on
   * anything.
   */
  #outOfSight(): readonly string[] {
    if (this.#hidden === undefined) {
      const whole = this.#mounts.filter(({ type, root }) => root === "/" && !IN_LAYERS.test(type));
      const inSight = new Set(whole.flatMap((mount) => this.of(mount)));
      const found = [...this.#sources.shares.all(), ...this.#sources.listed()].filter(
        (id) => !inSight.has(id),
      );
      this.#hidden = found.length > 0 ? found : ["hidden/folders that cannot be seen from here"];
    }
    return this.#hidden;
  }
}

/** Addresses of servers in the options (`addr=`) or in the source (`10.0.0.1:6789,10.0.0.2:/`, `[2001:db8::1]:/home`). */
function serversOf({ options, source }: Mount): readonly string[] {
  const addr = [...options.matchAll(/(?:^|,)addr=([^,]+)/g)].map(([, server = ""]) => server);
  const named = source.replace(/\/.*$/, "").split(",");
  const plain = named.map((part) => /^\[([^\]]+)\]/.exec(part)?.[1] ?? part.replace(/:\d*$/, ""));
  return addr.length > 0 ? addr : plain;
}
