/**
 * The simulated udev database: `/run/udev/data/+pci:<address>`, written some time after the kernel's event and
 * rewritten when a driver comes or goes, as systemd-udevd does (facts.md 10).
 */
import type { PciAddress } from "../core/address.js";
import type { PendingDelay, SimTimers } from "./timers.js";
import type { Tree } from "./tree.js";

const DATA = "/run/udev/data";

export class UdevTree {
  readonly #tree: Tree;
  readonly #timers: SimTimers;
  readonly #delayMs: number;
  readonly #pending = new Map<PciAddress, PendingDelay>();
  #events = 0;

  constructor(tree: Tree, timers: SimTimers, delayMs: number) {
    this.#tree = tree;
    this.#timers = timers;
    this.#delayMs = delayMs;
    tree.folder(DATA);
  }

  /** A kernel event about a function: its record is written when the rules have run. */
  event(address: PciAddress, action: "add" | "bind" | "unbind" | "remove"): void {
    this.#pending.get(address)?.cancel();
    this.#pending.delete(address);
    if (action === "remove") {
      this.#tree.remove(`${DATA}/+pci:${address}`);
      return;
    }
    const write = (): void => {
      this.#pending.delete(address);
      this.#events += 1;
      this.#tree.replace(`${DATA}/+pci:${address}`, `I:${this.#events}\nE:ID_PATH=pci-${address}\nV:1\n`);
    };
    if (this.#delayMs === 0) {
      write();
    } else {
      this.#pending.set(address, this.#timers.after(this.#delayMs, write));
    }
  }
}
