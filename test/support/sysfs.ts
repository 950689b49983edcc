/**
 * Lays out a small sysfs in a folder: PCI functions with their links, drivers, IOMMU groups. Made up, but shaped as the
 * kernel shapes it (sysfs-bus-pci): everything in /sys/bus/pci/devices is a relative link into /sys/devices.
 */
import {
  mkdirSync,
  mkdtempSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import type { PciAddress } from "../../src/core/address.js";
import { type HostRoot, hostRoot } from "../../src/host/root.js";
import { anAddress } from "./builders.js";

/** What a function looks like; everything has a default. */
export interface SysfsDevice {
  readonly address: string;
  /** The bridge above, which must have been laid out; null on a root bus. */
  readonly parent?: string | null;
  readonly vendor?: string;
  readonly device?: string;
  readonly class?: string;
  readonly driver?: string | null;
  readonly iommuGroup?: number | null;
  readonly override?: string | null;
  readonly physfn?: string;
  /** Other attributes, name -> text. */
  readonly attributes?: Readonly<Record<string, string>>;
}

export class Sysfs {
  readonly root: HostRoot;
  readonly #folders = new Map<string, string>();
  #gone = 0;

  constructor(dir: string) {
    this.root = hostRoot(dir);
    for (const folder of [
      "sys/bus/pci/devices",
      "sys/bus/pci/drivers",
      "sys/kernel/iommu_groups",
      "dev/vfio",
    ]) {
      mkdirSync(join(dir, folder), { recursive: true });
    }
    this.file("sys/bus/pci/drivers_probe", "");
  }

  get dir(): string {
    return this.root.dir;
  }

  /** Plugs a function in. */
  device(facts: SysfsDevice): this {
    const parent = facts.parent == null ? undefined : this.#folders.get(facts.parent);
    const rootBus = join("sys/devices", `pci${facts.address.slice(0, -5)}`);
    const folder = join(parent ?? rootBus, facts.address);
    this.#folders.set(facts.address, folder);
    const attributes = {
      vendor: `0x${facts.vendor ?? "8086"}`,
      device: `0x${facts.device ?? "10d3"}`,
      subsystem_vendor: "0x8086",
      subsystem_device: "0xa01f",
      class: `0x${facts.class ?? "020000"}`,
      revision: "0x03",
      numa_node: "-1",
      driver_override: facts.override ?? "(null)",
      ...facts.attributes,
    };
    for (const [name, text] of Object.entries(attributes)) {
      this.file(join(folder, name), `${text}\n`);
    }
    this.link(join("sys/bus/pci/devices", facts.address), folder);
    const group = facts.iommuGroup === undefined ? 1 : facts.iommuGroup;
    if (group !== null) {
      mkdirSync(join(this.dir, "sys/kernel/iommu_groups", String(group), "devices"), { recursive: true });
      this.link(join(folder, "iommu_group"), join("sys/kernel/iommu_groups", String(group)));
    }
    if (facts.physfn !== undefined) {
      this.link(join(folder, "physfn"), this.#folders.get(facts.physfn) ?? "");
    }
    if (facts.driver != null) {
      this.driver(facts.driver);
      this.bind(facts.address, facts.driver);
    }
    return this;
  }

  /** Pulls a function out. What it was is kept elsewhere: its inode must not come again, as the kernel's do not. */
  unplug(address: string): this {
    const folder = join(this.dir, this.#folders.get(address) ?? "none");
    rmSync(join(this.dir, "sys/bus/pci/devices", address), { force: true });
    this.#gone += 1;
    mkdirSync(join(this.dir, "gone"), { recursive: true });
    renameSync(folder, join(this.dir, "gone", String(this.#gone)));
    return this;
  }

  /** Loads a driver. */
  driver(name: string): this {
    this.file(join("sys/bus/pci/drivers", name, "bind"), "");
    this.file(join("sys/bus/pci/drivers", name, "unbind"), "");
    return this;
  }

  /** Sets the `driver` link, or takes it away. */
  bind(address: string, driver: string | null): this {
    const link = join(this.#folders.get(address) ?? "none", "driver");
    rmSync(join(this.dir, link), { force: true });
    if (driver !== null) {
      this.link(link, join("sys/bus/pci/drivers", driver));
    }
    return this;
  }

  driverOf(address: string): string | null {
    try {
      return basename(readlinkSync(join(this.dir, this.#folders.get(address) ?? "none", "driver")));
    } catch {
      return null;
    }
  }

  /** Any other file below the root. */
  file(path: string, text: string): this {
    mkdirSync(dirname(join(this.dir, path)), { recursive: true });
    writeFileSync(join(this.dir, path), text);
    return this;
  }

  /** A relative link between two places below the root. */
  link(path: string, target: string): this {
    mkdirSync(dirname(join(this.dir, path)), { recursive: true });
    symlinkSync(relative(dirname(path), target), join(this.dir, path));
    return this;
  }

  /** A link with exactly this text, such as those in /proc. */
  rawLink(path: string, text: string): this {
    mkdirSync(dirname(join(this.dir, path)), { recursive: true });
    symlinkSync(text, join(this.dir, path));
    return this;
  }

  remove(path: string): this {
    rmSync(join(this.dir, path), { recursive: true });
    return this;
  }

  address(text: string): PciAddress {
    return anAddress(text);
  }
}

/** A sysfs in a folder that exists. */
export function aSysfs(dir: string): Sysfs {
  return new Sysfs(dir);
}

/** A new temporary folder, removed by the given hook (vitest's onTestFinished). */
export function aFolder(atEnd: (clean: () => void) => void): string {
  const dir = mkdtempSync(join(tmpdir(), "pciplug-test-"));
  atEnd(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}
