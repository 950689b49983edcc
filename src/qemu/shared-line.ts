/**
 * One VM's monitor that others use, too: connected to for moments, and left free in between (design.md 6).
 *
 * Invariants:
 * - one visit does one thing: an order, or a look; a look keeps the monitor for `visitMs` at most, an order for as long
 *   as QEMU takes to answer it (device_add keeps all of QEMU busy, and nobody can interrupt it, facts.md 1.2);
 * - at most one connection, waiting or served: who gives up a place in QEMU's queue keeps it taken (facts.md 6), so a
 *   visit that finds the monitor busy stays in the queue until it is greeted, and meanwhile everything asked is
 *   answered with that;
 * - a visit has a reason: an order, another socket file, another process, or news that somebody waits for. A VM at rest
 *   gets none, so what happens in it unasked is learnt at the next visit.
 */
import { clearTimeout, setTimeout } from "node:timers";
import type { PciAddress } from "../core/address.js";
import type { Outcome, Placement } from "../core/step.js";
import type { VmProcess, VmStatus, VmView } from "../core/vm.js";
import { connectQmp, type QmpClient } from "../qmp/client.js";
import { lookAtSilence } from "../qmp/socket-table.js";
import { attachDevice } from "./attach.js";
import { detachDevice } from "./detach.js";
import {
  BUSY,
  continueStatus,
  DEFAULT_TIMING,
  type DownStatus,
  downStatusOf,
  isHangUp,
  isSameNews,
  type LinkTiming,
  lostStatus,
  notConnected,
  SILENT,
} from "./dialling.js";
import { Doorbell } from "./doorbell.js";
import type { Tell, VmLinkOptions } from "./line.js";
import { approveListener, findInTime } from "./process-search.js";
import { resetMachine } from "./reset.js";
import { type SocketChange, wakeOnSocketChange } from "./socket-watch.js";
import { departedSince, glanceAt, isCutOff, type Order } from "./visit.js";
import { VisitPace } from "./visit-pace.js";

export class SharedLine {
  readonly #options: VmLinkOptions;
  readonly #timing: LinkTiming;
  readonly #pace: VisitPace;
  readonly #orders: Order[] = [];
  /** Rung when a visit may be due. */
  readonly #bell = new Doorbell();
  /** Rung while `#status` is an answer. */
  readonly #settled = new Doorbell();
  #status: VmStatus = { kind: "unknown" };
  #process: VmProcess | null = null;
  #lastView: VmView | null = null;
  #isVisitDue = true;
  #tell: Tell = () => undefined;

  constructor(options: VmLinkOptions) {
    this.#options = options;
    this.#timing = { ...DEFAULT_TIMING, ...options.timing };
    this.#pace = new VisitPace(this.#timing);
    this.#settled.ring();
  }

  attach(placement: Placement): Promise<Outcome> {
    return this.#ask((client) => attachDevice(client, placement), `attach ${placement.address} to`);
  }

  /** Never waits for the guest: whether it has let go is seen at later visits. */
  detach(id: string, address: PciAddress): Promise<Outcome> {
    return this.#ask(
      (client) => detachDevice(client, { id, address }, { waitMs: 0 }),
      `detach ${address} from`,
    );
  }

  reset(): Promise<Outcome> {
    return this.#ask(resetMachine, "reset");
  }

  async look(): Promise<VmStatus> {
    await this.#answer();
    const glance = await this.borrow<VmStatus | null>(
      (client) => this.#look(client),
      () => null,
    );
    if (glance !== null) {
      return glance;
    }
    // The next answer is the truth, and the one that `status$` tells.
    await this.#answer();
    return this.#status;
  }

  /** Has `act` done in the next visit; else `refuse` answers. */
  borrow<T>(act: (client: QmpClient) => Promise<T>, refuse: () => T): Promise<T> {
    if (this.#status.kind !== "up") {
      return Promise.resolve(refuse());
    }
    return new Promise((resolve, reject) => {
      this.#orders.push({
        run: (client) => act(client).then(resolve, reject),
        refuse: () => resolve(refuse()),
      });
      this.#pace.onOrder();
      this.#call();
    });
  }

  /** Whether somebody waits for what only a look at the VM shows. */
  expectNews(isExpected: boolean): void {
    if (this.#pace.expectNews(isExpected)) {
      this.#bell.ring();
    }
  }

  /** Visits whenever there is a reason to, until `stop` fires. */
  async keep(tell: Tell, stop: AbortSignal): Promise<void> {
    this.#tell = tell;
    this.#status = { kind: "unknown" };
    this.#settled.reset();
    let attempt = new AbortController();
    const end = (): void => {
      attempt.abort();
      this.#bell.ring();
      this.#settled.ring();
    };
    stop.addEventListener("abort", end, { once: true });
    const onMove = (change: SocketChange): void => {
      if (change !== "appeared") {
        // What the attempt under way waits for is not what stands at the path any more.
        attempt.abort();
        this.#process = null;
      }
      if (change !== "appeared" || this.#status.kind !== "up") {
        this.#pace.onMove();
        this.#call();
      }
    };
    wakeOnSocketChange(this.#options.path, onMove, stop);
    while (!stop.aborted) {
      this.#isVisitDue = false;
      attempt = new AbortController();
      await this.#visit(attempt.signal);
      await this.#rest(stop);
    }
    this.#status = { kind: "unknown" };
    this.#refuseAll();
  }

  #ask(act: (client: QmpClient) => Promise<Outcome>, what: string): Promise<Outcome> {
    return this.borrow(act, () => notConnected(this.#status, `${what} ${this.#options.name}`));
  }

  /** Asks for a visit. */
  #call(): void {
    this.#isVisitDue = true;
    this.#bell.ring();
  }

  /** Resolves when `#status` is an answer, or none has come in time. */
  #answer(): Promise<unknown> {
    return this.#settled.rungWithin(this.#timing.greetingMs + this.#timing.findProcessMs);
  }

  #refuseAll(): void {
    for (const order of this.#orders.splice(0)) {
      order.refuse();
    }
  }

  async #visit(signal: AbortSignal): Promise<void> {
    const client = await this.#enter(signal);
    if (client === null) {
      return;
    }
    try {
      const order = this.#orders.shift();
      await (order === undefined ? this.#lookAndTell(client) : order.run(client));
      if (client.state === "closed" && this.#status.kind === "up") {
        this.#lose();
      }
    } finally {
      await client.close();
    }
    this.#isVisitDue ||= this.#orders.length > 0;
  }

  /** A client that was greeted; `null` when that failed, which is told. */
  async #enter(signal: AbortSignal): Promise<QmpClient | null> {
    const { path, onWire, now } = this.#options;
    if (this.#process === null || !this.#isRunning(this.#process)) {
      // Before, because searching /proc takes its time, and the monitor is not ours to keep.
      this.#process = await findInTime(this.#options, this.#timing.findProcessMs, signal);
    }
    const late = setTimeout(
      () => this.#tellDown(lookAtSilence(path) === "not-accepting" ? SILENT : BUSY),
      this.#timing.greetingMs,
    );
    try {
      return await connectQmp({
        path,
        // Never given up while the same socket is there: see above.
        greetingTimeoutMs: Number.POSITIVE_INFINITY,
        signal,
        onWire,
        approve: async () => approveListener(this.#options, this.#process),
      });
    } catch (error) {
      const status = downStatusOf(error, now());
      this.#process = null;
      if (!this.#pace.onFailure(isHangUp(status))) {
        this.#tellDown(status);
      }
      return null;
    } finally {
      clearTimeout(late);
    }
  }

  async #lookAndTell(client: QmpClient): Promise<void> {
    const glance = await this.#look(client);
    if (glance.kind === "up") {
      this.#status = glance;
      this.#pace.onAnswer(glance.view.process !== null);
      this.#settled.ring();
      this.#tellSeen(glance);
    } else if (isCutOff(glance, client)) {
      this.#lose();
    } else {
      this.#tellDown(glance);
    }
  }

  async #look(client: QmpClient): ReturnType<typeof glanceAt> {
    const glance = await glanceAt(client, this.#process, this.#timing.visitMs);
    if (glance.kind === "up") {
      const { name: vm, now } = this.#options;
      for (const id of departedSince(this.#lastView, glance.view)) {
        this.#tell({ kind: "device-deleted", atMs: now(), vm, id });
      }
      this.#lastView = glance.view;
    }
    return glance;
  }

  /** The link was cut in the middle. */
  #lose(): void {
    if (this.#pace.onFailure(true)) {
      this.#status = lostStatus(this.#status, this.#options.path);
      this.#settled.reset();
      this.#refuseAll();
    } else {
      const reason = `${this.#options.path} hangs up again and again`;
      this.#tellDown({ kind: "unreachable", code: "qmp.hung-up", reason });
    }
  }

  #tellDown(next: DownStatus): void {
    const before = this.#status;
    // An attempt that was given up says nothing about the VM.
    if (next.kind === "unreachable" && next.code === "qmp.aborted") {
      return;
    }
    this.#status = continueStatus(before, next);
    this.#settled.ring();
    this.#refuseAll();
    if (!isSameNews(before, next)) {
      this.#tellSeen(this.#status);
    }
  }

  #tellSeen(status: VmStatus): void {
    this.#tell({ kind: "vm-seen", atMs: this.#options.now(), vm: this.#options.name, status });
  }

  /** Until the next visit has a reason. */
  async #rest(stop: AbortSignal): Promise<void> {
    for (let waitedMs = 0; !stop.aborted && !this.#isVisitDue; ) {
      const restMs = this.#pace.restMs(this.#status, this.#process);
      if (waitedMs >= restMs) {
        this.#pace.grow(this.#status, this.#process);
        return;
      }
      this.#bell.reset();
      const sliceMs = Math.min(restMs - waitedMs, this.#timing.processMs);
      const isRung = await this.#bell.rungWithin(sliceMs);
      waitedMs += isRung ? 0 : sliceMs;
      if (this.#status.kind === "up" && this.#process !== null && !this.#isRunning(this.#process)) {
        return;
      }
    }
  }

  #isRunning(process: VmProcess): boolean {
    return this.#options.isRunning?.(process) !== false;
  }
}
