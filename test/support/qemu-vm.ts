/** A real QEMU of any machine type on a socket path of the test's choice: it can be killed and started again there. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connectQmp, type QmpClient, QmpConnectError } from "../../src/qmp/index.js";
import { stopProcess } from "./stopping.js";

export interface QemuVmOptions {
  /** `qemu-system-x86_64` by default. */
  readonly binary?: string;
  /** As after -M; `q35` by default. */
  readonly machine?: string;
  /** Further arguments, split at spaces. */
  readonly args?: string;
  /** More of them, each as it is. */
  readonly more?: readonly string[];
  readonly path?: string;
}

const START_DEADLINE_MS = 30_000;

export class QemuVm implements AsyncDisposable {
  readonly path: string;
  readonly argv: readonly string[];
  readonly #binary: string;
  readonly #folder: string | undefined;
  #child: ChildProcess | undefined;
  #said = "";

  constructor(options: QemuVmOptions = {}) {
    this.#folder = options.path === undefined ? mkdtempSync(join(tmpdir(), "pciplug-vm-")) : undefined;
    this.path = options.path ?? join(this.#folder ?? "", "qmp.sock");
    const { binary = "qemu-system-x86_64", machine = "q35", args = "", more = [] } = options;
    this.#binary = binary;
    this.argv = [
      ...["-M", machine, "-accel", "tcg", "-S", "-m", "64", "-display", "none", "-nodefaults"],
      ...args.split(/\s+/).filter((arg) => arg !== ""),
      ...more,
    ];
  }

  /** Starts the process; `greeted` or `connect` tells when it is up. */
  start(): void {
    this.#said = "";
    const child = spawn(this.#binary, [...this.argv, "-qmp", `unix:${this.path},server=on,wait=off`], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#said += text;
    });
    this.#child = child;
  }

  /** Connects as soon as QEMU listens. */
  async connect(options: Partial<Parameters<typeof connectQmp>[0]> = {}): Promise<QmpClient> {
    const deadline = performance.now() + START_DEADLINE_MS;
    for (;;) {
      try {
        return await connectQmp({ path: this.path, ...options });
      } catch (error) {
        const isStarting =
          error instanceof QmpConnectError && ["qmp.absent", "qmp.refused"].includes(error.code);
        if (!isStarting || this.#child?.exitCode !== null || performance.now() > deadline) {
          throw new Error(`QEMU did not come up: ${this.#said}`, { cause: error });
        }
        await delay(20);
      }
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Stops it, and resolves once it has stopped. */
  async stop(): Promise<void> {
    await stopProcess(this.#child?.pid);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    if (this.#folder !== undefined) {
      rmSync(this.#folder, { recursive: true, force: true });
    }
  }
}

/** Starts a VM and connects to it. */
export async function startVm(
  options: QemuVmOptions = {},
  connect: Partial<Parameters<typeof connectQmp>[0]> = {},
): Promise<{ vm: QemuVm; client: QmpClient } & AsyncDisposable> {
  const vm = new QemuVm(options);
  vm.start();
  const dispose = async (): Promise<void> => {
    await vm[Symbol.asyncDispose]();
  };
  try {
    const client = await vm.connect(connect);
    return { vm, client, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}
