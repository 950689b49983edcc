/**
 * The simulated kernel's PCI side: cards come and go, drivers take them and let go, vfio's group nodes follow.
 *
 * Ties the rules (driver-model.ts, vfio.ts) to what can be seen of them (the trees). A device that a VM holds
 * leaves only when the VM lets go: its driver link vanishes at once, the rest waits (facts.md 5).
 */
import type { PciAddress } from "../core/address.js";
import { isVfioDriver } from "../core/device.js";
import { addressOf, isBridge, type SimCard, SimulationError } from "./card.js";
import { ChildrenTree } from "./children-tree.js";
import { type DriverListener, DriverModel, type DriverState } from "./driver-model.js";
import { DONE, type KernelAnswer } from "./errno.js";
import { SysfsTree } from "./sysfs-tree.js";
import type { Tree } from "./tree.js";
import { SimVfio } from "./vfio.js";

export type Uevent = "add" | "bind" | "unbind" | "remove";

const NODE_MODE = 0o600;
const FIRST_OWN_GROUP = 100;
/** How far the numbers of IOMMU groups move with each boot. */
const GROUP_SHIFT = 40;

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export class SimMachine {
  readonly drivers: DriverModel;
  readonly vfio: SimVfio;
  readonly #tree: Tree;
  readonly #sysfs: SysfsTree;
  readonly #children: ChildrenTree;
  readonly #onEvent: (event: Uevent, address: PciAddress) => void;
  readonly #cards = new Map<PciAddress, SimCard>();
  readonly #leaving = new Map<PciAddress, Promise<void>>();
  readonly #nodes = new Map<number, Owner>();
  #ownGroups = FIRST_OWN_GROUP;
  #boots = 0;

  constructor(tree: Tree, onEvent: (event: Uevent, address: PciAddress) => void) {
    this.#tree = tree;
    this.#onEvent = onEvent;
    this.#sysfs = new SysfsTree(tree);
    this.#children = new ChildrenTree(tree);
    this.drivers = new DriverModel(this.#listener(), (group) => this.vfio.isGroupInUse(group));
    this.vfio = new SimVfio(this.drivers, tree.superuser.uid, (group) => this.#nodes.get(group)?.uid);
  }

  loadDriver(name: string): void {
    if (!this.drivers.hasDriver(name)) {
      this.drivers.loadDriver(name);
      this.#sysfs.addDriver(name);
    }
  }

  /** Every card, in the order in which they were plugged. */
  cards(): SimCard[] {
    return [...this.#cards.values()];
  }

  cardAt(address: PciAddress): SimCard | undefined {
    return this.#cards.get(address);
  }

  isLeaving(address: PciAddress): boolean {
    return this.#leaving.has(address);
  }

  /** A card appears, and its host driver takes it. */
  insert(card: SimCard): void {
    const address = addressOf(card.address);
    if (this.#cards.has(address)) {
      throw new SimulationError(`cannot plug ${address}: there is a card already`);
    }
    const parent = card.parent == null ? null : addressOf(card.parent);
    if (parent !== null && !this.#cards.has(parent)) {
      throw new SimulationError(`cannot plug ${address}: no bridge ${parent}`);
    }
    this.#cards.set(address, card);
    const state: DriverState = {
      address,
      ids: `${card.vendor ?? ""} ${card.device ?? ""}`,
      native: card.driver ?? null,
      group: this.#groupOf(card),
      isBridge: isBridge(card),
      override: null,
      driver: null,
    };
    if (state.native !== null) {
      this.loadDriver(state.native);
    }
    this.drivers.add(state);
    this.#sysfs.addFunction(address, parent, state.group, card);
    this.#onEvent("add", address);
    if (card.isTaken !== false) {
      this.drivers.probe(state);
    }
  }

  /** A card (and what is below it) goes; resolves when nobody holds it any more and its folder is gone. */
  async takeOut(address: PciAddress): Promise<void> {
    for (const [below, card] of [...this.#cards]) {
      if (card.parent != null && addressOf(card.parent) === address) {
        await this.takeOut(below);
      }
    }
    const state = this.drivers.get(address);
    if (state === undefined) {
      return;
    }
    const answer = this.release(state);
    if (answer.kind === "waits") {
      await answer.released;
    }
    // A reboot in the meantime has found another card there.
    if (this.drivers.get(address) === state) {
      this.#forget(state);
    }
  }

  /** Takes the driver from a function; waits while a VM holds it. */
  release(state: DriverState): KernelAnswer {
    const { address, driver } = state;
    const before = this.#leaving.get(address);
    if (before !== undefined) {
      return { kind: "waits", released: before };
    }
    if (driver === null || this.vfio.holderOf(address) === undefined) {
      this.drivers.unbind(state);
      return DONE;
    }
    this.#sysfs.unlinkDriver(address, driver);
    const released = this.vfio.takeBack(address).then(() => {
      if (this.drivers.get(address) === state) {
        this.#leaving.delete(address);
        this.drivers.unbind(state);
      }
    });
    this.#leaving.set(address, released);
    return { kind: "waits", released };
  }

  /** Resolves when a device that is on its way out has left. */
  whenLeft(address: PciAddress): Promise<void> {
    return this.#leaving.get(address) ?? Promise.resolve();
  }

  /** Another boot: no driver state is left, the IOMMU groups have other numbers, every card is found anew. */
  reboot(): void {
    const cards = this.cards();
    for (const card of [...cards].reverse()) {
      const state = this.drivers.get(addressOf(card.address));
      if (state !== undefined) {
        this.vfio.holderOf(state.address)?.powerOff();
        this.drivers.unbind(state);
        this.#forget(state);
      }
    }
    this.#leaving.clear();
    this.#boots += 1;
    for (const card of cards) {
      this.insert(card);
    }
  }

  /** Gives the node of an IOMMU group to a user. False when there is no such node. */
  chownNode(group: number, owner: Owner): boolean {
    if (!this.#nodes.has(group)) {
      return false;
    }
    this.#nodes.set(group, owner);
    this.#tree.chown(`/dev/vfio/${group}`, owner.uid, owner.gid);
    return true;
  }

  #forget(state: DriverState): void {
    this.drivers.remove(state.address);
    const isGroupEmpty = state.group !== null && this.drivers.membersOf(state.group).length === 0;
    this.#sysfs.removeFunction(state.address, state.group, isGroupEmpty);
    this.#cards.delete(state.address);
    this.#onEvent("remove", state.address);
  }

  #groupOf(card: SimCard): number | null {
    const shift = this.#boots * GROUP_SHIFT;
    if (card.iommuGroup === undefined) {
      return this.#ownGroups++ + shift;
    }
    return card.iommuGroup === null ? null : card.iommuGroup + shift;
  }

  #listener(): DriverListener {
    return {
      bound: (state, driver) => {
        this.#sysfs.bound(state.address, driver);
        if (isVfioDriver(driver)) {
          this.#addNode(state.group);
        } else {
          this.#children.appear(this.#folderOf(state), this.#cardOf(state));
        }
        this.#onEvent("bind", state.address);
      },
      unbound: (state, driver) => {
        this.#sysfs.unlinkDriver(state.address, driver);
        if (isVfioDriver(driver)) {
          this.#removeNode(state.group);
        } else {
          this.#children.vanish(this.#folderOf(state), this.#cardOf(state));
        }
        this.#onEvent("unbind", state.address);
      },
      overridden: (state) => this.#sysfs.overridden(state.address, state.override),
    };
  }

  #addNode(group: number | null): void {
    if (group === null || this.#nodes.has(group)) {
      return;
    }
    this.#nodes.set(group, this.#tree.superuser);
    this.#tree.write(`/dev/vfio/${group}`, "");
    this.#tree.chmod(`/dev/vfio/${group}`, NODE_MODE);
  }

  #removeNode(group: number | null): void {
    if (group !== null && !this.drivers.membersOf(group).some((state) => isVfioDriver(state.driver))) {
      this.#nodes.delete(group);
      this.#tree.remove(`/dev/vfio/${group}`);
    }
  }

  #folderOf(state: DriverState): string {
    return this.#sysfs.folderOf(state.address) ?? "";
  }

  #cardOf(state: DriverState): SimCard {
    return this.cardAt(state.address) ?? { address: state.address };
  }
}
