/**
 * The cards of the L1 machine: emulated devices that the outer QEMU plugs into the machine's root ports while it runs,
 * so that its kernel sees genuine PCI Express hot-plug. Each port has one fixed address, known before a card is in it.
 */
import { closeSync, ftruncateSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Host } from "./host.js";
import type { QmpLink } from "./qmp.js";

/** Model name -> QEMU device, its ids, and the kernel driver that takes it. All but e1000e are quick to hand on. */
const models = {
  nvme: { device: "nvme", driver: "nvme", vendor: "1b36", product: "0010" },
  e1000e: { device: "e1000e", driver: "e1000e", vendor: "8086", product: "10d3" },
  xhci: { device: "qemu-xhci", driver: "xhci_hcd", vendor: "1b36", product: "000d" },
  hda: { device: "intel-hda", driver: "snd_hda_intel", vendor: "8086", product: "2668" },
  vmxnet3: { device: "vmxnet3", driver: "vmxnet3", vendor: "15ad", product: "07b0" },
  edu: { device: "edu", driver: null, vendor: "1234", product: "11e8" },
} as const;

export type Model = keyof typeof models;

/** One PCI function of a card in the L1 machine. */
export interface Card {
  readonly id: string;
  readonly address: string;
  readonly model: Model;
  /** The host driver that takes it, or `null`. */
  readonly driver: string | null;
  readonly vendor: string;
  readonly product: string;
}

const diskBytes = 64 * 1024 * 1024;
const commandDeadlineMs = 60_000;
const unplugDeadlineMs = 120_000;

export class Cards {
  readonly #qmp: QmpLink;
  readonly #host: Host;
  readonly #folder: string;
  readonly #plugged = new Map<string, Card>();
  /** Card -> the file behind its disk, which the outer QEMU knows by the card's name. */
  readonly #files = new Map<string, string>();
  #serial = 0;

  /** @param folder where files behind disks may lie, outside of the L1 machine. */
  constructor(qmp: QmpLink, host: Host, folder: string) {
    this.#qmp = qmp;
    this.#host = host;
    this.#folder = folder;
  }

  /** The address that function `fn` of a card in root port `port` (1 to 8) has. */
  async addressOf(port: number, fn = 0): Promise<string> {
    const bridge = `/sys/bus/pci/devices/0000:00:${(0x10 + port).toString(16)}.0`;
    const bus = Number(await this.#host.sh(`cat ${bridge}/secondary_bus_number`));
    return `0000:${bus.toString(16).padStart(2, "0")}:00.${fn}`;
  }

  /**
   * Plugs a card and waits until the kernel lists it; which driver it has then is up to the host.
   * @param properties more of the outer QEMU's properties, such as `mac`.
   */
  async plug(model: Model, port: number, properties: Record<string, unknown> = {}): Promise<Card> {
    const card = await this.#add(model, port, 0, properties);
    await this.#untilListed(card);
    return card;
  }

  /** Plugs an NVMe card with a disk on it, and gives the disk's name once the host has it: `nvme0n1`. */
  async plugDisk(port: number): Promise<Card & { readonly disk: string }> {
    const node = `disk${this.#serial + 1}`;
    const file = join(this.#folder, node);
    const made = openSync(file, "w");
    ftruncateSync(made, diskBytes);
    closeSync(made);
    const blockdev = { driver: "file", filename: file, "node-name": node };
    await this.#qmp.execute({ execute: "blockdev-add", arguments: blockdev }, commandDeadlineMs);
    const card = await this.plug("nvme", port, { drive: node });
    this.#files.set(card.id, file);
    await this.untilHostDriver(card);
    const name = `ls /sys/bus/pci/devices/${card.address}/nvme/nvme*/ | grep -E '^nvme[0-9]+n[0-9]+$'`;
    await this.#host.until(`a disk on ${card.address}`, `[ -b /dev/$(${name}) ]`);
    return { ...card, disk: await this.#host.sh(name) };
  }

  /** The network interface of a card, once the host has it. */
  async interfaceOf(card: Card): Promise<string> {
    const net = `/sys/bus/pci/devices/${card.address}/net`;
    await this.#host.until(`an interface on ${card.address}`, `[ -n "$(ls ${net} 2>/dev/null)" ]`);
    // udev gives it another name before it is done with the event.
    await this.#host.sh("udevadm settle --timeout=60");
    return await this.#host.sh(`ls ${net}`);
  }

  /** Plugs a card of two functions, which share one IOMMU group. Function 0 comes last: it makes both visible. */
  async plugPair(models_: readonly [Model, Model], port: number): Promise<readonly [Card, Card]> {
    const second = await this.#add(models_[1], port, 1, { multifunction: true });
    const first = await this.#add(models_[0], port, 0, { multifunction: true });
    await this.#untilListed(second);
    return [first, second];
  }

  /** Waits until the card's host driver has it. */
  async untilHostDriver(card: Card): Promise<void> {
    if (card.driver !== null) await this.#host.untilBound(card.address, card.driver);
  }

  /**
   * Pulls a card, with all its functions, and waits until it has left the machine. A VM that holds it is asked by the
   * kernel to let go; the wait ends when it has.
   */
  async pull(card: Card, deadlineMs = unplugDeadlineMs): Promise<void> {
    const gone = this.#qmp.event(
      ({ event, data }) => event === "DEVICE_DELETED" && data?.["device"] === card.id,
      deadlineMs,
      `DEVICE_DELETED of ${card.id} (${card.address})`,
    );
    gone.catch(() => undefined);
    await this.#qmp.execute({ execute: "device_del", arguments: { id: card.id } }, commandDeadlineMs);
    await gone;
    const slot = card.address.slice(0, -1);
    for (const other of this.#plugged.values()) {
      if (other.address.startsWith(slot)) this.#plugged.delete(other.id);
    }
    await this.#forgetDisk(card);
    await this.#host.until(
      `${card.address} gone from sysfs`,
      `[ ! -e /sys/bus/pci/devices/${card.address} ]`,
    );
  }

  /** Pulls whatever is still plugged. */
  async pullAll(): Promise<void> {
    for (const card of [...this.#plugged.values()]) if (this.#plugged.has(card.id)) await this.pull(card);
  }

  async #forgetDisk(card: Card): Promise<void> {
    const file = this.#files.get(card.id);
    if (file === undefined) return;
    this.#files.delete(card.id);
    const node = card.id.replace("card", "disk");
    await this.#qmp.execute({ execute: "blockdev-del", arguments: { "node-name": node } }, commandDeadlineMs);
    rmSync(file);
  }

  async #add(model: Model, port: number, fn: number, extra: Record<string, unknown>): Promise<Card> {
    const { device, driver, vendor, product } = models[model];
    const id = `card${++this.#serial}`;
    const serial = model === "nvme" ? { serial: id } : {};
    const place = { bus: `rp${port}`, addr: `0.${fn}` };
    await this.#qmp.execute(
      { execute: "device_add", arguments: { driver: device, id, ...place, ...serial, ...extra } },
      commandDeadlineMs,
    );
    const card = { id, address: await this.addressOf(port, fn), model, driver, vendor, product };
    this.#plugged.set(id, card);
    return card;
  }

  async #untilListed(card: Card): Promise<void> {
    await this.#host.until(
      `${card.address} in sysfs`,
      `[ -e /sys/bus/pci/devices/${card.address}/driver_override ]`,
    );
  }
}
