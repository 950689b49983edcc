/** A made-up host on which something can be laid: disks, interfaces, mounts, routes. It stands on nothing by itself. */
import { onTestFinished } from "vitest";
import type { Protection } from "../../src/core/protection.js";
import { readProtections, type Stake } from "../../src/host/protection-facts.js";
import { scanOnce } from "../../src/host/scan.js";
import { aFolder, Sysfs } from "./sysfs.js";

export const NVME = "0000:01:00.0";
export const NIC = "0000:02:00.0";
export const OTHER_NIC = "0000:03:00.0";
export const GPU = "0000:04:00.0";
export const OTHER_NVME = "0000:05:00.0";
export const SHARE = "0000:06:00.0";
export const USB = "0000:07:00.0";

/** All that may carry a disk, and all that may carry a network, of unknown kind or not. */
export const ANY_DISK = [NVME, OTHER_NVME, SHARE, USB];
export const ANY_NIC = [NIC, OTHER_NIC, SHARE, USB];

const ROUTE_HEADING = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
const TCP_HEADING =
  "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

/** Folder of a function in /sys/devices. */
export function pci(address: string): string {
  return `sys/devices/pci${address.slice(0, -5)}/${address}`;
}

export class ProtectedHost extends Sysfs {
  /** A disk or partition with its device number, in the folder of what it hangs on. */
  disk(number: string, name: string, folder: string): this {
    return this.file(`${folder}/${name}/dev`, number)
      .link(`sys/dev/block/${number}`, `${folder}/${name}`)
      .link(`sys/class/block/${name}`, `${folder}/${name}`)
      .file(`dev/${name}`, "");
  }

  /** The first disk with two partitions, and the second one. */
  nvmes(): this {
    const first = `${pci(NVME)}/nvme/nvme0`;
    return this.disk("259:0", "nvme0n1", first)
      .disk("259:1", "nvme0n1p1", `${first}/nvme0n1`)
      .disk("259:2", "nvme0n1p2", `${first}/nvme0n1`)
      .file(`${first}/nvme0n1/nvme0n1p1/partition`, "1")
      .file(`${first}/nvme0n1/nvme0n1p2/partition`, "2")
      .disk("259:3", "nvme1n1", `${pci(OTHER_NVME)}/nvme/nvme1`);
  }

  /** A block device that is made of others. */
  stack(number: string, name: string, on: Readonly<Record<string, string>>, mapperName?: string): this {
    this.disk(number, name, "sys/devices/virtual/block");
    for (const [below, folder] of Object.entries(on)) {
      this.link(`sys/devices/virtual/block/${name}/slaves/${below}`, folder);
      this.link(`${folder}/holders/${name}`, `sys/devices/virtual/block/${name}`);
    }
    return mapperName === undefined
      ? this
      : this.file(`sys/devices/virtual/block/${name}/dm/name`, `${mapperName}\n`).link(
          `dev/mapper/${mapperName}`,
          `dev/${name}`,
        );
  }

  mounts(...lines: readonly string[]): this {
    return this.file("proc/1/mountinfo", lines.map((line) => `${line}\n`).join(""));
  }

  /** A network interface; `null`: a virtual one. */
  interface(name: string, address: string | null, ...lower: readonly string[]): this {
    const folder = address === null ? `sys/devices/virtual/net/${name}` : `${pci(address)}/net/${name}`;
    this.file(`${folder}/flags`, "0x1002\n").link(`sys/class/net/${name}`, folder);
    for (const below of lower) {
      this.link(`${folder}/lower_${below}`, `sys/class/net/${below}`);
    }
    return this;
  }

  setUp(name: string): this {
    return this.file(`sys/class/net/${name}/flags`, "0x1003\n");
  }

  /** Lines of /proc/1/net/route, as this kernel would write them on a little-endian machine. */
  routes(...lines: readonly string[]): this {
    return this.file("proc/1/net/route", ROUTE_HEADING + lines.map((line) => `${line}\n`).join(""));
  }

  connections(file: "tcp" | "tcp6", ...lines: readonly string[]): this {
    return this.file(`proc/1/net/${file}`, TCP_HEADING + lines.map((line) => `${line}\n`).join(""));
  }

  /** What is protected, with the reason. */
  async reasons(stake: Stake = {}): Promise<Readonly<Record<string, string>>> {
    const found = [...(await this.protections(stake))];
    return Object.fromEntries(found.map(([address, { because }]) => [address, because]));
  }

  /** What is protected. */
  async protectedOnes(stake: Stake = {}): Promise<readonly string[]> {
    return [...(await this.protections(stake)).keys()];
  }

  async protections(stake: Stake = {}): Promise<ReadonlyMap<string, Protection>> {
    return readProtections(this.root, await scanOnce(this.root), stake);
  }
}

/** Two disks, two network cards, a GPU, a device that may share a folder and a USB controller. */
export function aProtectedHost(): ProtectedHost {
  return new ProtectedHost(aFolder(onTestFinished))
    .device({ address: NVME, class: "010802" })
    .device({ address: NIC, class: "020000" })
    .device({ address: OTHER_NIC, class: "020000" })
    .device({ address: GPU, class: "030000", attributes: { boot_vga: "1" } })
    .device({ address: OTHER_NVME, class: "010802" })
    .device({ address: SHARE, class: "000200", vendor: "1af4" })
    .device({ address: USB, class: "0c0330" })
    .mounts("22 27 0:21 / /proc rw - proc proc rw")
    .file("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n")
    .routes()
    .file("sys/class/tty/console/active", "ttyS0\n");
}

/** The default route by way of an interface, and the network around it: 192.0.2.0/24. */
export function defaultRoute(name: string): string {
  return `${name}\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n${network(name)}`;
}

/** A network around an interface: 192.0.2.0/24. */
export function network(name: string): string {
  return `${name}\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0`;
}
