/**
 * The simulated kernel's answers to reads and writes: the seam that host/kernel-io has on a real machine.
 *
 * Owns the list of writes and the tests' intercepts. A write that waits for a VM comes back as `stuck` when its
 * deadline has passed, and goes on waiting in the kernel, as a real one does (facts.md 5).
 */

import type { PciAddress } from "../core/address.js";
import type { KernelIo, KernelIoResult } from "../host/kernel-io.js";
import type { DriverState } from "./driver-model.js";
import { DONE, type Errno, type KernelAnswer, refused, strerror } from "./errno.js";
import type { SimMachine } from "./machine.js";
import type { ProcTree } from "./proc-tree.js";
import { SimTimers } from "./timers.js";
import type { Tree } from "./tree.js";

/** One write, as it was asked for. `path` is that of the simulated machine. */
export interface RecordedWrite {
  readonly path: string;
  readonly text: string;
}

/** What a test wants a write to come to; undefined leaves it to the kernel. */
export type WriteIntercept = (
  path: string,
  text: string,
) => { readonly kind: "failed"; readonly detail: string } | "stuck" | undefined;

type Handler = (match: RegExpExecArray, text: string) => KernelAnswer;

export class SimKernelIo implements KernelIo {
  readonly writes: RecordedWrite[] = [];
  readonly #tree: Tree;
  readonly #machine: SimMachine;
  readonly #proc: ProcTree;
  readonly #rescan: () => Promise<void>;
  readonly #remove: (address: PciAddress) => Promise<void>;
  readonly #intercepts = new Set<WriteIntercept>();
  readonly #timers = new SimTimers(1);
  readonly #cutOff = new Set<() => void>();

  constructor(parts: {
    readonly tree: Tree;
    readonly machine: SimMachine;
    readonly proc: ProcTree;
    readonly rescan: () => Promise<void>;
    readonly remove: (address: PciAddress) => Promise<void>;
  }) {
    this.#tree = parts.tree;
    this.#machine = parts.machine;
    this.#proc = parts.proc;
    this.#rescan = parts.rescan;
    this.#remove = parts.remove;
  }

  /** Lets a test answer writes; the newest intercept is asked first. Returns what takes it away again. */
  intercept(intercept: WriteIntercept): () => void {
    this.#intercepts.add(intercept);
    return () => this.#intercepts.delete(intercept);
  }

  async read(path: string, deadlineMs: number): Promise<KernelIoResult> {
    const logical = this.#tree.logical(path);
    const state = this.#stateAt(/\/([^/]+)\/(?:uevent|driver_override)$/.exec(logical)?.[1]);
    if (state !== undefined && this.#machine.isLeaving(state.address)) {
      const isInTime = await this.#within(this.#machine.whenLeft(state.address), deadlineMs);
      if (!isInTime) {
        return this.#stuck("read", logical);
      }
    }
    try {
      return { kind: "done", text: this.#tree.readBytes(logical) };
    } catch {
      return failed("read", logical, "ENOENT");
    }
  }

  async write(path: string, text: string, deadlineMs: number): Promise<KernelIoResult> {
    const logical = this.#tree.logical(path);
    this.writes.push({ path: logical, text });
    const wanted = this.#intercepted(logical, text);
    if (wanted === "stuck") {
      await this.#within(new Promise<never>(() => {}), deadlineMs);
      return this.#stuck("write", logical);
    }
    if (wanted !== undefined) {
      return wanted;
    }
    if (text === "") {
      return { kind: "failed", detail: "nothing to write" };
    }
    const answer = this.#answer(logical, text);
    if (answer.kind === "waits" && !(await this.#within(answer.released, deadlineMs))) {
      return this.#stuck("write", logical);
    }
    return answer.kind === "refused" ? failed("write", logical, answer.errno) : { kind: "done", text: "" };
  }

  async chown(path: string, uid: number, gid: number): Promise<KernelIoResult> {
    const logical = this.#tree.logical(path);
    const group = /^\/dev\/vfio\/(\d+)$/.exec(logical)?.[1];
    if (group === undefined || !this.#machine.chownNode(Number(group), { uid, gid })) {
      return failed("chown", logical, "ENOENT");
    }
    return { kind: "done", text: "" };
  }

  async limitMemlock(pid: number, { softBytes }: { readonly softBytes: number }): Promise<KernelIoResult> {
    const path = `/proc/${pid}/limits`;
    const wanted = this.#intercepted(path, String(softBytes));
    if (wanted === "stuck") {
      return this.#stuck("write", path);
    }
    if (wanted !== undefined) {
      return wanted;
    }
    return this.#proc.limitMemlock(pid, softBytes)
      ? { kind: "done", text: "" }
      : failed("write", path, "ENOENT");
  }

  /** Ends every wait as if its deadline had come. */
  close(): void {
    for (const cutOff of this.#cutOff) {
      cutOff();
    }
    this.#timers.clear();
  }

  #intercepted(path: string, text: string): ReturnType<WriteIntercept> {
    for (const intercept of [...this.#intercepts].reverse()) {
      const wanted = intercept(path, text);
      if (wanted !== undefined) {
        return wanted;
      }
    }
    return undefined;
  }

  #answer(path: string, text: string): KernelAnswer {
    for (const [pattern, handler] of this.#handlers()) {
      const match = pattern.exec(path);
      if (match !== null) {
        return handler(match, text);
      }
    }
    if (!this.#tree.has(path)) {
      return refused("ENOENT");
    }
    this.#tree.write(path, text);
    return DONE;
  }

  #handlers(): readonly (readonly [RegExp, Handler])[] {
    const { drivers } = this.#machine;
    return [
      [/\/([^/]+)\/driver_override$/, ([, name], text) => this.#override(name, text)],
      [/\/([^/]+)\/driver\/unbind$/, ([, name], text) => this.#unbindByLink(name, text)],
      [/\/drivers\/([^/]+)\/unbind$/, ([, driver], text) => this.#unbind(driver ?? "", text)],
      [/\/drivers\/([^/]+)\/bind$/, ([, driver], text) => this.#bind(driver ?? "", text)],
      [/\/drivers\/([^/]+)\/new_id$/, ([, driver], text) => drivers.newId(driver ?? "", text.trim())],
      [/\/drivers\/([^/]+)\/remove_id$/, ([, driver], text) => drivers.removeId(driver ?? "", text.trim())],
      [/\/bus\/pci\/drivers_probe$/, (_match, text) => this.#probe(text)],
      [/\/bus\/pci\/rescan$/, () => ({ kind: "waits", released: this.#rescan() })],
      [/\/([^/]+)\/remove$/, ([, name]) => this.#removeByFile(name)],
    ];
  }

  #override(name: string | undefined, text: string): KernelAnswer {
    const state = this.#stateAt(name);
    if (state === undefined) {
      return refused("ENOENT");
    }
    if (this.#machine.isLeaving(state.address)) {
      const released = this.#machine.whenLeft(state.address).then(() => {
        this.#machine.drivers.setOverride(state, text);
      });
      return { kind: "waits", released };
    }
    return this.#machine.drivers.setOverride(state, text);
  }

  #unbindByLink(name: string | undefined, text: string): KernelAnswer {
    const state = this.#stateAt(name);
    const hasLink = state?.driver != null && !this.#machine.isLeaving(state.address);
    return hasLink ? this.#unbind(state.driver ?? "", text) : refused("ENOENT");
  }

  #unbind(driver: string, text: string): KernelAnswer {
    if (!this.#machine.drivers.hasDriver(driver)) {
      return refused("ENOENT");
    }
    const state = this.#stateAt(line(text));
    return state?.driver === driver ? this.#machine.release(state) : refused("ENODEV");
  }

  #bind(driver: string, text: string): KernelAnswer {
    if (!this.#machine.drivers.hasDriver(driver)) {
      return refused("ENOENT");
    }
    return this.#machine.drivers.bind(driver, this.#stateAt(line(text)));
  }

  #probe(text: string): KernelAnswer {
    const state = this.#stateAt(line(text));
    if (state === undefined) {
      return refused("ENODEV");
    }
    this.#machine.drivers.probe(state);
    return DONE;
  }

  #removeByFile(name: string | undefined): KernelAnswer {
    const state = this.#stateAt(name);
    return state === undefined ? refused("ENOENT") : { kind: "waits", released: this.#remove(state.address) };
  }

  /** Only the full, canonical name finds a device, as in the kernel. */
  #stateAt(name: string | undefined): DriverState | undefined {
    return this.#machine.drivers.get((name ?? "") as PciAddress);
  }

  /** Whether it came to pass before the deadline. */
  async #within(event: Promise<unknown>, deadlineMs: number): Promise<boolean> {
    let cutOff = (): void => {};
    const late = new Promise<boolean>((resolve) => {
      cutOff = () => resolve(false);
    });
    this.#cutOff.add(cutOff);
    const timer = this.#timers.after(deadlineMs, cutOff);
    try {
      return await Promise.race([event.then(() => true), late]);
    } finally {
      timer.cancel();
      this.#cutOff.delete(cutOff);
    }
  }

  #stuck(verb: string, path: string): KernelIoResult {
    return {
      kind: "stuck",
      pid: this.#proc.nextPid(),
      detail: `${verb} ${path}: no answer within the deadline`,
    };
  }
}

/** Names are compared as sysfs_streq does: one newline at the end does not count. */
function line(text: string): string {
  return text.endsWith("\n") ? text.slice(0, -1) : text;
}

function failed(verb: string, path: string, errno: Errno): KernelIoResult {
  return { kind: "failed", detail: `${verb} ${path}: ${errno}: ${strerror(errno)}` };
}
