/**
 * One folder under chokidar: tells that something in it was touched, and by what name.
 *
 * Only the folder itself is watched, through chokidar's `raw` events: its ordinary ones would stat every entry and hold
 * an inotify watch on each (thousands of them on a large host).
 */
import { existsSync } from "node:fs";
import { basename, dirname } from "node:path";
import { watch } from "chokidar";
import { Observable } from "rxjs";

export type FolderEvent =
  /** From now on nothing is missed. */
  | { readonly kind: "ready" }
  /** `name`: the entry, or the folder itself when it was removed or is polled. */
  | { readonly kind: "touched"; readonly name: string };

/**
 * Watches one folder until unsubscribed. It must exist: chokidar is silent for ever on one that does not (facts.md 13).
 * `pollMs`: looks at the folder's times that often, instead of waiting for inotify.
 */
export function watchFolder(folder: string, pollMs?: number): Observable<FolderEvent> {
  return new Observable((subscriber) => {
    const watcher = watch(folder, {
      ignored: (path: string) => path !== folder,
      ignoreInitial: true,
      followSymlinks: false,
      depth: 0,
      atomic: false,
      ...(pollMs === undefined ? {} : { usePolling: true, interval: pollMs, binaryInterval: pollMs }),
    });
    watcher.on("ready", () => subscriber.next({ kind: "ready" }));
    watcher.on("raw", (_event, path) => subscriber.next({ kind: "touched", name: nameOf(path, folder) }));
    watcher.on("error", (error) => subscriber.error(error));
    return () => {
      void watcher.close();
    };
  });
}

/** The deepest folder on the way to a path that exists now. */
export function nearestExisting(path: string): string {
  return existsSync(path) || path === dirname(path) ? path : nearestExisting(dirname(path));
}

function nameOf(path: unknown, folder: string): string {
  return typeof path === "string" ? basename(path) : basename(folder);
}
