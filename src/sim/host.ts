/**
 * A simulated Linux host: a folder that looks like `/` and behaves like the kernel behind it.
 *
 * Owns the folder tree below `dir` (which belongs to the caller) and every timer it starts. What it imitates is
 * what facts.md 5, 8, 9 and 10 measured. Never touches anything outside `dir`.
 */

import type { PciAddress } from "../core/address.js";
import type { KernelIo } from "../host/kernel-io.js";
import { addressOf, cardsOf, type MachineRecording, type SimCard, SimulationError } from "./card.js";
import { type RecordedWrite, SimKernelIo, type WriteIntercept } from "./kernel-io.js";
import { SimMachine, type Uevent } from "./machine.js";
import { ProcTree } from "./proc-tree.js";
import { SimTimers } from "./timers.js";
import { Tree } from "./tree.js";
import { UdevTree } from "./udev-tree.js";
import type { SimVfio } from "./vfio.js";

export interface SimHostOptions {
  /** An empty folder that plays `/`; the caller removes it. */
  readonly dir: string;
  /** False: no IOMMU, so no card has an IOMMU group. */
  readonly hasIommu?: boolean;
  /** False: no udev database is written. */
  readonly hasUdev?: boolean;
  /** How long the udev rules take, in real milliseconds. 0 by default. */
  readonly udevDelayMs?: number;
  /** Host drivers that are loaded from the start; `vfio-pci` by default. */
  readonly drivers?: readonly string[];
}

/** One kernel event about a card. */
export interface RecordedUevent {
  readonly action: Uevent;
  readonly address: PciAddress;
}

/** Lays out the folder tree of a host without cards. */
export async function createSimHost(options: SimHostOptions): Promise<SimHost> {
  return new SimHost(options);
}

export class SimHost {
  readonly dir: string;
  /** Stands in for host/kernel-io's real one. */
  readonly io: KernelIo;
  /** Every write through `io`, in order. */
  readonly writes: readonly RecordedWrite[];
  /** Every kernel event, in order. */
  readonly uevents: RecordedUevent[] = [];
  /** What the simulated QEMUs of this host share: processes and vfio. */
  readonly proc: ProcTree;
  readonly vfio: SimVfio;
  /** The user that plays root here: the one who runs the simulation. */
  readonly superuser: { readonly uid: number; readonly gid: number };
  readonly #machine: SimMachine;
  readonly #io: SimKernelIo;
  readonly #timers = new SimTimers(1);
  readonly #udev: UdevTree | undefined;
  readonly #hasIommu: boolean;
  readonly #listeners = new Set<(event: RecordedUevent) => void>();
  readonly #ejected: SimCard[] = [];
  #hotplug: Promise<unknown> = Promise.resolve();

  constructor(options: SimHostOptions) {
    const tree = new Tree(options.dir);
    this.dir = options.dir;
    this.superuser = tree.superuser;
    this.#hasIommu = options.hasIommu !== false;
    this.proc = new ProcTree(tree);
    this.#udev =
      options.hasUdev === false
        ? undefined
        : new UdevTree(
            tree,
            this.#timers,
            options.udevDelayMs ?? 0,
            (address) => this.#machine.cardAt(address)?.udev ?? {},
          );
    this.#machine = new SimMachine(tree, (action, address) => this.#emit({ action, address }));
    this.vfio = this.#machine.vfio;
    for (const driver of options.drivers ?? ["vfio-pci"]) {
      this.#machine.loadDriver(driver);
    }
    if (this.#hasIommu) {
      tree.folder("/sys/class/iommu/dmar0");
    }
    tree.write("/dev/vfio/vfio", "");
    tree.folder("/sys/fs");
    tree.write("/sys/class/tty/console/active", "tty0\n");
    this.#io = new SimKernelIo({
      tree,
      machine: this.#machine,
      proc: this.proc,
      rescan: () => this.#alone(async () => this.#findAgain()),
      remove: (address) => this.#alone(() => this.#eject(address)),
    });
    this.io = this.#io;
    this.writes = this.#io.writes;
  }

  /** Plugs a card in; resolves when the kernel has it. Waits while another card's removal is stuck (facts.md 5). */
  plug(card: SimCard): Promise<void> {
    return this.#alone(async () =>
      this.#machine.insert(this.#hasIommu ? card : { ...card, iommuGroup: null }),
    );
  }

  /** Pulls a card out; resolves when its folder is gone, which a VM that holds it can delay without limit. */
  pull(address: string): Promise<void> {
    return this.#alone(() => this.#machine.takeOut(addressOf(address)));
  }

  /** The card goes and comes back at once: a new sysfs folder, no override, its host driver. */
  restartAppearance(address: string): Promise<void> {
    const card = this.card(address);
    return this.#alone(async () => {
      await this.#machine.takeOut(addressOf(address));
      this.#machine.insert(card);
    });
  }

  /** Plugs every card of a recorded machine. @throws {SimulationError} sim.misuse for another kind of file. */
  async loadMachine(recording: MachineRecording): Promise<void> {
    for (const card of cardsOf(recording)) {
      await this.plug(card);
    }
  }

  /** Another boot: VMs gone, drivers and overrides as at first, another boot id, other IOMMU group numbers. */
  async reboot(): Promise<void> {
    this.#machine.reboot();
    this.proc.boot();
  }

  /** The card at an address. @throws {SimulationError} sim.misuse when there is none. */
  card(address: string): SimCard {
    const wanted = addressOf(address);
    const card = this.#machine.cards().find((candidate) => addressOf(candidate.address) === wanted);
    if (card === undefined) {
      throw new SimulationError(`cannot find card ${address}: the slot is empty`);
    }
    return card;
  }

  /** Whether there is a card at an address. */
  hasCard(address: string): boolean {
    return this.#machine.cardAt(addressOf(address)) !== undefined;
  }

  /** Name of the driver that has the card; `null` for none. (While it is stuck in unbind: still the old one.) */
  driverOf(address: string): string | null {
    return this.#machine.drivers.get(addressOf(address))?.driver ?? null;
  }

  /** The driver_override of the card; `null` when unset. */
  overrideOf(address: string): string | null {
    return this.#machine.drivers.get(addressOf(address))?.override ?? null;
  }

  /** Lets a test answer writes instead of the kernel. Returns what takes it away again. */
  intercept(intercept: WriteIntercept): () => void {
    return this.#io.intercept(intercept);
  }

  /** Tells of each kernel event after the tree shows it. Returns what ends it. */
  onUevent(listener: (event: RecordedUevent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timers.clear();
    this.#io.close();
    this.#listeners.clear();
  }

  #emit(event: RecordedUevent): void {
    this.uevents.push(event);
    this.#udev?.event(event.address, event.action);
    for (const listener of this.#listeners) {
      listener(event);
    }
  }

  /** The kernel's global PCI lock: one change of what is plugged at a time. */
  #alone<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#hotplug.then(change);
    this.#hotplug = result.catch(() => undefined);
    return result;
  }

  async #eject(address: PciAddress): Promise<void> {
    const card = this.card(address);
    await this.#machine.takeOut(address);
    this.#ejected.push(card);
  }

  #findAgain(): void {
    for (const card of this.#ejected.splice(0)) {
      this.#machine.insert(card);
    }
  }
}
