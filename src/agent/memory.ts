/** What the agent remembers across its own death: the ledger and the intents, as they were found at the start. */
import type { Intents } from "../core/intent.js";
import type { Hold, Lease } from "../core/lease.js";
import { openIntents } from "../host/intents.js";
import { openLedger } from "../host/ledger.js";
import type { StateFolder } from "../host/state-folder.js";

export interface Memory {
  /** Of this boot. */
  readonly leases: readonly Lease[];
  /** Of other boots: put aside, never acted upon (semantics.md 5). */
  readonly archived: readonly Lease[];
  readonly ledgerDamagedAs: string | null;
  readonly holds: readonly Hold[];
  readonly intents: Intents;
  readonly areIntentsLost: boolean;
  readonly save: (leases: readonly Lease[]) => Promise<void>;
  readonly saveIntents: (holds: readonly Hold[], intents: Intents) => Promise<void>;
}

/** Reads both files. @throws {HostError} `host.state-newer`, `host.state-unsafe`, `host.unreadable` */
export async function openMemory(folder: StateFolder, bootId: string): Promise<Memory> {
  const ledger = openLedger(folder.ledger);
  const intents = openIntents(folder.intents);
  const { leases, archived, damagedAs } = await ledger.load(bootId);
  const { holds, intents: wanted, isDamaged } = await intents.load();
  return {
    leases,
    archived,
    ledgerDamagedAs: damagedAs,
    holds,
    intents: wanted,
    areIntentsLost: isDamaged,
    save: (all) => ledger.save(all),
    saveIntents: (all, others) => intents.save(all, others),
  };
}
