/**
 * Watches the operator's file, wherever links lead and whatever is swapped on the way: "look again", nothing more.
 *
 * Whoever listens reads the file afresh and compares. Only folders are watched, by chokidar's `raw` events (its ordinary
 * ones stat every entry), and never one that does not exist: chokidar is silent for ever about that (facts.md 13). When
 * another folder has come onto the way, the watch begins anew. A slow look at the way lies beneath: for what inotify
 * does not tell (a mount, a network file system), and for when there are no more inotify watches.
 */
import { opendir } from "node:fs/promises";
import { watch } from "chokidar";
import {
  catchError,
  concat,
  concatMap,
  connect,
  debounceTime,
  defer,
  EMPTY,
  exhaustMap,
  filter,
  from,
  ignoreElements,
  interval,
  map,
  merge,
  Observable,
  of,
  repeat,
  scan,
  startWith,
  switchMap,
  take,
  takeWhile,
  timer,
} from "rxjs";
import { messageOf } from "../base/error.js";
import { type Route, readRoute } from "./route.js";

export type FileNews =
  /** It may be another one. */
  | { readonly kind: "touched" }
  /** The same, and its folders cannot be watched now: only the slow look is left. */
  | { readonly kind: "unwatched"; readonly detail: string };

export interface WatchTiming {
  /** Period of the slow look, in milliseconds. */
  readonly lookMs: number;
  /** The file is left alone until it was quiet for so long, in milliseconds: it may be half-written. */
  readonly quietMs: number;
}

const DEFAULT_TIMING: WatchTiming = { lookMs: 30_000, quietMs: 50 };
const TOUCHED: FileNews = { kind: "touched" };
/** A file that is never quiet is read all the same, after so many times the quiet that was waited for. */
const MOST_PATIENCE = 10;
/** Between two watches: a folder that comes and goes must not keep us busy. */
const PAUSE_MS = 10;
/**
 * chokidar looks at every entry of a folder when one of them changes, so a store of a hundred thousand is left to the
 * slow look; nothing in such a store is ever replaced.
 */
const MOST_ENTRIES = 4_096;

/**
 * Emits when the file may be another one, and each time the watch begins (so that nothing between a reading before and
 * the watch is missed). Never completes, never errors; unsubscribing closes everything.
 */
export function watchConfig(path: string, timing: Partial<WatchTiming> = {}): Observable<FileNews> {
  const { lookMs, quietMs } = { ...DEFAULT_TIMING, ...timing };
  return defer(() => readRoute(path)).pipe(
    switchMap((route) => follow(path, route, { lookMs, quietMs })),
    catchError((error: unknown) =>
      concat(
        of<FileNews>({ kind: "unwatched", detail: messageOf(error) }),
        timer(lookMs).pipe(ignoreElements()),
      ),
    ),
    repeat({ delay: () => timer(PAUSE_MS) }),
  );
}

/** Completes when other folders are on the way. */
function follow(path: string, first: Route, { lookMs, quietMs }: WatchTiming): Observable<FileNews> {
  const events$ = merge(...first.folders.map((folder) => watchFolder(folder.path, first.names)));
  const causes$ = merge(
    inQuiet(events$, quietMs).pipe(map(() => "event")),
    interval(lookMs).pipe(map(() => "slow look")),
  );
  return causes$.pipe(
    concatMap(async (cause) => ({ cause, route: await readRoute(path) })),
    // Two writes within one tick of the file system's clock look the same: an event is believed without that.
    scan(
      (last, { cause, route }) => ({ route, isNews: cause === "event" || route.print !== last.route.print }),
      { route: first, isNews: false },
    ),
    takeWhile(({ route }) => idsOf(route) === idsOf(first), true),
    filter(({ isNews }) => isNews),
    map(() => TOUCHED),
  );
}

/** One for each burst of events, once it is over. */
function inQuiet(events$: Observable<void>, quietMs: number): Observable<void> {
  return events$.pipe(
    connect((shared$) => {
      const quiet$ = shared$.pipe(startWith(undefined), debounceTime(quietMs));
      const patience$ = timer(quietMs * MOST_PATIENCE);
      return shared$.pipe(exhaustMap(() => merge(quiet$, patience$).pipe(take(1))));
    }),
    map(() => undefined),
  );
}

function idsOf(route: Route): string {
  return route.folders.map((folder) => `${folder.path} ${folder.id}`).join("\n");
}

/** Emits once the folder is watched, then at each event about one of the names. */
function watchFolder(folder: string, names: ReadonlySet<string>): Observable<void> {
  return defer(() => from(isCrowded(folder))).pipe(
    switchMap((isTooMuch) => (isTooMuch ? EMPTY : watchEntries(folder, names))),
  );
}

function watchEntries(folder: string, names: ReadonlySet<string>): Observable<void> {
  return new Observable((subscriber) => {
    const watcher = watch(folder, {
      ignored: (entry: string) => entry !== folder,
      ignoreInitial: true,
      followSymlinks: false,
      depth: 0,
      atomic: false,
    });
    watcher.on("ready", () => subscriber.next());
    watcher.on("raw", (_event, name) => {
      if (typeof name !== "string" || names.has(name)) {
        subscriber.next();
      }
    });
    watcher.on("error", (error) => subscriber.error(error));
    return () => {
      void watcher.close();
    };
  });
}

async function isCrowded(folder: string): Promise<boolean> {
  try {
    let entries = 0;
    for await (const _ of await opendir(folder)) {
      entries += 1;
      if (entries > MOST_ENTRIES) {
        return true;
      }
    }
    return false;
  } catch {
    // It has gone, or may not be listed: the next look at the way tells.
    return false;
  }
}
