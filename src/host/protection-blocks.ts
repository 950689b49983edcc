/**
 * From a block device down to the PCI functions that it stands on: partitions, device-mapper, md, bcache, multipath,
 * loop files, iSCSI. Kernel ABI: sysfs-block (`slaves`, `holders`), sysfs-class-iscsi_connection.
 */
import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { readTextIfAny } from "./device-facts.js";
import type { ProtectionNotes } from "./protection-notes.js";
import type { HostRoot } from "./root.js";
import { behindLink, functionsOn, namesIn, realPathOf } from "./sysfs-tree.js";

/** Block devices of memory, or of memory that keeps its content. */
const MEMORY = /^(zram|ram|pmem|brd)\d/;
/** Storage of the board or the mainframe itself, such as an eMMC; software iSCSI sessions hang there too, but stand on the network. */
const BUILT_IN = /\/(platform|css\d+)\/(?!.*\/session\d+\/)/;
const SESSION = /^(.*\/(session\d+))\//;

/** Where a block device may stand that is none of this file's business: a file, a server, a pool. */
export interface BlockGrounds {
  /** Ids of what the file lies on. */
  readonly ofFile: (path: string) => readonly string[];
  /** Ids of the interfaces through which the server is reached. */
  readonly ofServer: (address: string) => readonly string[];
  /** Ids of what the volumes of all ZFS pools stand on. */
  readonly ofPools: () => readonly string[];
}

export class BlockDevices {
  readonly #root: HostRoot;
  readonly #notes: ProtectionNotes;
  readonly #grounds: BlockGrounds;

  constructor(root: HostRoot, notes: ProtectionNotes, grounds: BlockGrounds) {
    this.#root = root;
    this.#notes = notes;
    this.#grounds = grounds;
  }

  /** The id of a block device by its `major:minor`. */
  byNumber(number: string, name: string): string {
    return this.#behind(this.#root.blockDevice(number), name);
  }

  /** The id of a block device by its kernel name. */
  byName(name: string): string {
    return this.#behind(this.#root.blockClass(name), name);
  }

  /** The id of a block device by its node, also through names such as /dev/mapper/x. */
  byNode(path: string): string {
    const real = realPathOf(this.#root.inside(path));
    return this.byName(basename(real ?? path));
  }

  /** The id of the file system that a block device is a part of, or of the block device itself. */
  setOf(name: string): string {
    for (const id of namesIn(this.#root.fileSystems("btrfs"))) {
      if (this.#btrfsMembers(id).includes(name)) {
        return this.btrfs(id) ?? this.byName(name);
      }
    }
    return this.byName(name);
  }

  /** The id of a mounted btrfs with all its disks; `undefined` where the name is not that of one. */
  btrfs(id: string): string | undefined {
    return this.#set("btrfs", id, this.#btrfsMembers(id));
  }

  /** The id of a mounted bcachefs with all its disks; `undefined` where the name is not that of one. */
  bcachefs(id: string): string | undefined {
    const folder = join(this.#root.fileSystems("bcachefs"), id);
    const members = namesIn(folder).flatMap((name) => behindLink(join(folder, name, "block")) ?? []);
    return this.#set(
      "bcachefs",
      id,
      members.map((member) => basename(member)),
    );
  }

  #btrfsMembers(id: string): readonly string[] {
    return namesIn(join(this.#root.fileSystems("btrfs"), id, "devices"));
  }

  #set(type: string, id: string, members: readonly string[]): string | undefined {
    return members.length === 0
      ? undefined
      : this.#notes.carrier(`${type}/${id}`, () => ({
          label: type,
          on: members.map((member) => this.byName(member)),
          functions: [],
          otherwise: ["storage", "network"],
        }));
  }

  #behind(link: string, name: string): string {
    const folder = behindLink(link);
    // A carrier that nobody shows: the verdict takes it for one that may stand anywhere.
    return folder === undefined || !existsSync(folder) ? `block/${name}` : this.#at(folder);
  }

  #at(folder: string): string {
    const name = basename(folder);
    return this.#notes.carrier(`block/${name}`, () => {
      const functions = functionsOn(folder);
      const below = [
        ...namesIn(join(folder, "slaves")).map((slave) => this.byName(slave)),
        ...this.#wholeOf(folder),
        ...multipathsOf(folder).map((controller) => this.#at(controller)),
        ...this.#elsewhere(folder, name),
      ];
      const isBuiltIn = functions.length > 0 || MEMORY.test(name) || BUILT_IN.test(folder);
      return {
        label: readTextIfAny(join(folder, "dm", "name")) || name,
        on: [...new Set(below)],
        functions,
        otherwise: isBuiltIn || /^loop\d/.test(name) ? [] : ["storage", "network"],
      };
    });
  }

  /** The whole disk of a partition: only it says what an md or multipath device consists of. */
  #wholeOf(folder: string): string[] {
    return existsSync(join(folder, "partition")) ? [this.#at(dirname(folder))] : [];
  }

  #elsewhere(folder: string, name: string): readonly string[] {
    if (/^loop\d/.test(name)) {
      const file = readTextIfAny(join(folder, "loop", "backing_file"));
      return file?.startsWith("/") === true ? this.#grounds.ofFile(file) : [];
    }
    if (/^zd\d/.test(name)) {
      return this.#grounds.ofPools();
    }
    const [, session, id = ""] = SESSION.exec(folder) ?? [];
    return session === undefined ? [] : this.#serversOf(session, id);
  }

  /** A software iSCSI session leads to its target through the network. */
  #serversOf(session: string, id: string): readonly string[] {
    const number = id.replace("session", "");
    return namesIn(session)
      .filter((name) => name.startsWith(`connection${number}:`))
      .flatMap((name) => {
        const server = readTextIfAny(join(session, name, "iscsi_connection", name, "persistent_address"));
        return server === undefined ? [] : this.#grounds.ofServer(server);
      });
  }
}

/** NVMe multipath: the disk hangs below a virtual subsystem; its controllers are the way to the hardware. */
function multipathsOf(folder: string): string[] {
  const subsystem = /^(.*\/nvme-subsystem\/nvme-subsys\d+)\//.exec(folder)?.[1];
  return subsystem === undefined
    ? []
    : namesIn(subsystem)
        .filter((name) => /^nvme\d+$/.test(name))
        .flatMap((name) => behindLink(join(subsystem, name)) ?? []);
}
