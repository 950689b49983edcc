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
  readonly #propertiesOf: (address: PciAddress) => Readonly<Record<string, string>>;
  readonly #pending = new Map<PciAddress, PendingDelay>();
  #events = 0;

  /** `propertiesOf`: what the rules set for a card besides its path. */
  constructor(
    tree: Tree,
    timers: SimTimers,
    delayMs: number,
    propertiesOf: (address: PciAddress) => Readonly<Record<string, string>>,
  ) {
    this.#propertiesOf = propertiesOf;
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
      const properties = { ID_PATH: `pci-${address}`, ...this.#propertiesOf(address) };
      const lines = Object.entries(properties).map(([key, value]) => `E:${key}=${value}\n`);
      this.#tree.replace(`${DATA}/+pci:${address}`, `I:${this.#events}\n${lines.join("")}V:1\n`);
    };
    if (this.#delayMs === 0) {
      write();
    } else {
      this.#pending.set(address, this.#timers.after(this.#delayMs, write));
    }
  }
}
