/**
 * When a shared monitor is visited without anybody asking for it. Pure but for its own counters.
 *
 * At rest never. While somebody waits for news of a VM that answers, and while one does not answer, in growing
 * intervals, and a few times while a guest may take a device into use.
 */
import type { VmProcess, VmStatus } from "../core/vm.js";
import { type LinkTiming, nextWaitMs, waitMs } from "./dialling.js";
import { GuestWatch } from "./guest-watch.js";

/** Attempts that may be accepted and hung up on before that is told: a QEMU that is being killed does so. */
const TOLERATED_HANG_UPS = 3;

export class VisitPace {
  readonly #timing: LinkTiming;
  readonly #watch: GuestWatch;
  #isNewsExpected = false;
  #newsMs: number;
  #retryMs: number;
  #hangUps = 0;

  constructor(timing: LinkTiming) {
    this.#timing = timing;
    this.#watch = new GuestWatch(timing);
    this.#newsMs = timing.newsMs;
    this.#retryMs = timing.retryMs;
  }

  /** True when that is something new. */
  expectNews(isExpected: boolean): boolean {
    const isNew = isExpected !== this.#isNewsExpected;
    this.#isNewsExpected = isExpected;
    if (isNew) {
      this.#newsMs = this.#timing.newsMs;
    }
    return isNew;
  }

  /** Something was asked of the VM: news of it may come soon. */
  onOrder(): void {
    this.#newsMs = this.#timing.newsMs;
    this.#watch.begin();
  }

  /** The socket has changed: a QEMU that starts binds it before it listens. */
  onMove(): void {
    this.#retryMs = this.#timing.freshRetryMs;
  }

  /** The VM was seen; `isWhole`: with its process. */
  onAnswer(isWhole: boolean): void {
    this.#hangUps = 0;
    if (isWhole) {
      this.#retryMs = this.#timing.retryMs;
    }
  }

  /** An attempt failed. True: it may pass, so that it is not told yet. */
  onFailure(isHangUp: boolean): boolean {
    this.#hangUps = isHangUp ? this.#hangUps + 1 : 0;
    return this.#isPassing;
  }

  /** How long to wait for the next visit. */
  restMs(status: VmStatus, process: VmProcess | null): number {
    if (status.kind === "unknown" || this.#isPassing) {
      return this.#timing.freshRetryMs;
    }
    if (status.kind !== "up") {
      return waitMs(status, this.#retryMs, this.#timing);
    }
    if (process === null) {
      return this.#retryMs;
    }
    const newsMs = this.#isNewsExpected ? this.#newsMs : Number.POSITIVE_INFINITY;
    return Math.min(newsMs, this.#watch.waitMs(status.view));
  }

  /** It was waited for so long. */
  grow(status: VmStatus, process: VmProcess | null): void {
    if (status.kind === "up" && process !== null) {
      this.#newsMs = nextWaitMs(this.#newsMs, this.#timing);
      this.#watch.passed();
    } else {
      this.#retryMs = nextWaitMs(this.#retryMs, this.#timing);
    }
  }

  get #isPassing(): boolean {
    return this.#hangUps > 0 && this.#hangUps <= TOLERATED_HANG_UPS;
  }
}
