/**
 * Gathers what the host stands on, from PID 1's mount and network namespaces (semantics.md 8): the agent's own,
 * hardened view lacks mounts. Cheap enough for every look; reads nothing that can block.
 */
import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { messageOf } from "../base/error.js";
import { type PciAddress, parseAddress } from "../core/address.js";
import type { Device } from "../core/device.js";
import { type Area, type Protection, type ProtectionFacts, protect } from "../core/protection.js";
import { readTextIfAny } from "./device-facts.js";
import { errnoOf } from "./error.js";
import type { HostRoot } from "./root.js";

/** Devices that the host needs, and why, as of now. */
export function readProtections(
  root: HostRoot,
  devices: readonly Device[],
): ReadonlyMap<PciAddress, Protection> {
  return protect(devices, gatherProtectionFacts(root));
}

/** What the host stands on, as far as it can be told; plain JSON, so that a recording can carry it. */
export function gatherProtectionFacts(root: HostRoot): ProtectionFacts {
  return new Gathering(root).facts();
}

/** File systems whose blocks come over the network. */
const OVER_NETWORK = /^(nfs4?|cifs|smb3|ceph|glusterfs|fuse\.sshfs|afs)$/;
/** Block devices that stand on nothing of their own, or on a file of a mount that is looked at by itself. */
const ON_MEMORY_OR_FILE = /^(loop|zram|ram)\d/;
/** Storage of the board itself, such as an eMMC; software iSCSI sessions hang there too, but stand on the network. */
const BUILT_IN = /\/platform\/(?!.*\/session\d+\/)/;

class Gathering {
  readonly #root: HostRoot;
  readonly #needed = new Map<PciAddress, string>();
  readonly #unknown: { readonly area: Area; readonly detail: string }[] = [];
  readonly #seen = new Set<string>();

  constructor(root: HostRoot) {
    this.#root = root;
  }

  facts(): ProtectionFacts {
    this.#attempt("storage", "mounts", () => this.#mounts());
    this.#attempt("storage", "swap", () => this.#swaps());
    this.#attempt("network", "routes", () => this.#routes());
    this.#shares();
    const consoles = readTextIfAny(this.#root.activeConsole());
    const needed = [...this.#needed].map(([address, because]) => ({ address, because }));
    // Where the file cannot be read the screen counts as one of them.
    const isConsoleOnScreen = consoles === undefined || /\btty\d/.test(consoles);
    return { needed, unknown: this.#unknown, isConsoleOnScreen };
  }

  #mounts(): void {
    for (const line of readFileSync(this.#root.proc(1, "mountinfo"), "utf8").split("\n").filter(Boolean)) {
      const [left = "", right = ""] = line.split(" - ");
      const [, , number = "", , place = ""] = left.split(" ");
      const [type = "", source = ""] = right.split(" ");
      this.#mount(number, type, unescaped(source), `mounted at ${unescaped(place)}`);
    }
    for (const id of namesIn(this.#root.btrfs())) {
      for (const name of namesIn(join(this.#root.btrfs(), id, "devices"))) {
        this.#block(this.#root.blockClass(name), `part of the mounted btrfs ${id}`);
      }
    }
  }

  #mount(number: string, type: string, source: string, use: string): void {
    if (type === "zfs") {
      this.#cannotTell("storage", `a ZFS is ${use}, and its disks cannot be told`);
    } else if (OVER_NETWORK.test(type)) {
      this.#cannotTell("network", `a ${type} is ${use}, and its path cannot be told`);
    } else if (!number.startsWith("0:")) {
      this.#block(this.#root.blockDevice(number), use);
    } else if (source.startsWith("/dev/") && !/^fuse(\.|$)/.test(type)) {
      // btrfs and bcachefs have no device number of their own; the latter lists its members.
      for (const node of source.split(":")) {
        this.#blockNode(node, use);
      }
    }
  }

  #swaps(): void {
    for (const line of textIfThere(this.#root.swaps()).split("\n").slice(1)) {
      const [path = "", kind] = line.split(/\s+/);
      if (kind === "partition") {
        this.#blockNode(unescaped(path), "swap");
      }
    }
  }

  /** A block device by its node, following names such as /dev/mapper/x. */
  #blockNode(path: string, use: string): void {
    const node = this.#root.inside(path);
    const name = basename(realPathOf(node) ?? node);
    this.#block(this.#root.blockClass(name), use);
  }

  /** Walks from a block device down to the PCI functions that it stands on. */
  #block(path: string, use: string): void {
    const real = realPathOf(path);
    if (real === undefined) {
      this.#cannotTell("storage", `what is ${use} is on ${basename(path)}, which sysfs does not show`);
      return;
    }
    if (this.#seen.has(real) || ON_MEMORY_OR_FILE.test(basename(real))) {
      return;
    }
    this.#seen.add(real);
    const below = namesIn(join(real, "slaves")).map((name) => this.#root.blockClass(name));
    const next = [...below, ...this.#whole(real), ...multipathsOf(real)];
    const isFound = this.#needAll(real, `it carries what is ${use}`) || BUILT_IN.test(real);
    if (!isFound && next.length === 0) {
      const detail = `what is ${use} stands on ${basename(real)}, and that on nothing we know`;
      this.#cannotTell("storage", detail);
      this.#cannotTell("network", detail);
    }
    for (const path of next) {
      this.#block(path, use);
    }
  }

  /** The whole disk of a partition: only it says what an md or multipath device consists of. */
  #whole(real: string): string[] {
    return readTextIfAny(join(real, "partition")) === undefined ? [] : [dirname(real)];
  }

  #routes(): void {
    const routes = readFileSync(this.#root.proc(1, "net", "route"), "latin1");
    const routes6 = textIfThere(this.#root.proc(1, "net", "ipv6_route"));
    for (const name of defaultInterfaces(routes, routes6)) {
      const because = `the default route goes through ${name}`;
      if (!this.#network(name, because)) {
        this.#cannotTell("network", `${because}, which leads to no device we know`);
      }
    }
    const inet6 = textIfThere(this.#root.proc(1, "net", "if_inet6"));
    for (const name of addressedInterfaces(routes, inet6)) {
      this.#network(name, `the host has an address on ${name}`);
    }
  }

  /** Walks from an interface down through bridge, bond and VLAN. Says whether it led to a PCI function. */
  #network(name: string, because: string): boolean {
    const folder = realPathOf(this.#root.networkInterface(name));
    if (folder === undefined || this.#seen.has(folder)) {
      return this.#seen.has(folder ?? "");
    }
    this.#seen.add(folder);
    const lower = namesIn(folder).flatMap((entry) => /^lower_(.+)$/.exec(entry)?.[1] ?? []);
    const found = lower.map((below) => this.#network(below, because));
    return this.#needAll(folder, because) || found.includes(true);
  }

  /** 9p and virtiofs: mounts of an outer root may be invisible to a chrooted PID 1, so each share counts as in use. */
  #shares(): void {
    for (const driver of ["9pnet_virtio", "virtiofs"]) {
      const folder = this.#root.virtioDriver(driver);
      for (const name of namesIn(folder).filter((entry) => /^virtio\d+$/.test(entry))) {
        this.#needAll(realPathOf(join(folder, name)) ?? "", `it carries a file share (${driver})`);
      }
    }
  }

  /** Every PCI function on the way to a thing: a USB disk needs its controller. */
  #needAll(realPath: string, because: string): boolean {
    const addresses = realPath.split("/").flatMap((segment) => parseAddress(segment) ?? []);
    for (const address of addresses) {
      this.#needed.set(address, this.#needed.get(address) ?? because);
    }
    return addresses.length > 0;
  }

  #attempt(area: Area, what: string, gather: () => void): void {
    try {
      gather();
    } catch (error) {
      this.#cannotTell(area, `the host's ${what} cannot be read: ${messageOf(error)}`);
    }
  }

  #cannotTell(area: Area, detail: string): void {
    this.#unknown.push({ area, detail });
  }
}

/** Interfaces of the default routes in /proc/net/route and /proc/net/ipv6_route. */
function defaultInterfaces(routes: string, routes6: string): ReadonlySet<string> {
  const names = new Set<string>();
  for (const line of routes.split("\n").slice(1)) {
    const [name = "", destination, , , , , , mask] = line.split(/\s+/);
    if (destination === "00000000" && mask === "00000000") {
      names.add(name);
    }
  }
  for (const line of routes6.split("\n")) {
    names.add(/^0{32} 00 .* (\S+)$/.exec(line.trim())?.[1] ?? "lo");
  }
  // The kernel keeps unreachable default routes on `lo`.
  names.delete("lo");
  return names;
}

/** IPv4's link-local network in /proc/net/route, which writes addresses as the machine's own integers. */
const LINK_LOCAL = "0000FEA9";

/** Interfaces with a route of their own, or with a global address of IPv6; link-local ones never count. */
function addressedInterfaces(routes: string, inet6: string): ReadonlySet<string> {
  const names = new Set<string>();
  for (const line of routes.split("\n").slice(1)) {
    const [name = "", destination = LINK_LOCAL] = line.split(/\s+/);
    if (destination !== LINK_LOCAL) {
      names.add(name);
    }
  }
  for (const line of inet6.split("\n")) {
    const [, , , scope, , name = ""] = line.trim().split(/\s+/);
    if (scope === "00") {
      names.add(name);
    }
  }
  names.delete("lo");
  names.delete("");
  return names;
}

/** NVMe multipath: the disk hangs below a virtual subsystem; its controllers are the way to the hardware. */
function multipathsOf(real: string): string[] {
  const subsystem = /^(.*\/nvme-subsystem\/nvme-subsys\d+)\//.exec(real)?.[1];
  return subsystem === undefined
    ? []
    : namesIn(subsystem)
        .filter((name) => /^nvme\d+$/.test(name))
        .map((name) => join(subsystem, name));
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function realPathOf(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

/** Files that a kernel without the feature does not have. */
function textIfThere(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") {
      return "";
    }
    throw error;
  }
}

/** mountinfo and swaps write blanks as octal escapes (proc_pid_mountinfo(5)). */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
