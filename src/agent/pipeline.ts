/**
 * From signals to turns: the one Subject (the front door) and the one scan over the world.
 *
 * A turn is reduced whole before the next one begins, also when a turn's own consequences post new signals.
 */
import { map, merge, mergeMap, type Observable, observeOn, queueScheduler, Subject, scan } from "rxjs";
import type { Policy } from "../core/policy.js";
import { reduce } from "../core/reduce.js";
import type { Signal } from "../core/signal.js";
import { emptyWorld, type World } from "../core/world.js";

/** A batch of signals and what it made of the world. */
export interface Turn {
  readonly before: World;
  readonly signals: readonly Signal[];
  readonly world: World;
}

export interface Pipeline {
  /** Turns of the door and of the sources, in one order. */
  readonly turns$: Observable<Turn>;
  /** The front door: signals of one call are one turn. */
  readonly post: (signals: readonly Signal[]) => void;
}

/** What tells the world: made once, from the stream of policies. Each policy has had its turn when it comes by there. */
export type Sources = (policies$: Observable<Policy>) => readonly Observable<Signal>[];

/** Opens the front door in front of the given sources. A policy only ever comes in by the door. */
export function openPipeline(sources: Sources): Pipeline {
  const door = new Subject<readonly Signal[]>();
  const policies$ = door.pipe(
    mergeMap((signals) =>
      signals.flatMap((signal) => (signal.kind === "policy-loaded" ? [signal.policy] : [])),
    ),
  );
  const sources$ = merge(...sources(policies$)).pipe(map((signal): readonly Signal[] => [signal]));
  // The door first: its listeners are told in this order, so a policy is in the world before a source acts on it.
  const turns$ = merge(door, sources$).pipe(observeOn(queueScheduler), scan(nextTurn, firstTurn));
  return { turns$, post: (signals) => door.next(signals) };
}

const firstTurn: Turn = { before: emptyWorld, signals: [], world: emptyWorld };

function nextTurn(last: Turn, signals: readonly Signal[]): Turn {
  return { before: last.world, signals, world: signals.reduce(reduce, last.world) };
}
