/** The kernel's seam, as an agent holds it that can be killed in the middle of anything. */
import type { KernelIo } from "../../src/host/kernel-io.js";

/** Once it is dead, nothing is done for it any more, and what it had asked for never comes back. */
export class MortalHands implements KernelIo {
  isDead = false;
  readonly #io: KernelIo;
  readonly #writeDeadlineMs: number;

  constructor(io: KernelIo, writeDeadlineMs: number) {
    this.#io = io;
    this.#writeDeadlineMs = writeDeadlineMs;
  }

  read(path: string, deadlineMs: number): ReturnType<KernelIo["read"]> {
    return this.#ifAlive(() => this.#io.read(path, deadlineMs));
  }

  write(path: string, text: string, deadlineMs: number): ReturnType<KernelIo["write"]> {
    return this.#ifAlive(() => this.#io.write(path, text, Math.min(deadlineMs, this.#writeDeadlineMs)));
  }

  chown(path: string, uid: number, gid: number): ReturnType<KernelIo["chown"]> {
    return this.#ifAlive(() => this.#io.chown(path, uid, gid));
  }

  limitMemlock(...args: Parameters<KernelIo["limitMemlock"]>): ReturnType<KernelIo["limitMemlock"]> {
    return this.#ifAlive(() => this.#io.limitMemlock(...args));
  }

  async #ifAlive<T>(act: () => Promise<T>): Promise<T> {
    const result = this.isDead ? await never<T>() : await act();
    return this.isDead ? await never<T>() : result;
  }
}

/** An answer that is waited for in vain. */
export function never<T>(): Promise<T> {
  return new Promise<T>(() => undefined);
}
