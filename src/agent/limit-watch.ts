/**
 * Looks again at the memory limits of VMs that have cards to come and may not lock enough: nothing tells of a limit that
 * was raised from outside on a running QEMU (prlimit). Reads /proc only, after 1 s, 2 s, 4 s and so on, at most 5 min apart.
 */
import { clearTimeout, setTimeout } from "node:timers";
import { backoffMs } from "../core/backoff.js";
import { vmsShortOfMemlock } from "../core/memlock.js";
import type { Scene } from "../core/scene.js";
import type { Signal } from "../core/signal.js";
import type { VmProcess } from "../core/vm.js";

export interface LimitWatchParts {
  readonly now: () => number;
  /** The process as it is now. */
  readonly reread: (process: VmProcess) => VmProcess;
  readonly post: (signals: readonly Signal[]) => void;
}

export class LimitWatch {
  readonly #parts: LimitWatchParts;
  /** By the VM's name: when to look, and how often that was so. */
  readonly #due = new Map<string, { readonly atMs: number; readonly looks: number }>();
  #timer: NodeJS.Timeout | null = null;

  constructor(parts: LimitWatchParts) {
    this.#parts = parts;
  }

  /** Is told of every turn. */
  onTurn(scene: Scene): void {
    const short = vmsShortOfMemlock(scene);
    for (const name of this.#due.keys()) {
      if (!short.has(name)) {
        this.#due.delete(name);
      }
    }
    const nowMs = this.#parts.now();
    const news: Signal[] = [];
    for (const [name, view] of short) {
      const due = this.#due.get(name) ?? { atMs: nowMs + backoffMs(1), looks: 0 };
      const isDue = nowMs >= due.atMs;
      const looks = due.looks + (isDue ? 1 : 0);
      this.#due.set(name, isDue ? { atMs: nowMs + backoffMs(looks + 1), looks } : due);
      const process = isDue && view.process !== null ? this.#parts.reread(view.process) : view.process;
      if (process?.memlockBytes !== view.process?.memlockBytes) {
        const status = { kind: "up", view: { ...view, process } } as const;
        news.push({ kind: "vm-seen", atMs: nowMs, vm: name, status });
      }
    }
    this.#arm(nowMs);
    if (news.length > 0) {
      this.#parts.post(news);
    }
  }

  /** Looks no more. */
  stop(): void {
    if (this.#timer !== null) {
      clearTimeout(this.#timer);
      this.#timer = null;
    }
  }

  #arm(nowMs: number): void {
    this.stop();
    const next = Math.min(...[...this.#due.values()].map(({ atMs }) => atMs));
    if (Number.isFinite(next)) {
      const tick = (): void => this.#parts.post([{ kind: "tick", atMs: this.#parts.now() }]);
      this.#timer = setTimeout(tick, Math.max(10, next - nowMs));
    }
  }
}
