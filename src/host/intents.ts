/**
 * The intents on disk: what cannot be found out by looking: holds, pins, reservations, orders,
 * quarantines and the ports that cards had.
 *
 * Without them a device might go where somebody wanted it not to go: damaged intents are kept aside, and that they were
 * is remembered by the file put aside until somebody accepts the loss (semantics.md 5).
 */
import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import {
  type Intents as CoreIntents,
  NO_INTENTS,
  type Order,
  type Pin,
  type PortPreference,
  type Quarantine,
  type Reservation,
} from "../core/intent.js";
import type { Hold } from "../core/lease.js";
import { setAside } from "./durable-file.js";
import {
  parseOrder,
  parsePin,
  parsePortPreference,
  parseQuarantine,
  parseReservation,
} from "./intent-entry.js";
import { parseHold } from "./state-entry.js";
import { StateFile } from "./state-file.js";

export interface IntentsContents {
  readonly holds: readonly Hold[];
  readonly intents: CoreIntents;
  /** Whether intents were lost, now or earlier, and nobody has accepted that yet: there must be no new attach. */
  readonly isDamaged: boolean;
  /** The files that are kept aside. */
  readonly damagedFiles: readonly string[];
}

export interface Intents {
  /**
   * What is in it, for one who may not touch it: the agent may run, and nothing is put aside.
   *
   * @throws {HostError} as {@link load}
   */
  peek(): Promise<Omit<IntentsContents, "damagedFiles">>;
  /** @throws {HostError} `host.state-newer`, `host.state-unsafe`, `host.unreadable`; the file is left as it is. */
  load(): Promise<IntentsContents>;
  /** Replaces them all; resolves once they are on disk. */
  save(holds: readonly Hold[], intents: CoreIntents): Promise<void>;
  /** Goes on without what was lost. The damaged files are kept under another name, which is returned. */
  acceptLoss(): Promise<readonly string[]>;
}

/** The intents at this path. Touches nothing yet. */
export function openIntents(path: string): Intents {
  const file = new StateFile<{
    holds: Hold;
    pins: Pin;
    reservations: Reservation;
    orders: Order;
    quarantines: Quarantine;
    ports: PortPreference;
  }>(path, {
    holds: parseHold,
    pins: parsePin,
    reservations: parseReservation,
    orders: parseOrder,
    quarantines: parseQuarantine,
    ports: parsePortPreference,
  });
  return {
    async peek() {
      const lists = await file.peek();
      const { holds, ...intents } = lists ?? { holds: [], ...NO_INTENTS };
      return { holds, intents, isDamaged: lists === undefined || (await filesAside(path)).length > 0 };
    },
    async load() {
      const { lists } = await file.load();
      const { holds, ...intents } = lists;
      const damagedFiles = await filesAside(path);
      return { holds, intents, isDamaged: damagedFiles.length > 0, damagedFiles };
    },
    save: (holds, intents) => file.save({ holds, ...intents }),
    async acceptLoss() {
      const kept: string[] = [];
      for (const damaged of await filesAside(path)) {
        kept.push(await setAside(damaged, "accepted"));
      }
      return kept;
    },
  };
}

async function filesAside(path: string): Promise<string[]> {
  const start = `${basename(path)}.damaged-`;
  const names = await readdir(dirname(path)).catch((): string[] => []);
  return names
    .filter((name) => name.startsWith(start) && /^\d+$/.test(name.slice(start.length)))
    .sort()
    .map((name) => join(dirname(path), name));
}
