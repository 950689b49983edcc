/**
 * The ledger on disk: what we have changed on the host. Written before the first change to a device; after any crash
 * the next start finishes or undoes on its word. Leases of another boot are archived: nothing is written on theirs
 * (semantics.md 5).
 */
import { dirname, join } from "node:path";
import type { Lease } from "../core/lease.js";
import { appendDurable } from "./durable-file.js";
import { parseLease } from "./state-entry.js";
import { StateFile } from "./state-file.js";

export interface LedgerContents {
  /** Of this boot. */
  readonly leases: readonly Lease[];
  /** Of other boots; moved to the archive by this very call. */
  readonly archived: readonly Lease[];
  /** Where a damaged ledger was put; what it said is then found in QEMU and sysfs again, as far as it can be. */
  readonly damagedAs: string | null;
}

export interface Ledger {
  /** @throws {HostError} `host.state-newer`, `host.state-unsafe`, `host.unreadable`; the file is left as it is. */
  load(bootId: string): Promise<LedgerContents>;
  /** Replaces the leases; resolves once they are on disk. */
  save(leases: readonly Lease[]): Promise<void>;
}

/** The ledger at this path; its archive is `ledger-archive.jsonl` beside it. Touches nothing yet. */
export function openLedger(path: string): Ledger {
  const file = new StateFile<{ leases: Lease }>(path, { leases: parseLease });
  return {
    async load(bootId) {
      const { lists, damagedAs } = await file.load();
      const leases = lists.leases.filter((lease) => lease.bootId === bootId);
      const archived = lists.leases.filter((lease) => lease.bootId !== bootId);
      if (archived.length > 0) {
        // In this order: after a crash in between an entry is archived twice, never lost.
        const lines = archived.map((lease) => `${JSON.stringify(lease)}\n`).join("");
        await appendDurable(join(dirname(path), "ledger-archive.jsonl"), lines);
        await file.save({ leases });
      }
      return { leases, archived, damagedAs };
    },
    save: (leases) => file.save({ leases }),
  };
}
