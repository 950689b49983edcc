/**
 * The operator's file as the running agent sees it: read afresh each time, compared with the policy in force.
 *
 * Readings never overlap, so that an older one can never come in after a newer one.
 */
import { EMPTY, map, type Observable, pairwise, startWith, tap } from "rxjs";
import { ok } from "../base/result.js";
import type { ConfigIssue } from "../config/issue.js";
import type { ConfigResult } from "../config/load.js";
import type { FileNews } from "../config/watch.js";
import type { Policy } from "../core/policy.js";
import type { Signal } from "../core/signal.js";
import type { World } from "../core/world.js";

/** Where the policy comes from. */
export interface PolicySource {
  /** As it was named by whoever started the agent. */
  readonly path: string;
  readonly load: () => Promise<ConfigResult>;
  /** Emits when it may be another one. */
  readonly news$: Observable<FileNews>;
}

/** What a reading has brought. */
export interface Reading {
  /** What is wrong with the file; nothing when it is the policy in force now. */
  readonly issues: readonly ConfigIssue[];
  /** Whether anything was to be told. */
  readonly isNew: boolean;
}

/** A policy that nothing can change: of the demonstration, and of stories that are about something else. */
export function unchangingSource(path: string, policy: Policy): PolicySource {
  return { path, load: () => Promise.resolve(ok({ policy, remarks: [] })), news$: EMPTY };
}

/** The touches of the file as signals. That it cannot be watched is told once, until that has changed. */
export function fileTouches(
  news$: Observable<FileNews>,
  warn: (message: string) => void,
): Observable<Signal> {
  return news$.pipe(
    startWith<FileNews>({ kind: "touched" }),
    pairwise(),
    tap(([before, news]) => {
      if (news.kind === "unwatched" && before.kind !== "unwatched") {
        warn(`The file cannot be watched, so it is only looked at now and then: ${news.detail}`);
      }
    }),
    map(() => ({ kind: "reload-wanted", by: "file" })),
  );
}

/** The agent, as the file needs it. */
interface Door {
  readonly world: World;
  readonly post: (signals: readonly Signal[]) => void;
}

export class PolicyFile {
  readonly #load: PolicySource["load"];
  readonly #now: () => number;
  #last: Promise<unknown> = Promise.resolve();

  constructor(load: PolicySource["load"], now: () => number) {
    this.#load = load;
    this.#now = now;
  }

  /**
   * Reads the file, beginning after this call, and tells the world what has changed.
   *
   * `isConfirmed`: what it takes from VMs is meant, if it is a policy.
   */
  read(door: Door, isConfirmed: boolean): Promise<Reading> {
    const reading = this.#last.then(async () => {
      const loaded = await this.#load();
      const signals = loaded.ok
        ? taken(loaded.value.policy, door.world, isConfirmed, this.#now())
        : refused(loaded.error, door.world, this.#now());
      if (signals.length > 0) {
        door.post(signals);
      }
      return { issues: loaded.ok ? [] : loaded.error, isNew: signals.length > 0 };
    });
    this.#last = reading.catch(() => undefined);
    return reading;
  }
}

function taken(policy: Policy, world: World, isConfirmed: boolean, atMs: number): Signal[] {
  // One that was refused in between is loaded again: the file is good now.
  const isNews = policy.version !== world.policy?.version || world.policyRefusal !== null;
  return [
    ...(isNews ? [{ kind: "policy-loaded", atMs, policy } as const] : []),
    ...(isConfirmed ? [{ kind: "detach-confirmed", policy: policy.version } as const] : []),
  ];
}

function refused(issues: readonly ConfigIssue[], world: World, atMs: number): Signal[] {
  const reasons = issues.map(sentenceOf);
  const isTold = JSON.stringify(reasons) === JSON.stringify(world.policyRefusal?.reasons);
  return isTold ? [] : [{ kind: "policy-refused", atMs, reasons }];
}

/** The complaint as one line. */
function sentenceOf({ path, line, column, key, message }: ConfigIssue): string {
  const place = line === null ? path : `${path}:${line}:${column ?? 1}`;
  return `${place}: ${key === "" ? "" : `${key}: `}${message}`;
}
