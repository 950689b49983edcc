/**
 * Which VMs have a socket at the places that a path with `{vm}` names, as sockets and folders come and go.
 *
 * The folder that holds the VMs' names may not be there yet, nor what lies below each name: each of these places is
 * watched by socket-watch.ts, which knows chokidar's traps. An event only means "look", and a slow look lies beneath: for
 * what inotify does not tell, and for when there are no more watches. Only names that a VM may have count, and only
 * sockets.
 */
import { readdir, stat } from "node:fs/promises";
import { watch } from "chokidar";
import {
  auditTime,
  catchError,
  combineLatest,
  concatMap,
  distinctUntilChanged,
  EMPTY,
  filter,
  interval,
  map,
  merge,
  mergeMap,
  Observable,
  of,
  pairwise,
  share,
  startWith,
  switchMap,
  takeUntil,
  withLatestFrom,
} from "rxjs";
import { type FoundVm, isVmName, VM_PLACE } from "../core/found-vms.js";
import { watchSocket } from "./socket-watch.js";

/** Period of the slow look, in milliseconds. */
const LOOK_MS = 30_000;
/** How long events are gathered: a host that boots starts many VMs at once. */
const GATHER_MS = 20;

/** Emits all VMs that are there, at first and whenever that has changed: in the order of the patterns, then of names. */
export function discoverVms(patterns: readonly string[]): Observable<readonly FoundVm[]> {
  return patterns.length === 0
    ? of([])
    : combineLatest(patterns.map(discover)).pipe(map((found) => found.flat()));
}

function discover(pattern: string): Observable<readonly FoundVm[]> {
  const { folder, nameIn, isDeep } = readPattern(pattern);
  const pathOf = (name: string): string => pattern.replace(VM_PLACE, () => name);
  const names$ = entriesOf(folder).pipe(
    map((entries) => entries.flatMap((entry) => nameIn(entry) ?? []).sort()),
    share(),
  );
  const changes$ = names$.pipe(
    startWith<readonly string[]>([]),
    pairwise(),
    mergeMap(([before, now]) => (isDeep ? now.filter((name) => !before.includes(name)) : [])),
    mergeMap((name) =>
      watchSocket(pathOf(name)).pipe(
        catchError(() => EMPTY),
        takeUntil(names$.pipe(filter((now) => !now.includes(name)))),
      ),
    ),
  );
  return merge(names$, changes$).pipe(
    auditTime(GATHER_MS),
    withLatestFrom(names$),
    concatMap(async ([, names]) => {
      const isThere = await Promise.all(names.map((name) => isSocket(pathOf(name))));
      return names.filter((_, index) => isThere[index]);
    }),
    distinctUntilChanged((a, b) => a.join() === b.join()),
    map((names) => names.map((name) => ({ name, pattern }))),
  );
}

/** The part of the path that has the name in it, and the folder above. */
function readPattern(pattern: string) {
  const parts = pattern.split("/");
  const at = parts.findIndex((part) => part.includes(VM_PLACE));
  const [before = "", after = ""] = (parts[at] ?? "").split(VM_PLACE);
  return {
    folder: parts.slice(0, at).join("/") || "/",
    /** Whether the socket lies below what has the name. */
    isDeep: at < parts.length - 1,
    nameIn: (entry: string): string | null => {
      const name = entry.slice(before.length, entry.length - after.length);
      return `${before}${name}${after}` === entry && isVmName(name) ? name : null;
    },
  };
}

/** The entries of a folder that may come and go, at first and whenever they may be others. Never errors. */
function entriesOf(folder: string): Observable<readonly string[]> {
  const events$ = watchSocket(folder).pipe(
    switchMap((change) => (change === "vanished" ? of(undefined) : watchEntries(folder))),
    catchError(() => EMPTY),
  );
  return merge(events$, interval(LOOK_MS)).pipe(
    startWith(undefined),
    concatMap(() => readdir(folder).catch(() => [])),
  );
}

/** Emits once the folder is watched, then at each event in it. chokidar's own events would stat every entry. */
function watchEntries(folder: string): Observable<void> {
  return new Observable((subscriber) => {
    const watcher = watch(folder, {
      ignored: (entry: string) => entry !== folder,
      ignoreInitial: true,
      followSymlinks: true,
      depth: 0,
    });
    watcher.on("ready", () => subscriber.next());
    watcher.on("raw", () => subscriber.next());
    watcher.on("error", (error) => subscriber.error(error));
    return () => {
      void watcher.close();
    };
  });
}

async function isSocket(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.isSocket(),
    () => false,
  );
}
