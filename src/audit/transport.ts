/**
 * The winston transport that takes audit entries to the journal.
 *
 * It calls winston back at once, so that entries which come together can share one fsync, and never with an error:
 * what became of an entry is told to whoever appended it.
 */
import Transport from "winston-transport";
import type { Journal } from "./journal.js";
import type { AuditEntry } from "./record.js";

/** An entry on its way, with the promise of whoever waits for it. */
export interface CarriedEntry {
  readonly level: "info";
  readonly message: string;
  readonly entry: AuditEntry;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class AuditTransport extends Transport {
  readonly #journal: Pick<Journal, "append">;

  constructor(journal: Pick<Journal, "append">) {
    super({ level: "info" });
    this.#journal = journal;
  }

  override log(carried: CarriedEntry, next: () => void): void {
    this.#journal.append(carried.entry).then(carried.resolve, carried.reject);
    next();
  }
}
