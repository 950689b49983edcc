/**
 * What a host driver makes of a card: its network interface or its disk, in sysfs and in PID 1's view of routes
 * and mounts (/proc/1/net/route, /proc/1/mountinfo). Gone again when the driver is.
 */
import { addressParts } from "../core/address.js";
import { addressOf, type SimCard } from "./card.js";
import type { Tree } from "./tree.js";

const ROUTE_HEADER = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
const ROOT_MOUNT = "21 1 0:20 / / rw,relatime shared:1 - tmpfs tmpfs rw\n";
/** First major number of the kernel's dynamic block devices. */
const DISK_MAJOR = 259;

export class ChildrenTree {
  readonly #tree: Tree;
  readonly #routes = new Map<string, string>();
  readonly #mounts = new Map<string, string>();
  #disks = 0;

  constructor(tree: Tree) {
    this.#tree = tree;
    tree.write("/proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
    tree.write("/proc/1/net/ipv6_route", "");
    tree.write("/proc/1/net/if_inet6", "");
    this.#writeTables();
  }

  /** The host driver has taken the card. */
  appear(folder: string, card: SimCard): void {
    const network = interfaceOf(card);
    if (network !== null) {
      this.#addInterface(folder, network.name, network.hasDefaultRoute === true);
    }
    if (card.disk !== undefined) {
      this.#addDisk(folder, card.disk.name, card.disk.mountPoint);
    }
    this.#writeTables();
  }

  /** The host driver has let go of the card. */
  vanish(folder: string, card: SimCard): void {
    const network = interfaceOf(card);
    if (network !== null) {
      this.#routes.delete(network.name);
      this.#tree.remove(`/sys/class/net/${network.name}`);
      this.#tree.remove(`${folder}/net`);
    }
    if (card.disk !== undefined) {
      this.#mounts.delete(card.disk.name);
      this.#tree.remove(`/sys/class/block/${card.disk.name}`);
      this.#tree.remove(`${folder}/block`);
    }
    this.#writeTables();
  }

  #addInterface(folder: string, name: string, hasDefaultRoute: boolean): void {
    const path = `${folder}/net/${name}`;
    this.#tree.write(`${path}/operstate`, hasDefaultRoute ? "up\n" : "down\n");
    this.#tree.write(`${path}/flags`, hasDefaultRoute ? "0x1003\n" : "0x1002\n");
    this.#tree.write(`${path}/address`, "52:54:00:12:34:56\n");
    this.#tree.link(`${path}/device`, folder);
    this.#tree.link(`/sys/class/net/${name}`, path);
    if (hasDefaultRoute) {
      this.#routes.set(name, `${name}\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n`);
    }
  }

  #addDisk(folder: string, name: string, mountPoint: string | undefined): void {
    const path = `${folder}/block/${name}`;
    const number = `${DISK_MAJOR}:${this.#disks++}`;
    this.#tree.write(`${path}/dev`, `${number}\n`);
    this.#tree.folder(`${path}/holders`);
    this.#tree.folder(`${path}/slaves`);
    this.#tree.link(`${path}/device`, folder);
    this.#tree.link(`/sys/class/block/${name}`, path);
    this.#tree.link(`/sys/dev/block/${number}`, path);
    if (mountPoint !== undefined) {
      this.#mounts.set(name, `30 21 ${number} / ${mountPoint} rw,relatime shared:2 - ext4 /dev/${name} rw\n`);
    }
  }

  #writeTables(): void {
    this.#tree.write("/proc/1/net/route", ROUTE_HEADER + [...this.#routes.values()].join(""));
    this.#tree.write("/proc/1/mountinfo", ROOT_MOUNT + [...this.#mounts.values()].join(""));
  }
}

/** As udev names interfaces, or nearly: `enp5s0f0`. */
function interfaceOf(card: SimCard): Exclude<SimCard["network"], undefined> {
  if (card.network !== undefined || card.class?.startsWith("02") !== true) {
    return card.network ?? null;
  }
  const { domain, bus, device, function: fn } = addressParts(addressOf(card.address));
  return { name: `en${domain === 0 ? "" : `P${domain}`}p${bus}s${device}f${fn}` };
}
