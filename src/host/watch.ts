/**
 * Watching the host: every source that is wanted, as one stream of wakes and source states.
 *
 * Promises: a wake means "look again" and nothing more; the first of a burst comes at once, the rest of it as one;
 * a source that is missing says so and comes back by itself; the stream never errors and never ends; unsubscribing
 * ends every child, watcher and timer.
 */
import {
  connect,
  distinctUntilChanged,
  filter,
  map,
  merge,
  type Observable,
  of,
  scan,
  switchMap,
} from "rxjs";
import type { SourceName, SourceSettings } from "../core/policy.js";
import type { SourceState } from "../core/signal.js";
import type { HostWrite } from "./host-write.js";
import type { HostRoot } from "./root.js";
import { coalesce } from "./watch-burst.js";
import { watchRescan } from "./watch-rescan.js";
import { isOff, type SourceEvent } from "./watch-source.js";
import { watchSysfs } from "./watch-sysfs.js";
import { watchUdevDatabase } from "./watch-udev-database.js";
import { watchUdevadm } from "./watch-udevadm.js";

/** What watching brings. `source` of a look: which one spoke first in its burst. */
export type HostWake =
  | { readonly kind: "look"; readonly source: SourceName }
  | { readonly kind: "source"; readonly name: SourceName; readonly state: SourceState };

export interface HostWatchDeps {
  readonly root: HostRoot;
  readonly settings: SourceSettings;
  /** Nothing is written to the host while observing: sysfs is not primed. */
  readonly isObserving: boolean;
  /** Resolves once the line about the priming is on disk. */
  readonly announce: (write: HostWrite) => Promise<void>;
  /** Stands in for udevadm. */
  readonly udevadmCommand?: readonly string[];
  /** Wakes within this time of one another are one burst. */
  readonly burstMs?: number;
  /** Period of sysfs polling. */
  readonly pollMs?: number;
}

interface Named {
  readonly name: SourceName;
  readonly event: SourceEvent;
}

const BURST_MS = 10;
const POLL_MS = 100;
const switchedOff$ = of(isOff("switched off in the configuration"));

/** Watches the host through the sources that the settings name. */
export function watchHost(deps: HostWatchDeps): Observable<HostWake> {
  const { settings, root } = deps;
  const udevadm$ = settings.udevadm ? watchUdevadm(root, deps.udevadmCommand) : switchedOff$;
  const database$ = settings.udevDatabase ? watchUdevDatabase(root) : switchedOff$;
  const rescan$ = settings.rescanMs === null ? switchedOff$ : watchRescan(settings.rescanMs);
  const kernel$ = merge(named("udevadm", udevadm$), named("udev-database", database$));
  const sources$ = merge(
    kernel$.pipe(connect((shared$) => merge(shared$, named("sysfs-polling", pollingBeside(shared$, deps))))),
    named("rescan", rescan$),
  );
  return sources$.pipe(
    connect((shared$) => merge(states(shared$), looks(shared$, deps.burstMs ?? BURST_MS))),
  );
}

function named(name: SourceName, source$: Observable<SourceEvent>): Observable<Named> {
  return source$.pipe(map((event) => ({ name, event })));
}

function pollingBeside(others$: Observable<Named>, deps: HostWatchDeps): Observable<SourceEvent> {
  const { root, announce, isObserving, settings } = deps;
  const polling$ = watchSysfs({ root, announce, isObserving, pollMs: deps.pollMs ?? POLL_MS });
  if (settings.sysfsPolling !== "auto") {
    return settings.sysfsPolling ? polling$ : switchedOff$;
  }
  return others$.pipe(
    scan(withState, new Map<SourceName, SourceState["kind"]>()),
    map(isPollingNeeded),
    filter((isNeeded) => isNeeded !== undefined),
    distinctUntilChanged(),
    switchMap((isNeeded) => (isNeeded ? polling$ : of(isOff("not needed while an event source is up")))),
  );
}

function withState(
  kinds: ReadonlyMap<SourceName, SourceState["kind"]>,
  { name, event }: Named,
): Map<SourceName, SourceState["kind"]> {
  const next = new Map(kinds);
  return event.kind === "state" ? next.set(name, event.state.kind) : next;
}

/** Polling costs a wake-up ten times a second: only while no event source is up. Undecided until both have spoken. */
function isPollingNeeded(kinds: ReadonlyMap<SourceName, SourceState["kind"]>): boolean | undefined {
  const all = [...kinds.values()];
  if (all.includes("up")) {
    return false;
  }
  return all.length === 2 ? true : undefined;
}

function states(sources$: Observable<Named>): Observable<HostWake> {
  return sources$.pipe(
    map(({ name, event }): HostWake | null =>
      event.kind === "state" ? { kind: "source", name, state: event.state } : null,
    ),
    filter((wake) => wake !== null),
  );
}

function looks(sources$: Observable<Named>, burstMs: number): Observable<HostWake> {
  const names$ = sources$.pipe(
    filter(({ event }) => event.kind === "wake"),
    map(({ name }) => name),
  );
  return coalesce(names$, burstMs).pipe(map((source) => ({ kind: "look", source })));
}
