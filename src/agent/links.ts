/**
 * One link per VM of the policy in force, and the hands that the steps use on it. A link lives from the policy that
 * names its VM to the one that does not, or names another socket; any other change leaves it alone.
 */
import { join } from "node:path";
import { filter, finalize, from, map, mergeMap, type Observable, pairwise, startWith, takeUntil } from "rxjs";
import { messageOf } from "../base/error.js";
import type { Policy, VmSpec } from "../core/policy.js";
import type { Signal } from "../core/signal.js";
import { findSocketOwner } from "../host/process.js";
import type { HostRoot } from "../host/root.js";
import { linkVm, type VmLink } from "../qemu/link.js";
import { openWireRecording } from "../qmp/recording.js";
import type { WireTap } from "../qmp/wire.js";
import type { ProcessEdge } from "./main.js";
import type { AgentOptions } from "./options.js";
import type { VmHands } from "./tools.js";

interface LinkParts {
  readonly options: AgentOptions;
  readonly edge: ProcessEdge;
  readonly root: HostRoot;
  /** Is told of what does not keep a link from working. */
  readonly warn: (message: string) => void;
}

type VmPlace = Pick<VmSpec, "name" | "qmp">;

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
        // A step may outlive its link: what is seen on the old socket says nothing about the new one.
        look: async () => {
          const status = await link.look();
          const now = this.#open.get(name);
          return now === undefined || now === link ? status : now.look();
        },
      }
    );
  }

  /** What the VMs tell. `policies$` is listened to more than once, so it must not repeat itself to each listener. */
  follow(policies$: Observable<Policy>): Observable<Signal> {
    const places$ = policies$.pipe(map((policy) => policy.vms));
    return places$.pipe(
      startWith<readonly VmPlace[]>([]),
      pairwise(),
      mergeMap(([before, now]) => from(now.filter((place) => !isAmong(before, place)))),
      mergeMap((place) =>
        this.#keep(place).pipe(takeUntil(places$.pipe(filter((now) => !isAmong(now, place))))),
      ),
    );
  }

  #keep(place: VmPlace): Observable<Signal> {
    const { name } = place;
    const link = this.#prepared.get(keyOf(place)) ?? this.#link(place, this.#recordIfPossible(place));
    this.#open.set(name, link);
    return link.status$.pipe(
      finalize(() => {
        if (this.#open.get(name) === link) {
          this.#open.delete(name);
        }
      }),
    );
  }

  #link({ name, qmp }: VmPlace, onWire: WireTap | undefined): VmLink {
    const { root, edge } = this.#parts;
    return linkVm({
      name,
      path: qmp,
      findProcess: (path) => findSocketOwner(root, path),
      now: edge.now,
      onWire,
    });
  }

  #record({ name, qmp }: VmPlace): WireTap | undefined {
    const { traceDir } = this.#parts.options;
    if (traceDir === null) {
      return undefined;
    }
    const { now } = this.#parts.edge;
    const path = join(traceDir, `${name}-${now()}.jsonl`);
    return openWireRecording(path, { nowMs: now, note: `${name} at ${qmp}` }).tap;
  }

  /** An agent that runs does not end for a recording. */
  #recordIfPossible(place: VmPlace): WireTap | undefined {
    try {
      return this.#record(place);
    } catch (error) {
      this.#parts.warn(messageOf(error));
      return undefined;
    }
  }
}

function keyOf({ name, qmp }: VmPlace): string {
  return `${name} ${qmp}`;
}

function isAmong(places: readonly VmPlace[], wanted: VmPlace): boolean {
  return places.some((place) => keyOf(place) === keyOf(wanted));
}
