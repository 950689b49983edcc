/**
 * The standing connection to one VM's dedicated monitor: made, lost, made again, for as long as anybody subscribes.
 *
 * Promises: while it is connected, nothing is asked without a reason; while it is not, the socket file is watched and
 * tried in growing intervals; whatever is called at whatever moment comes back within its deadline. Whose VM it is and
 * what it should have is not known here.
 */
import { setTimeout as delay } from "node:timers/promises";
import { fromEvent, Observable, share, takeUntil } from "rxjs";
import { AgentError } from "../base/error.js";
import type { PciAddress } from "../core/address.js";
import type { Signal } from "../core/signal.js";
import type { Outcome, Placement } from "../core/step.js";
import type { VmProcess, VmStatus } from "../core/vm.js";
import { connectQmp, type QmpClient } from "../qmp/client.js";
import type { WireTap } from "../qmp/wire.js";
import {
  continueStatus,
  DEFAULT_TIMING,
  type DownStatus,
  downStatusOf,
  greetingMs,
  isSameNews,
  type LinkTiming,
  nextWaitMs,
  waitMs,
} from "./dialling.js";
import { Doorbell } from "./doorbell.js";
import { VmSession } from "./session.js";
import { watchSocket } from "./socket-watch.js";

/** What a link tells of its VM. */
export type VmLinkSignal = Extract<Signal, { kind: "vm-seen" | "device-deleted" }>;

export interface VmLinkOptions {
  /** Name of the VM, for the signals. */
  readonly name: string;
  /** Path of its QMP socket. */
  readonly path: string;
  /** Finds the process that listens on a socket; `null` when there is none to be found. Asked once per connection. */
  readonly findProcess: (path: string) => Promise<VmProcess | null>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Sees the raw wire of every connection. */
  readonly onWire?: WireTap | undefined;
  readonly timing?: Partial<LinkTiming> | undefined;
}

/** A link to one VM. Works only while `status$` is subscribed to; subscribers share one connection. */
export interface VmLink {
  /** Each new status, and each device that QEMU let go of. Unsubscribing closes everything. */
  readonly status$: Observable<VmLinkSignal>;
  /** Puts a device into a port. `cancelled` while there is no connection. */
  readonly attach: (placement: Placement) => Promise<Outcome>;
  /** Asks for a device back. `cancelled` while there is no connection. */
  readonly detach: (id: string, address: PciAddress) => Promise<Outcome>;
  /** A fresh look; while there is no connection, why there is none. Not repeated on `status$`. */
  readonly look: () => Promise<VmStatus>;
}

/** Describes a link; it connects once `status$` is subscribed to. */
export function linkVm(options: VmLinkOptions): VmLink {
  const line = new VmLine(options);
  const status$ = new Observable<VmLinkSignal>((subscriber) => {
    const stop = new AbortController();
    line
      .keep((signal) => subscriber.next(signal), stop.signal)
      .catch((error: unknown) => subscriber.error(error));
    return () => stop.abort();
  });
  return {
    status$: status$.pipe(share()),
    attach: (placement) => line.attach(placement),
    detach: (id, address) => line.detach(id, address),
    look: () => line.look(),
  };
}

/** Connections in a row that may end at once before the next one has to wait: a VM that restarts needs some. */
const TOLERATED_HASTY_ENDS = 3;

type Tell = (signal: VmLinkSignal) => void;

class VmLine {
  readonly #options: VmLinkOptions;
  readonly #timing: LinkTiming;
  #session: VmSession | null = null;
  #status: VmStatus = { kind: "unknown" };

  constructor(options: VmLinkOptions) {
    this.#options = options;
    this.#timing = { ...DEFAULT_TIMING, ...options.timing };
  }

  async attach(placement: Placement): Promise<Outcome> {
    return (await this.#session?.attach(placement)) ?? this.#notConnected(`attach ${placement.address} to`);
  }

  async detach(id: string, address: PciAddress): Promise<Outcome> {
    return (await this.#session?.detach({ id, address })) ?? this.#notConnected(`detach ${address} from`);
  }

  async look(): Promise<VmStatus> {
    return (await this.#session?.look()) ?? this.#status;
  }

  /** Stays connected until `stop` fires. */
  async keep(tell: Tell, stop: AbortSignal): Promise<void> {
    this.#status = { kind: "unknown" };
    let hastyEnds = 0;
    while (!stop.aborted) {
      const client = await this.#connect(tell, stop);
      if (client === null) {
        return;
      }
      const sinceMs = this.#options.now();
      await this.#serve(client, tell, stop);
      hastyEnds = this.#options.now() - sinceMs < this.#timing.retryMs ? hastyEnds + 1 : 0;
      if (hastyEnds > TOLERATED_HASTY_ENDS) {
        await this.#rest(hastyEnds - TOLERATED_HASTY_ENDS, tell, stop);
      }
    }
  }

  /** Keeps a peer that accepts and hangs up from spinning us. */
  async #rest(times: number, tell: Tell, stop: AbortSignal): Promise<void> {
    const reason = `${this.#options.path} hangs up again and again`;
    this.#tellDown({ kind: "unreachable", code: "qmp.hung-up", reason }, tell, stop);
    const { retryMs, longestRetryMs } = this.#timing;
    const ms = Math.min(retryMs * 2 ** (times - 1), longestRetryMs);
    await delay(ms, undefined, { signal: stop }).catch(() => undefined);
  }

  /** Tries until it is connected; `null` when stopped. The first attempt is made at once: a lost link is often back. */
  async #connect(tell: Tell, stop: AbortSignal): Promise<QmpClient | null> {
    const bell = new Doorbell();
    const down = new AbortController();
    const ring = (): void => bell.ring();
    stop.addEventListener("abort", ring);
    let plannedMs = this.#timing.retryMs;
    try {
      for (let attempt = 0; !stop.aborted; attempt += 1) {
        const met = await this.#dial(bell, stop);
        if (met.client !== null) {
          return met.client;
        }
        if (attempt === 0) {
          this.#watch(ring, down.signal);
        }
        this.#tellDown(met.status, tell, stop);
        const isRung = await bell.rungWithin(waitMs(met.status, plannedMs, this.#timing));
        bell.reset();
        plannedMs = isRung ? this.#timing.freshRetryMs : nextWaitMs(plannedMs, this.#timing);
      }
      return null;
    } finally {
      stop.removeEventListener("abort", ring);
      down.abort();
    }
  }

  /** One attempt. A ring gives it up: what it waits for may not be what stands at the path any more. */
  async #dial(
    bell: Doorbell,
    stop: AbortSignal,
  ): Promise<{ client: QmpClient } | { client: null; status: DownStatus }> {
    const { path, onWire, now } = this.#options;
    const attempt = new AbortController();
    const unlisten = bell.onRing(() => attempt.abort());
    try {
      const greetingTimeoutMs = greetingMs(this.#status, this.#timing);
      const client = await connectQmp({ path, greetingTimeoutMs, signal: attempt.signal, onWire });
      if (stop.aborted) {
        await client.close();
      }
      return { client };
    } catch (error) {
      return { client: null, status: downStatusOf(error, now()) };
    } finally {
      unlisten();
    }
  }

  /** Rings when the socket file changes. Without a watch (no inotify watches left) the growing intervals remain. */
  #watch(ring: () => void, until: AbortSignal): void {
    watchSocket(this.#options.path)
      .pipe(takeUntil(fromEvent(until, "abort")))
      .forEach(ring)
      .catch(() => undefined);
  }

  async #serve(client: QmpClient, tell: Tell, stop: AbortSignal): Promise<void> {
    const { name: vm, now } = this.#options;
    const close = (): void => void client.close();
    stop.addEventListener("abort", close);
    const ears = {
      now,
      onSeen: (status: VmStatus): void => {
        this.#status = status;
        tell({ kind: "vm-seen", atMs: now(), vm, status });
      },
      onDeleted: (id: string): void => tell({ kind: "device-deleted", atMs: now(), vm, id }),
    };
    try {
      const session = new VmSession(client, await this.#findProcess(stop), ears, this.#timing);
      this.#session = session;
      await session.run();
    } finally {
      this.#session = null;
      this.#status = lostStatus(this.#status, this.#options.path);
      stop.removeEventListener("abort", close);
      await client.close();
    }
  }

  /** A process that cannot be found in time is `null`: shown as unknown, and nothing is given to its VM. */
  async #findProcess(stop: AbortSignal): Promise<VmProcess | null> {
    const over = new AbortController();
    const end = (): void => over.abort();
    stop.addEventListener("abort", end);
    const late = delay(this.#timing.findProcessMs, null, { signal: over.signal }).catch(() => null);
    try {
      return await Promise.race([this.#options.findProcess(this.#options.path), late]);
    } catch (error) {
      if (error instanceof AgentError && error.code !== "bug") {
        return null;
      }
      throw error;
    } finally {
      stop.removeEventListener("abort", end);
      over.abort();
    }
  }

  #tellDown(next: DownStatus, tell: Tell, stop: AbortSignal): void {
    const before = this.#status;
    // An attempt that was given up says nothing about the VM.
    if (stop.aborted || (next.kind === "unreachable" && next.code === "qmp.aborted")) {
      return;
    }
    this.#status = continueStatus(before, next);
    if (!isSameNews(before, next)) {
      tell({ kind: "vm-seen", atMs: this.#options.now(), vm: this.#options.name, status: this.#status });
    }
  }

  #notConnected(what: string): Outcome {
    const status = this.#status;
    const why = "reason" in status ? status.reason : "not connected yet";
    return { kind: "cancelled", detail: `cannot ${what} ${this.#options.name}: ${why}` };
  }
}

function lostStatus(before: VmStatus, path: string): VmStatus {
  return before.kind === "up"
    ? { kind: "unreachable", code: "qmp.disconnected", reason: `the link to ${path} was lost` }
    : before;
}
