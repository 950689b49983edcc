/**
 * The simulated sysfs of PCI: one folder per function below its bridge, and the links that lead there from the bus,
 * the drivers and the IOMMU groups (kernel ABI: testing/sysfs-bus-pci, testing/sysfs-kernel-iommu_groups).
 *
 * Lays out what host/scan reads. Decides nothing. Unlike the real sysfs an ordinary folder sends inotify events
 * (facts.md 10): what a watcher sees here proves nothing about sysfs.
 */
import { type PciAddress, slotOf } from "../core/address.js";
import { addressOf, type SimCard } from "./card.js";
import { configSpace, resourceText } from "./config-space.js";
import type { Tree } from "./tree.js";

const BUS = "/sys/bus/pci";
const GROUPS = "/sys/kernel/iommu_groups";

export class SysfsTree {
  readonly #tree: Tree;
  readonly #folders = new Map<PciAddress, string>();

  constructor(tree: Tree) {
    this.#tree = tree;
    for (const path of [`${BUS}/devices`, `${BUS}/drivers`, GROUPS, "/sys/class/net", "/sys/class/block"]) {
      tree.folder(path);
    }
    tree.write(`${BUS}/drivers_autoprobe`, "1\n");
    for (const path of [`${BUS}/drivers_probe`, `${BUS}/rescan`]) {
      tree.write(path, "");
    }
  }

  /** Folder of a function, as a path of the simulated machine. */
  folderOf(address: PciAddress): string | undefined {
    return this.#folders.get(address);
  }

  addDriver(name: string): void {
    for (const file of ["bind", "unbind", "new_id", "remove_id"]) {
      this.#tree.write(`${BUS}/drivers/${name}/${file}`, "");
    }
    const module = name.replaceAll("-", "_");
    this.#tree.folder(`/sys/module/${module}`);
    this.#tree.link(`${BUS}/drivers/${name}/module`, `/sys/module/${module}`);
  }

  addFunction(address: PciAddress, parent: PciAddress | null, group: number | null, card: SimCard): void {
    const rootBus = card.rootBus ?? address.slice(0, address.lastIndexOf(":"));
    const above = parent === null ? undefined : this.#folders.get(parent);
    const folder = `${above ?? `/sys/devices/pci${rootBus}`}/${address}`;
    this.#folders.set(address, folder);
    for (const [name, text] of attributes(card)) {
      this.#tree.write(`${folder}/${name}`, text);
    }
    if (card.serial !== undefined) {
      this.#tree.writeBytes(`${folder}/config`, configSpace(card));
    }
    if (card.slot !== undefined) {
      this.#tree.write(`${BUS}/slots/${card.slot}/address`, `${slotOf(address)}\n`);
    }
    this.#tree.link(`${folder}/subsystem`, BUS);
    if (card.physfn !== undefined) {
      this.#tree.link(
        `${folder}/physfn`,
        this.#folders.get(addressOf(card.physfn)) ?? `${folder}/${card.physfn}`,
      );
    }
    if (group !== null) {
      this.#tree.link(`${folder}/iommu_group`, `${GROUPS}/${group}`);
      this.#tree.link(`${GROUPS}/${group}/devices/${address}`, folder);
      this.#tree.write(`${GROUPS}/${group}/type`, "DMA-FQ\n");
    }
    this.#tree.link(`${BUS}/devices/${address}`, folder);
  }

  removeFunction(address: PciAddress, group: number | null, isGroupEmpty: boolean): void {
    const folder = this.#folders.get(address);
    if (folder === undefined) {
      return;
    }
    this.#tree.remove(`${BUS}/devices/${address}`);
    if (group !== null) {
      this.#tree.remove(isGroupEmpty ? `${GROUPS}/${group}` : `${GROUPS}/${group}/devices/${address}`);
    }
    this.#tree.bury(folder);
    this.#folders.delete(address);
  }

  bound(address: PciAddress, driver: string): void {
    const folder = this.#folders.get(address) ?? "";
    this.#tree.link(`${folder}/driver`, `${BUS}/drivers/${driver}`);
    this.#tree.link(`${BUS}/drivers/${driver}/${address}`, folder);
  }

  /** The links go before the driver has really let go (facts.md 5). */
  unlinkDriver(address: PciAddress, driver: string): void {
    this.#tree.remove(`${this.#folders.get(address) ?? ""}/driver`);
    this.#tree.remove(`${BUS}/drivers/${driver}/${address}`);
  }

  overridden(address: PciAddress, override: string | null): void {
    this.#tree.write(`${this.#folders.get(address) ?? ""}/driver_override`, `${override ?? "(null)"}\n`);
  }
}

function attributes(card: SimCard): [string, string][] {
  const hex = (value: string | undefined): string | undefined =>
    value === undefined ? undefined : `0x${value}\n`;
  const facts: [string, string | undefined][] = [
    ["vendor", hex(card.vendor)],
    ["device", hex(card.device)],
    ["subsystem_vendor", hex(card.subsystemVendor)],
    ["subsystem_device", hex(card.subsystemDevice)],
    // The kernel always shows six digits: where a recording lacks the programming interface it reads as 00.
    ["class", hex(card.class?.padEnd(6, "0"))],
    ["revision", hex(card.revision)],
    ["numa_node", `${card.numaNode ?? -1}\n`],
    ["boot_vga", card.bootVga === undefined ? undefined : `${Number(card.bootVga)}\n`],
    ["label", card.label === undefined ? undefined : `${card.label}\n`],
    ["resource", card.memory === undefined ? undefined : resourceText(card.memory, card.prefetchable ?? 0)],
    ["driver_override", "(null)\n"],
    ["modalias", modalias(card)],
    ["uevent", `PCI_CLASS=${(card.class ?? "").toUpperCase()}\nPCI_SLOT_NAME=${card.address}\n`],
    ["enable", "0\n"],
    ["power/control", "on\n"],
    ["power_state", "D0\n"],
    ["remove", ""],
    ["rescan", ""],
    ["reset", ""],
    ...Object.entries(card.attributes ?? {}).map(([name, value]): [string, string] => [name, `${value}\n`]),
  ];
  return facts.filter((fact): fact is [string, string] => fact[1] !== undefined);
}

function modalias(card: SimCard): string | undefined {
  if (card.vendor === undefined || card.device === undefined || card.class?.length !== 6) {
    return undefined;
  }
  const wide = (value: string | undefined): string => (value ?? "0000").toUpperCase().padStart(8, "0");
  const [base, sub, prog] = card.class.toUpperCase().match(/../g) ?? [];
  return (
    `pci:v${wide(card.vendor)}d${wide(card.device)}sv${wide(card.subsystemVendor)}sd${wide(card.subsystemDevice)}` +
    `bc${base}sc${sub}i${prog}\n`
  );
}
