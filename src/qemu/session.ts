/**
 * One connection to one VM: its looks, its events, and what is asked of it.
 *
 * Invariants:
 * - nothing is sent but for an order, an event or a call: a VM at rest gets no commands at all (semantics.md 6);
 * - looks and attaches take turns: device_add blocks the whole monitor (facts.md 1.2), and a look in its shadow would
 *   only run into its deadline;
 * - a look that gets no answer ends the connection: whether QEMU is stopped or gone shows when it is dialled again.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Outcome, Placement } from "../core/step.js";
import { unplugName } from "../core/unplug.js";
import type { VmProcess, VmStatus } from "../core/vm.js";
import type { QmpClient } from "../qmp/client.js";
import { QmpTimeoutError } from "../qmp/errors.js";
import type { QmpEvent } from "../qmp/events.js";
import { attachDevice } from "./attach.js";
import { type Departing, detachDevice } from "./detach.js";
import { downStatusOf, type LinkTiming } from "./dialling.js";
import { Doorbell } from "./doorbell.js";
import { GuestWatch } from "./guest-watch.js";
import { resetMachine } from "./reset.js";
import { readView } from "./view.js";

/** What a session tells. */
export interface SessionEars {
  readonly now: () => number;
  /** A look that the session made by itself. */
  readonly onSeen: (status: VmStatus) => void;
  /** QEMU has let go of the device with this id. */
  readonly onDeleted: (id: string) => void;
  /** The machine was reset. Up to three times for one reboot. */
  readonly onReset: (isByGuest: boolean) => void;
}

export class VmSession {
  readonly #client: QmpClient;
  readonly #findProcess: () => Promise<VmProcess | null>;
  #process: VmProcess | null = null;
  readonly #ears: SessionEars;
  readonly #timing: LinkTiming;
  readonly #news = new Doorbell();
  readonly #over = new AbortController();
  readonly #watch: GuestWatch;
  /** What has gone since the look under way began: its answers may be older. */
  readonly #goneMeanwhile = new Set<string>();
  #turn: Promise<unknown> = Promise.resolve();

  /** Takes over the client. */
  constructor(
    client: QmpClient,
    findProcess: () => Promise<VmProcess | null>,
    ears: SessionEars,
    timing: LinkTiming,
  ) {
    this.#client = client;
    this.#findProcess = findProcess;
    this.#ears = ears;
    this.#timing = timing;
    this.#watch = new GuestWatch(timing);
    client.onEvent((event) => this.#hear(event));
    void client.closed.then(() => {
      this.#over.abort();
      this.#news.ring();
    });
  }

  /** Whether the connection has ended. */
  get isOver(): boolean {
    return this.#client.state === "closed";
  }

  /** Looks at once, then after each burst of events. Resolves when the connection has ended; rejects only for a bug. */
  async run(): Promise<void> {
    let waitMs = this.#timing.retryMs;
    for (;;) {
      this.#news.reset();
      const status = await this.look();
      // What a look has to say about a link that was cut is said better by the next attempt to connect.
      if (this.isOver && !isSilence(status)) {
        return;
      }
      this.#ears.onSeen(status);
      const isWhole = status.kind === "up" && status.view.process !== null;
      waitMs = isWhole ? this.#timing.retryMs : Math.min(waitMs * 2, this.#timing.longestRetryMs);
      if (!(await this.#news.rungWithin(isWhole ? this.#watch.waitMs(status.view) : waitMs))) {
        this.#watch.passed();
      }
      if (this.isOver) {
        return;
      }
      await this.#gather();
    }
  }

  /** The state of the VM as of now. */
  look(): Promise<VmStatus> {
    return this.#inTurn(async () => {
      try {
        // One that was not found is looked for again: a fork may have had the socket for a moment.
        this.#process ??= await this.#findProcess();
        this.#goneMeanwhile.clear();
        const view = await readView(this.#client, this.#process);
        const attached = view.attached.filter((entry) => !this.#goneMeanwhile.has(unplugName(entry)));
        return { kind: "up", view: { ...view, attached } };
      } catch (error) {
        if (error instanceof QmpTimeoutError) {
          await this.close();
        }
        return downStatusOf(error, this.#ears.now());
      }
    });
  }

  /** @see attachDevice */
  async attach(placement: Placement): Promise<Outcome> {
    const outcome = await this.#inTurn(() => attachDevice(this.#client, placement));
    if (outcome.kind === "done") {
      this.#watch.begin();
      void this.#lookAgainLater();
    }
    return outcome;
  }

  /** @see detachDevice */
  detach(departing: Departing): Promise<Outcome> {
    return detachDevice(this.#client, departing, { waitMs: this.#timing.unplugWaitMs });
  }

  /** @see resetMachine */
  reset(): Promise<Outcome> {
    return this.#inTurn(() => resetMachine(this.#client));
  }

  /** Ends the connection; every call in progress comes back. */
  async close(): Promise<void> {
    await this.#client.close();
  }

  /** What the guest made of a device shows only after it has seen it (facts.md 3). */
  async #lookAgainLater(): Promise<void> {
    await delay(this.#timing.guestMs, undefined, { signal: this.#over.signal }).then(
      () => this.#news.ring(),
      () => undefined,
    );
  }

  /** The rest of a burst: a reboot, the functions of one card. */
  async #gather(): Promise<void> {
    await delay(this.#timing.gatherMs, undefined, { signal: this.#over.signal }).catch(() => undefined);
  }

  #hear(event: QmpEvent): void {
    if (event.name === "DEVICE_DELETED") {
      // device_del takes the path in the place of an id, and so do we (facts.md 2.1).
      const name = event.data.device ?? event.data.path;
      this.#goneMeanwhile.add(name);
      this.#ears.onDeleted(name);
    }
    if (event.name === "RESET") {
      this.#ears.onReset(event.data.guest);
    }
    if (event.name === "RESET" || event.name === "RESUME") {
      this.#watch.begin();
    }
    this.#news.ring();
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(act);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }
}

function isSilence(status: VmStatus): boolean {
  return status.kind === "unreachable" && status.code === "qmp.timeout";
}
