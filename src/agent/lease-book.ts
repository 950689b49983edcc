/**
 * The only writer of the ledger. Writes are one after the other, each on disk before it is announced to the world;
 * the first change to a device always comes after its lease (semantics.md 5).
 */
import type { PciAddress } from "../core/address.js";
import type { Lease } from "../core/lease.js";
import type { Signal } from "../core/signal.js";

/** Where leases are kept durably. */
export interface LeaseStore {
  readonly save: (leases: readonly Lease[]) => Promise<void>;
}

export class LeaseBook {
  readonly #store: LeaseStore;
  readonly #post: (signals: readonly Signal[]) => void;
  #leases: ReadonlyMap<PciAddress, Lease>;
  #last: Promise<void> = Promise.resolve();

  constructor(store: LeaseStore, leases: readonly Lease[], post: (signals: readonly Signal[]) => void) {
    this.#store = store;
    this.#post = post;
    this.#leases = byAddress(leases);
  }

  /** The lease of a device as it is on disk. */
  get(address: PciAddress): Lease | undefined {
    return this.#leases.get(address);
  }

  /** Writes leases, replacing those of the same devices; resolves once they are on disk. */
  put(leases: readonly Lease[]): Promise<void> {
    return this.#change((all) => {
      for (const lease of leases) {
        all.set(lease.address, lease);
      }
    });
  }

  /** Ends the leases of devices that have been given back or are gone; resolves once that is on disk. */
  end(addresses: readonly PciAddress[]): Promise<void> {
    return this.#change((all) => {
      for (const address of addresses) {
        all.delete(address);
      }
    });
  }

  #change(edit: (leases: Map<PciAddress, Lease>) => void): Promise<void> {
    const change = this.#last.then(async () => {
      const next = new Map(this.#leases);
      edit(next);
      const leases = [...next.values()];
      await this.#store.save(leases);
      this.#leases = next;
      this.#post([{ kind: "leases-written", leases }]);
    });
    this.#last = change.catch(() => undefined);
    return change;
  }
}

function byAddress(leases: readonly Lease[]): ReadonlyMap<PciAddress, Lease> {
  return new Map(leases.map((lease) => [lease.address, lease]));
}
