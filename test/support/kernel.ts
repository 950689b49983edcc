/**
 * A kernel for the small sysfs of sysfs.ts: driver_override, unbind, bind and drivers_probe with the outcomes that
 * facts.md 9 has. Any one write can be made to fail, to hang, or to be swallowed.
 */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { lchown } from "node:fs/promises";
import { join, relative } from "node:path";
import { isVfioDriver } from "../../src/core/device.js";
import type { HostContext, HostWrite } from "../../src/host/host-write.js";
import type { KernelIo, KernelIoResult } from "../../src/host/kernel-io.js";
import type { Sysfs } from "./sysfs.js";

export type Fault = "failed" | "stuck" | "swallowed";

export class FakeKernel implements KernelIo {
  readonly sysfs: Sysfs;
  /** The driver that would take a function by itself. */
  readonly native = new Map<string, string>();
  readonly groupOf = new Map<string, number>();
  readonly writes: HostWrite[] = [];
  readonly announced: HostWrite[] = [];
  /** Which write (from 0) goes wrong, and how. */
  fault: { readonly at: number; readonly how: Fault } | null = null;
  /** Drivers that refuse every function. */
  readonly unwilling = new Set<string>();

  constructor(sysfs: Sysfs) {
    this.sysfs = sysfs;
  }

  /** The hands of the host room, on this kernel. */
  context(facts: Partial<HostContext> = {}): HostContext {
    return {
      root: this.sysfs.root,
      io: this,
      announce: async (write) => {
        this.announced.push(write);
      },
      loadModule: async () => ({ kind: "failed", detail: "no such module" }),
      deadlineMs: 1_000,
      settleMs: 30,
      ...facts,
    };
  }

  override(address: string): string {
    return readFileSync(
      join(this.sysfs.root.device(this.sysfs.address(address)), "driver_override"),
      "latin1",
    ).trim();
  }

  async read(path: string): Promise<KernelIoResult> {
    return { kind: "done", text: readFileSync(path, "latin1") };
  }

  async write(path: string, text: string): Promise<KernelIoResult> {
    const write = { path: relative(this.sysfs.dir, path), text };
    const fault = this.fault?.at === this.writes.length ? this.fault.how : null;
    this.writes.push(write);
    switch (fault) {
      case "failed":
        return { kind: "failed", detail: "Input/output error" };
      case "stuck":
        return { kind: "stuck", pid: 4711, detail: "no answer" };
      case "swallowed":
        return { kind: "done", text: "" };
      case null:
        return existsSync(path)
          ? this.#store(write.path, text)
          : { kind: "failed", detail: "No such file or directory" };
    }
  }

  async chown(path: string, uid: number, gid: number): Promise<KernelIoResult> {
    try {
      await lchown(path, uid, gid);
      return { kind: "done", text: "" };
    } catch (error) {
      return { kind: "failed", detail: String(error) };
    }
  }

  async limitMemlock(): Promise<KernelIoResult> {
    return { kind: "failed", detail: "this kernel knows no processes" };
  }

  #store(path: string, text: string): KernelIoResult {
    const value = text.trim();
    const file =
      /^sys\/bus\/pci\/(?:devices\/([^/]+)\/driver_override|drivers\/([^/]+)\/(bind|unbind)|drivers_probe)$/;
    const [, address, driver = "", action] = file.exec(path) ?? [];
    if (address !== undefined) {
      this.sysfs.file(path, `${value === "" ? "(null)" : value}\n`);
      return done;
    }
    if (action === "unbind") {
      return this.sysfs.driverOf(value) === driver ? this.#leave(value, driver) : noDevice;
    }
    if (action === "bind") {
      return this.#isMatch(value, driver) ? this.#take(value, driver) : noDevice;
    }
    const wanted = this.override(value) === "(null)" ? (this.native.get(value) ?? "") : this.override(value);
    if (this.sysfs.driverOf(value) === null && wanted !== "") {
      this.#take(value, wanted);
    }
    // The probe says success whatever happened.
    return done;
  }

  #isMatch(address: string, driver: string): boolean {
    const override = this.override(address);
    return override === "(null)" ? this.native.get(address) === driver : override === driver;
  }

  #take(address: string, driver: string): KernelIoResult {
    if (!existsSync(this.sysfs.root.driver(driver)) || this.unwilling.has(driver)) {
      return noDevice;
    }
    this.sysfs.bind(address, driver);
    if (isVfioDriver(driver)) {
      this.sysfs.file(`dev/vfio/${this.groupOf.get(address) ?? 1}`, "");
    }
    return done;
  }

  #leave(address: string, driver: string): KernelIoResult {
    this.sysfs.bind(address, null);
    if (isVfioDriver(driver)) {
      rmSync(join(this.sysfs.dir, "dev/vfio", String(this.groupOf.get(address) ?? 1)), { force: true });
    }
    return done;
  }
}

const done: KernelIoResult = { kind: "done", text: "" };
const noDevice: KernelIoResult = { kind: "failed", detail: "No such device" };
