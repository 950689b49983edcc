/**
 * Watches for a socket file that may not exist yet, in folders that may not exist yet.
 *
 * chokidar is silent for ever about a path whose parent does not exist (facts.md 13): so the nearest folder that does
 * exist is watched, together with the one above it (which sees it go), and the watch moves down and up as folders come
 * and go. Never watches a tree: of the two folders only the entries on the way to the socket are looked at.
 *
 * An event only means "look": what is emitted is what stat(2) has shown.
 */
import type { BigIntStats, Stats } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { type FSWatcher, watch } from "chokidar";
import { fromEvent, Observable, takeUntil } from "rxjs";

/** `changed`: there was one and there is another one (or its owner or mode has changed). */
export type SocketChange = "appeared" | "vanished" | "changed";

/**
 * Emits each change of the file at `path`, beginning with `appeared` when it is there already. Never completes;
 * errors when the folders cannot be watched (such as ENOSPC: no more inotify watches). Unsubscribing closes the watch.
 */
export function watchSocket(path: string): Observable<SocketChange> {
  return new Observable((subscriber) => {
    const watcher = new SocketWatcher(
      resolve(path),
      (change) => subscriber.next(change),
      (error) => subscriber.error(error),
    );
    watcher.wake();
    return () => watcher.close();
  });
}

/**
 * Calls `wake` at each change until the signal fires. Never fails: where folders cannot be watched (no more inotify
 * watches) nothing wakes, so a caller needs an interval of its own below this.
 */
export function wakeOnSocketChange(
  path: string,
  wake: (change: SocketChange) => void,
  until: AbortSignal,
): void {
  watchSocket(path)
    .pipe(takeUntil(fromEvent(until, "abort")))
    .forEach(wake)
    .catch(() => undefined);
}

/** A folder that exists, and the entry in it that comes next on the way to the socket. */
interface Anchor {
  readonly folder: string;
  readonly next: string;
  /** Which folder it is: another one may take its place. */
  readonly identity: string;
}

class SocketWatcher {
  readonly #path: string;
  readonly #onChange: (change: SocketChange) => void;
  readonly #onError: (error: unknown) => void;
  #watcher: FSWatcher | null = null;
  #anchor: Anchor | null = null;
  #socket: string | null = null;
  #isClosed = false;
  #isLooking = false;
  #isDirty = false;

  constructor(path: string, onChange: (change: SocketChange) => void, onError: (error: unknown) => void) {
    this.#path = path;
    this.#onChange = onChange;
    this.#onError = onError;
  }

  /** Looks, and looks again for as long as something happens meanwhile. */
  wake(): void {
    this.#isDirty = true;
    if (!this.#isLooking) {
      this.#isLooking = true;
      this.#lookWhileDirty().then(
        () => {
          this.#isLooking = false;
        },
        (error: unknown) => this.#fail(error),
      );
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#closeWatcher();
  }

  async #lookWhileDirty(): Promise<void> {
    while (this.#isDirty && !this.#isClosed) {
      this.#isDirty = false;
      await this.#moveAnchor();
      this.#compare(identityOf(await statOf(this.#path)));
    }
  }

  #compare(socket: string | null): void {
    const before = this.#socket;
    this.#socket = socket;
    if (socket !== before && !this.#isClosed) {
      this.#onChange(before === null ? "appeared" : socket === null ? "vanished" : "changed");
    }
  }

  async #moveAnchor(): Promise<void> {
    const anchor = await findAnchor(this.#path);
    if (this.#isClosed || (anchor.identity === this.#anchor?.identity && anchor.next === this.#anchor.next)) {
      return;
    }
    this.#anchor = anchor;
    this.#closeWatcher();
    const above = dirname(anchor.folder);
    const onTheWay = new Set([above, anchor.folder, anchor.next]);
    const names = new Set([basename(anchor.folder), basename(anchor.next)]);
    const watcher = watch(above, {
      depth: 1,
      followSymlinks: false,
      ignorePermissionErrors: true,
      ignored: (entry) => !onTheWay.has(entry),
    });
    this.#watcher = watcher;
    watcher.on("all", () => this.wake());
    // What went before the watch stood is seen by one more look.
    watcher.on("ready", () => this.wake());
    // chokidar compares names: a folder deleted and made again between two looks of its own gives only a raw event.
    watcher.on("raw", (_event, name) => {
      if (!name || names.has(basename(name))) {
        this.wake();
      }
    });
    watcher.on("error", (error) => this.#fail(error));
  }

  #closeWatcher(): void {
    const watcher = this.#watcher;
    this.#watcher = null;
    // Its listeners are gone at once; what remains is closing descriptors.
    void watcher?.close();
  }

  #fail(error: unknown): void {
    if (!this.#isClosed) {
      this.close();
      this.#onError(error);
    }
  }
}

/** The nearest folder above the socket that exists, without symbolic links on the way to it. */
async function findAnchor(path: string): Promise<Anchor> {
  let next = path;
  for (;;) {
    const folder = dirname(next);
    const stats = await statOf(folder);
    if (stats?.isDirectory() === true || folder === next) {
      const real = await realpath(folder).catch(() => folder);
      return { folder: real, next: join(real, basename(next)), identity: identityOf(stats) ?? "" };
    }
    next = folder;
  }
}

async function statOf(path: string): Promise<BigIntStats | null> {
  return stat(path, { bigint: true }).catch(() => null);
}

/** Which file it is. Times join the inode, because file systems use inodes again. */
function identityOf(stats: BigIntStats | Stats | null): string | null {
  if (stats === null) {
    return null;
  }
  return stats.isDirectory()
    ? `${stats.dev}:${stats.ino}:${stats.birthtimeMs}`
    : `${stats.dev}:${stats.ino}:${stats.ctimeMs}`;
}
