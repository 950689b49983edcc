/**
 * One link per VM, of the policy in force or found at the places of its patterns, and the hands that the steps use on it.
 * A link lives for as long as its VM is one of these and is spoken to in the same way; any other change leaves it alone.
 */
import { join } from "node:path";
import {
  combineLatest,
  distinctUntilChanged,
  filter,
  finalize,
  from,
  map,
  merge,
  mergeMap,
  type Observable,
  pairwise,
  scan,
  share,
  startWith,
  switchMap,
  takeUntil,
} from "rxjs";
import { messageOf } from "../base/error.js";
import { type FoundVm, withFoundVms } from "../core/found-vms.js";
import { listenerObjection } from "../core/listener.js";
import type { Policy, VmSpec } from "../core/policy.js";
import type { Signal } from "../core/signal.js";
import type { VmStatus } from "../core/vm.js";
import { findSocketOwner, isListening, isRunning, rereadProcess } from "../host/process.js";
import type { HostRoot } from "../host/root.js";
import { uidOf } from "../host/users.js";
import { linkVm, type VmLink } from "../qemu/link.js";
import { discoverVms } from "../qemu/socket-discovery.js";
import { openWireRecording } from "../qmp/recording.js";
import type { WireTap } from "../qmp/wire.js";
import type { ProcessEdge } from "./main.js";
import type { AgentOptions } from "./options.js";
import type { VmHands } from "./tools.js";

interface LinkParts {
  readonly options: AgentOptions;
  readonly edge: ProcessEdge;
  readonly root: HostRoot;
  /** Whether a VM of a pattern stays although its socket is gone. */
  readonly isNeeded: (vm: string) => boolean;
  /** Is told of what does not keep a link from working. */
  readonly warn: (message: string) => void;
}

export class Links {
  readonly #parts: LinkParts;
  /** Of the first policy: made, but not connected yet. */
  readonly #prepared: ReadonlyMap<string, VmLink>;
  /** By the VM's name. */
  readonly #open = new Map<string, VmLink>();

  /** Makes the links of the first policy. @throws {QmpRecordingError} where their traffic cannot be recorded. */
  constructor(parts: LinkParts, first: Policy) {
    this.#parts = parts;
    this.#prepared = new Map(
      first.vms.map((place) => [keyOf(place), this.#link(place, this.#record(place))] as const),
    );
  }

  /** The hands on a VM of the policy in force; `undefined` for any other name. */
  hands(name: string): VmHands | undefined {
    const link = this.#open.get(name);
    return (
      link && {
        attach: link.attach,
        detach: link.detach,
        reset: link.reset,
        // A step may outlive its link: what is seen on the old socket says nothing about the new one.
        look: async () => {
          const status = await link.look();
          const now = this.#open.get(name);
          return this.#asOfNow(now === undefined || now === link ? status : await now.look());
        },
      }
    );
  }

  /** What the VMs tell. `policies$` is listened to more than once, so it must not repeat itself to each listener. */
  follow(policies$: Observable<Policy>): Observable<Signal> {
    const found$ = this.#discover(policies$).pipe(share());
    const places$ = combineLatest([policies$, found$.pipe(startWith<readonly FoundVm[]>([]))]).pipe(
      map(([policy, found]) => withFoundVms(policy, found).vms),
      share(),
    );
    const links$ = places$.pipe(
      startWith<readonly VmSpec[]>([]),
      pairwise(),
      mergeMap(([before, now]) => from(now.filter((place) => !isAmong(before, place)))),
      mergeMap((place) =>
        this.#keep(place).pipe(takeUntil(places$.pipe(filter((now) => !isAmong(now, place))))),
      ),
    );
    // The world is told of a VM before the VM tells of itself.
    const news$ = found$.pipe(map((found): Signal => ({ kind: "vms-found", found })));
    return merge(news$, links$);
  }

  /** Has the VMs visited that somebody waits for. */
  expectNewsOf(vms: ReadonlySet<string>): void {
    for (const [name, link] of this.#open) {
      link.expectNews(vms.has(name));
    }
  }

  /** What is there, and what was there before and is still needed: a VM that ends takes its socket with it. */
  #discover(policies$: Observable<Policy>): Observable<readonly FoundVm[]> {
    return policies$.pipe(
      map((policy) => policy.vmPatterns.map(({ qmp }) => qmp)),
      distinctUntilChanged((a, b) => a.join("\n") === b.join("\n")),
      switchMap(discoverVms),
      scan((before: readonly FoundVm[], there) => {
        const names = new Set(there.map(({ name }) => name));
        const kept = before.filter(({ name }) => !names.has(name) && this.#parts.isNeeded(name));
        return [...there, ...kept];
      }, []),
    );
  }

  #keep(place: VmSpec): Observable<Signal> {
    const { name } = place;
    const link = this.#prepared.get(keyOf(place)) ?? this.#link(place, this.#recordIfPossible(place));
    this.#open.set(name, link);
    return link.status$.pipe(
      map((signal) =>
        signal.kind === "vm-seen" ? { ...signal, status: this.#asOfNow(signal.status) } : signal,
      ),
      finalize(() => {
        if (this.#open.get(name) === link) {
          this.#open.delete(name);
        }
      }),
    );
  }

  /** A link keeps the process that it has found; its limits may be others by now. */
  #asOfNow(status: VmStatus): VmStatus {
    const process = status.kind === "up" ? status.view.process : null;
    return status.kind !== "up" || process === null
      ? status
      : { ...status, view: { ...status.view, process: rereadProcess(this.#parts.root, process) } };
  }

  #link({ name, qmp, monitor, listener }: VmSpec, onWire: WireTap | undefined): VmLink {
    const { root, edge } = this.#parts;
    return linkVm({
      name,
      path: qmp,
      monitor,
      findProcess: (path) => findSocketOwner(root, path),
      isRunning: (process) => isRunning(root, process),
      isListening: (process, path) => isListening(root, process, path),
      objection: listener && ((process) => listenerObjection(listener, process, uidOf(root, listener.user))),
      now: edge.now,
      onWire,
    });
  }

  #record({ name, qmp }: VmSpec): WireTap | undefined {
    const { traceDir } = this.#parts.options;
    if (traceDir === null) {
      return undefined;
    }
    const { now } = this.#parts.edge;
    const path = join(traceDir, `${name}-${now()}.jsonl`);
    return openWireRecording(path, { nowMs: now, note: `${name} at ${qmp}` }).tap;
  }

  /** An agent that runs does not end for a recording. */
  #recordIfPossible(place: VmSpec): WireTap | undefined {
    try {
      return this.#record(place);
    } catch (error) {
      this.#parts.warn(messageOf(error));
      return undefined;
    }
  }
}

/** What a link is made of: another one of these is another link. */
function keyOf({ name, qmp, monitor, listener }: VmSpec): string {
  return JSON.stringify([name, qmp, monitor, listener]);
}

function isAmong(places: readonly VmSpec[], wanted: VmSpec): boolean {
  return places.some((place) => keyOf(place) === keyOf(wanted));
}
