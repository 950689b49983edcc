/** Collects protection facts while they are gathered, each once, with what could not be found out. */
import { messageOf } from "../base/error.js";
import { printable } from "../base/printable.js";
import type { PciAddress } from "../core/address.js";
import type { Area, Carrier, ProtectionFacts, UnknownFact, Use } from "../core/protection.js";

export class ProtectionNotes {
  readonly #carriers = new Map<string, Carrier>();
  readonly #uses = new Map<string, Use>();
  readonly #used = new Set<string>();
  readonly #unknown: UnknownFact[] = [];

  /** What has been collected so far, with the two facts that are about the host as a whole. */
  facts(withInterface: readonly PciAddress[], isConsoleOnScreen: boolean): ProtectionFacts {
    return {
      carriers: [...this.#carriers.values()],
      uses: [...this.#uses.values()],
      unknown: this.#unknown,
      withInterface,
      isConsoleOnScreen,
    };
  }

  /** Notes a carrier, unless it is known: `look` is asked only then. What it stands on may lead back to it. Its id. */
  carrier(id: string, look: () => Omit<Carrier, "id">): string {
    if (!this.#carriers.has(id)) {
      this.#carriers.set(id, { id, label: id, on: [], functions: [], otherwise: ["storage", "network"] });
      const { label, ...rest } = look();
      this.#carriers.set(id, { id, label: printable(label), ...rest });
    }
    return id;
  }

  /** Notes a use of a carrier. One that says no more than an earlier one is left out. */
  use(carrier: string, what: string, how: Partial<Omit<Use, "carrier" | "what">> = {}): void {
    const use: Use = {
      carrier,
      what: printable(what),
      level: how.level ?? "hard",
      isLiftable: how.isLiftable ?? true,
      isGrounded: how.isGrounded ?? true,
    };
    this.#used.add(carrier);
    const key = [carrier, use.level, use.isLiftable, use.isGrounded].join(" ");
    if (!this.#uses.has(key)) {
      this.#uses.set(key, use);
    }
  }

  /** Whether anything was said to stand on the carrier. */
  isUsed(carrier: string): boolean {
    return this.#used.has(carrier);
  }

  cannotTell(area: Area, detail: string, isLiftable: boolean): void {
    this.#unknown.push({ area, detail: printable(detail), isLiftable });
  }

  /** Gathers facts of an area. If that fails, everything that they could be about counts as needed. */
  attempt(area: Area, what: string, gather: () => void): void {
    try {
      gather();
    } catch (error) {
      // Of what is mounted the root file system is a part; nothing else can be.
      this.cannotTell(area, `the host's ${what} cannot be read: ${messageOf(error)}`, area !== "storage");
    }
  }
}
