/**
 * The udev database as a source: one file per device, renamed into place when udevd has finished an event (facts.md 10).
 * Says nothing about a device for which no rule sets anything: never the only source.
 */
import { existsSync } from "node:fs";
import { join, relative } from "node:path";
import { concat, EMPTY, from, mergeMap, type Observable, of, takeWhile } from "rxjs";
import type { HostRoot } from "./root.js";
import { type FolderEvent, nearestExisting, watchFolder } from "./watch-folder.js";
import { isMissing, isUp, type SourceEvent, supervised, WAKE } from "./watch-source.js";

/** How the database spells a PCI device; its temporary files begin otherwise. */
const PCI_ENTRY = "+pci:";

/** Moving down a folder at a time must be prompt; a folder that comes and goes must not keep us busy. */
const BACKOFF = { firstMs: 5, longestMs: 5_000 };

/** Watches the database, waiting for it on its nearest existing ancestor while it is not there. */
export function watchUdevDatabase(root: HostRoot): Observable<SourceEvent> {
  const database = root.udevDatabase();
  return supervised(() => {
    const nearest = nearestExisting(database);
    return nearest === database ? watchEntries(database) : waitForFolder(nearest, database);
  }, BACKOFF);
}

function watchEntries(database: string): Observable<SourceEvent> {
  return watchFolder(database).pipe(
    takeWhile((event) => isEntry(event) || existsSync(database)),
    mergeMap((event) => from(eventsOf(event, database))),
  );
}

function eventsOf(event: FolderEvent, database: string): readonly SourceEvent[] {
  if (event.kind === "ready") {
    return [isUp(`watching ${database}`)];
  }
  return isEntry(event) ? [WAKE] : [];
}

function isEntry(event: FolderEvent): boolean {
  return event.kind === "touched" && event.name.startsWith(PCI_ENTRY);
}

/** Ends when the next folder on the way is there, or when this one is gone: then it is time to start anew. */
function waitForFolder(nearest: string, database: string): Observable<SourceEvent> {
  const [next = ""] = relative(nearest, database).split("/");
  const waiting$ = watchFolder(nearest).pipe(
    takeWhile(() => existsSync(nearest) && !existsSync(join(nearest, next))),
    mergeMap(() => EMPTY),
  );
  return concat(of(isMissing(`there is no ${database} (is udevd running?)`)), waiting$);
}
