/**
 * One VM's monitor, connected to again and again: the state behind a link.
 *
 * Invariants:
 * - at most one connection at a time, and none after the stop;
 * - `#status` is what was told last, or that the link was just lost: an answer to come is waited for, never invented;
 * - whatever is called comes back: with a value, within the deadlines of the session or of one attempt to connect.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { PciAddress } from "../core/address.js";
import type { MonitorUse } from "../core/policy.js";
import type { Signal } from "../core/signal.js";
import type { Outcome, Placement } from "../core/step.js";
import { unplugName } from "../core/unplug.js";
import type { VmStatus, VmView } from "../core/vm.js";
import { connectQmp, type QmpClient } from "../qmp/client.js";
import type { WireTap } from "../qmp/wire.js";
import {
  continueStatus,
  DEFAULT_TIMING,
  type DownStatus,
  downStatusOf,
  greetingMs,
  isHangUp,
  isSameNews,
  type LinkTiming,
  lostStatus,
  nextWaitMs,
  notConnected,
  waitMs,
} from "./dialling.js";
import { Doorbell } from "./doorbell.js";
import { approveListener, findInTime, type ProcessEyes } from "./process-search.js";
import { VmSession } from "./session.js";
import { wakeOnSocketChange } from "./socket-watch.js";
import { departedSince } from "./visit.js";

/** What a link tells of its VM. */
export type VmLinkSignal = Extract<Signal, { kind: "vm-seen" | "device-deleted" | "vm-reset" }>;

export interface VmLinkOptions extends ProcessEyes {
  /** Name of the VM, for the signals. */
  readonly name: string;
  /** Path of its QMP socket. */
  readonly path: string;
  /** Whether the monitor is ours alone; `dedicated` by default. */
  readonly monitor?: MonitorUse | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Sees the raw wire of every connection. */
  readonly onWire?: WireTap | undefined;
  readonly timing?: Partial<LinkTiming> | undefined;
}

/** Connections in a row that may end at once before the next one has to wait: a VM that restarts needs some. */
const TOLERATED_HASTY_ENDS = 3;

/** Attempts that may be accepted and hung up on before that is told: a QEMU that is being killed does so. */
const TOLERATED_HANG_UPS = 3;

const NOT_LOOKED_AT: VmStatus = { kind: "unknown" };

/** Passes a signal on to whoever follows the VM. */
export type Tell = (signal: VmLinkSignal) => void;

/** Keeps one connection to one VM. Made by linkVm. */
export class VmLine {
  readonly #options: VmLinkOptions;
  readonly #timing: LinkTiming;
  #session: VmSession | null = null;
  #status: VmStatus = NOT_LOOKED_AT;
  /** What the VM had when it was last known: what is missing when a lost link is back has left unheard. */
  #lastView: VmView | null = null;
  /** Rung while `#status` is an answer; silent between the end of a connection and the next answer. */
  readonly #settled = new Doorbell();

  constructor(options: VmLinkOptions) {
    this.#options = options;
    this.#timing = { ...DEFAULT_TIMING, ...options.timing };
    this.#settled.ring();
  }

  async attach(placement: Placement): Promise<Outcome> {
    return (
      (await this.#session?.attach(placement)) ??
      notConnected(this.#status, `attach ${placement.address} to ${this.#options.name}`)
    );
  }

  async detach(id: string, address: PciAddress): Promise<Outcome> {
    return (
      (await this.#session?.detach({ id, address })) ??
      notConnected(this.#status, `detach ${address} from ${this.#options.name}`)
    );
  }

  async reset(): Promise<Outcome> {
    return (await this.#session?.reset()) ?? notConnected(this.#status, `reset ${this.#options.name}`);
  }

  async look(): Promise<VmStatus> {
    const session = this.#session;
    const status = await session?.look();
    if (status !== undefined && session?.isOver === false) {
      this.#lastView = status.kind === "up" ? status.view : this.#lastView;
      return status;
    }
    if (session !== null && session === this.#session) {
      this.#settled.reset();
    }
    // The connection is being made again: its first answer is the truth, and the one that `status$` tells.
    await this.#settled.rungWithin(this.#timing.greetingMs + this.#timing.findProcessMs);
    return this.#status;
  }

  /** A standing connection hears what happens. */
  expectNews(_isExpected: boolean): void {}

  /** Stays connected until `stop` fires. */
  async keep(tell: Tell, stop: AbortSignal): Promise<void> {
    this.#status = NOT_LOOKED_AT;
    this.#settled.reset();
    stop.addEventListener("abort", () => this.#settled.ring(), { once: true });
    let hastyEnds = 0;
    for (let plannedMs = this.#timing.retryMs; !stop.aborted; plannedMs = this.#timing.freshRetryMs) {
      const client = await this.#connect(plannedMs, tell, stop);
      if (client === null) {
        return;
      }
      // Only ends without an absence in between count: a VM that crashes and is started again may do so often.
      hastyEnds = this.#status.kind === "absent" ? 0 : hastyEnds;
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
  async #connect(firstWaitMs: number, tell: Tell, stop: AbortSignal): Promise<QmpClient | null> {
    const bell = new Doorbell();
    const down = new AbortController();
    const ring = (): void => bell.ring();
    stop.addEventListener("abort", ring);
    let plannedMs = firstWaitMs;
    try {
      for (let attempt = 0; !stop.aborted; attempt += 1) {
        const met = await this.#dial(bell, stop);
        if (met.client !== null) {
          return met.client;
        }
        if (attempt === 0) {
          wakeOnSocketChange(this.#options.path, ring, down.signal);
        }
        const isPassing = attempt < TOLERATED_HANG_UPS && isHangUp(met.status);
        if (!isPassing) {
          this.#tellDown(met.status, tell, stop);
        }
        const pauseMs = isPassing ? this.#timing.freshRetryMs : waitMs(met.status, plannedMs, this.#timing);
        const isRung = await bell.rungWithin(pauseMs);
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
    const { path, onWire, now, objection } = this.#options;
    const attempt = new AbortController();
    const unlisten = bell.onRing(() => attempt.abort());
    try {
      const greetingTimeoutMs = greetingMs(this.#status, this.#timing);
      const approve = objection === undefined ? undefined : () => this.#approve(attempt.signal);
      const client = await connectQmp({ path, greetingTimeoutMs, signal: attempt.signal, onWire, approve });
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

  async #approve(signal: AbortSignal): Promise<void> {
    approveListener(this.#options, await findInTime(this.#options, this.#timing.findProcessMs, signal));
  }

  async #serve(client: QmpClient, tell: Tell, stop: AbortSignal): Promise<void> {
    const { name: vm, now } = this.#options;
    const close = (): void => void client.close();
    stop.addEventListener("abort", close);
    const onDeleted = (id: string): void => {
      this.#lastView = this.#lastView && withoutDevice(this.#lastView, id);
      tell({ kind: "device-deleted", atMs: now(), vm, id });
    };
    const ears = {
      now,
      onSeen: (status: VmStatus): void => {
        if (status.kind === "up") {
          departedSince(this.#lastView, status.view).forEach(onDeleted);
          this.#lastView = status.view;
        }
        this.#status = status;
        this.#settled.ring();
        tell({ kind: "vm-seen", atMs: now(), vm, status });
      },
      onDeleted,
      onReset: (isByGuest: boolean): void => tell({ kind: "vm-reset", atMs: now(), vm, isByGuest }),
    };
    try {
      const session = new VmSession(
        client,
        () => findInTime(this.#options, this.#timing.findProcessMs, stop),
        ears,
        this.#timing,
      );
      this.#session = session;
      await session.run();
    } finally {
      this.#session = null;
      this.#settled.reset();
      this.#status = lostStatus(this.#status, this.#options.path);
      stop.removeEventListener("abort", close);
      await client.close();
    }
  }

  #tellDown(next: DownStatus, tell: Tell, stop: AbortSignal): void {
    const before = this.#status;
    // An attempt that was given up says nothing about the VM.
    if (stop.aborted || (next.kind === "unreachable" && next.code === "qmp.aborted")) {
      return;
    }
    this.#status = continueStatus(before, next);
    this.#settled.ring();
    if (!isSameNews(before, next)) {
      tell({ kind: "vm-seen", atMs: this.#options.now(), vm: this.#options.name, status: this.#status });
    }
  }
}

function withoutDevice(view: VmView, id: string): VmView {
  return { ...view, attached: view.attached.filter((entry) => unplugName(entry) !== id) };
}
