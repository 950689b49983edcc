/** A real QEMU for the tests of the wire: no display, no guest, a QMP socket in a folder of its own. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connectQmp, QmpConnectError } from "../../src/qmp/index.js";
import { stopProcess } from "./stopping.js";

export interface QemuProcess extends AsyncDisposable {
  readonly path: string;
  readonly process: ChildProcess;
  kill(signal: NodeJS.Signals): void;
  /** Stops it, and resolves once it has stopped. */
  stop(): Promise<void>;
}

const MACHINE = ["-M", "q35", "-accel", "tcg", "-S", "-m", "64", "-display", "none", "-nodefaults"];
const START_DEADLINE_MS = 30_000;

/** Starts QEMU and resolves once it has greeted. `monitor` is what follows the path in -qmp. */
export async function startQemu(extraArgs: readonly string[] = []): Promise<QemuProcess> {
  const folder = await mkdtemp(join(tmpdir(), "pciplug-qemu-"));
  const path = join(folder, "qmp.sock");
  const args = [...MACHINE, "-name", "wire-test", "-qmp", `unix:${path},server=on,wait=off`, ...extraArgs];
  const child = spawn("qemu-system-x86_64", args, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const exited = once(child, "exit");
  await greeted(path, child, () => said);
  return {
    path,
    process: child,
    kill: (signal) => void child.kill(signal),
    stop: () => stopProcess(child.pid),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function greeted(path: string, child: ChildProcess, said: () => string): Promise<void> {
  const deadline = performance.now() + START_DEADLINE_MS;
  for (;;) {
    try {
      const client = await connectQmp({ path });
      await client.close();
      return;
    } catch (error) {
      const isStarting =
        error instanceof QmpConnectError && ["qmp.absent", "qmp.refused"].includes(error.code);
      if (!isStarting || child.exitCode !== null || performance.now() > deadline) {
        child.kill("SIGKILL");
        throw new Error(`QEMU did not come up: ${said()}`, { cause: error });
      }
      await delay(20);
    }
  }
}
