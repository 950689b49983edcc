/**
 * The one movable root: every host path of this room is made here, from parsed values only.
 *
 * A copy of a host, a recording and the simulation are looked at and changed through the same methods as `/`.
 * Must never concatenate a text that was not checked to be one path segment.
 */
import { join } from "node:path";
import type { PciAddress } from "../core/address.js";
import { HostError } from "./error.js";

/** One path segment: printable, no slash, not `.` or `..`. Some drivers have spaces in their names. */
const SEGMENT = /^(?!\.{1,2}$)[\x20-\x2e\x30-\x7e]{1,255}$/;
const DEVICE_NUMBER = /^\d{1,7}:\d{1,7}$/;
/** semantics.md 3: what an attribute's name may look like, one folder deep at most. */
const ATTRIBUTE = /^[a-z0-9_]+(\/[a-z0-9_]+)?$/;

/** All paths of one host. `dir` is what stands for `/`. */
export class HostRoot {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
  }

  /** Whether this is the machine we run on: only there do modprobe, udevadm and process ids mean anything. */
  get isLive(): boolean {
    return this.dir === "/";
  }

  /** The folder with one link per PCI function. */
  devices(): string {
    return this.#in("sys/bus/pci/devices");
  }

  device(address: PciAddress): string {
    return join(this.devices(), address);
  }

  /** @throws {HostError} `host.bad-name` for anything but a plain attribute name. */
  attribute(address: PciAddress, name: string): string {
    if (!ATTRIBUTE.test(name)) {
      throw badName("attribute", name);
    }
    return join(this.device(address), name);
  }

  /** The link to the bound driver. */
  driverLink(address: PciAddress): string {
    return join(this.device(address), "driver");
  }

  driverOverride(address: PciAddress): string {
    return join(this.device(address), "driver_override");
  }

  /** One folder per physical slot that a slot driver knows (kernel ABI: sysfs-bus-pci). */
  slots(): string {
    return this.#in("sys/bus/pci/slots");
  }

  driversProbe(): string {
    return this.#in("sys/bus/pci/drivers_probe");
  }

  /** A driver's folder, or its `bind` or `unbind` file. @throws {HostError} `host.bad-name` */
  driver(name: string, file?: "bind" | "unbind"): string {
    const folder = join(this.#in("sys/bus/pci/drivers"), segment("driver", name));
    return file === undefined ? folder : join(folder, file);
  }

  iommuGroups(): string {
    return this.#in("sys/kernel/iommu_groups");
  }

  /** Text attribute of an IOMMU group; absent for a group without a name (kernel: sysfs-kernel-iommu_groups). */
  iommuGroupName(group: number): string {
    return join(this.iommuGroups(), String(group), "name");
  }

  /** The node through which a process opens an IOMMU group. No-IOMMU nodes have another name and are never used. */
  vfioNode(group: number): string {
    return join(this.#in("dev/vfio"), String(group));
  }

  /** udev's database: one file per device for which a rule set something. */
  udevDatabase(): string {
    return this.#in("run/udev/data");
  }

  /** What udev's database says of one device. */
  udevEntry(address: PciAddress): string {
    return join(this.udevDatabase(), `+pci:${address}`);
  }

  procNetUnix(): string {
    return this.#in("proc/net/unix");
  }

  /** The host's own users. */
  passwd(): string {
    return this.#in("etc/passwd");
  }

  processes(): string {
    return this.#in("proc");
  }

  /** A file of one process, such as `proc(1, "mountinfo")`. @throws {HostError} `host.bad-name` */
  proc(pid: number, ...parts: readonly string[]): string {
    return join(this.#in("proc"), String(pid), ...parts.map((part) => segment("file of a process", part)));
  }

  swaps(): string {
    return this.#in("proc/swaps");
  }

  bootId(): string {
    return this.#in("proc/sys/kernel/random/boot_id");
  }

  kernelRelease(): string {
    return this.#in("proc/sys/kernel/osrelease");
  }

  cmdline(): string {
    return this.#in("proc/cmdline");
  }

  /** A block device by its `major:minor`. @throws {HostError} `host.bad-name` */
  blockDevice(number: string): string {
    if (!DEVICE_NUMBER.test(number)) {
      throw badName("block device", number);
    }
    return join(this.#in("sys/dev/block"), number);
  }

  /** A block device by its kernel name. @throws {HostError} `host.bad-name` */
  blockClass(name: string): string {
    return join(this.blockDevices(), segment("block device", name));
  }

  /** Every block device, one link each. */
  blockDevices(): string {
    return this.#in("sys/class/block");
  }

  /** What one kind of file system shows of those that are mounted, in whatever namespace. @throws {HostError} `host.bad-name` */
  fileSystems(type: string): string {
    return join(this.#in("sys/fs"), segment("file system", type));
  }

  /** Pools that ZFS has imported, one folder each. */
  zfsPools(): string {
    return this.#in("proc/spl/kstat/zfs");
  }

  /** Where ZFS records the disks of its pools. */
  zfsCache(): string {
    return this.#in("etc/zfs/zpool.cache");
  }

  /** Every network interface, one link each, and a few files. */
  networkInterfaces(): string {
    return this.#in("sys/class/net");
  }

  /** The devices of a class such as `tpm`, or one of them: a link each. @throws {HostError} `host.bad-name` */
  deviceClass(name: string, device?: string): string {
    const folder = join(this.#in("sys/class"), segment("device class", name));
    return device === undefined ? folder : join(folder, segment("device", device));
  }

  /** A parameter of a module, as it is in force. @throws {HostError} `host.bad-name` */
  moduleParameter(module: string, parameter: string): string {
    return join(
      this.#in("sys/module"),
      segment("module", module),
      "parameters",
      segment("parameter", parameter),
    );
  }

  /** A driver of the virtio bus. @throws {HostError} `host.bad-name` */
  virtioDriver(name: string): string {
    return join(this.#in("sys/bus/virtio/drivers"), segment("virtio driver", name));
  }

  /** Which consoles the kernel writes to. */
  activeConsole(): string {
    return this.#in("sys/class/tty/console/active");
  }

  /** An absolute path as the host spells it. @throws {HostError} `host.bad-name` when it is relative or climbs. */
  inside(path: string): string {
    if (!path.startsWith("/") || path.includes("\0") || path.split("/").includes("..")) {
      throw badName("path", path);
    }
    return this.#in(path.slice(1));
  }

  #in(path: string): string {
    return join(this.dir, path);
  }
}

/** The host below `dir`. */
export function hostRoot(dir = "/"): HostRoot {
  return new HostRoot(dir);
}

function segment(what: string, text: string): string {
  if (!SEGMENT.test(text)) {
    throw badName(what, text);
  }
  return text;
}

function badName(what: string, text: string): HostError {
  return new HostError("host.bad-name", `cannot use ${JSON.stringify(text)} as the name of a ${what}`);
}
