/**
 * The L1 machine: the host under test, an outer QEMU with an emulated IOMMU and root ports into which cards are
 * plugged through its own QMP socket. Owns the QEMU process and its run folder; `stop` ends both.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { appendFileSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Channel } from "./channel.js";
import { provideInitrd } from "./initrd.js";
import type { Kernel } from "./kernel.js";
import { l1BootModules, l1Init, rootTag } from "./l1-init.js";
import { insideProgram, repository } from "./paths.js";
import { portName } from "./protocol.js";
import { installedModules, type QemuBuild } from "./qemu-build.js";
import { QmpLink } from "./qmp.js";

const bootDeadlineMs = 120_000;
const portCount = 8;

export interface MachinePlan {
  readonly kernel: Kernel;
  readonly qemu: QemuBuild;
  readonly cache: string;
}

/** Thrown by whatever waited when the outer QEMU died by SIGABRT: a known fault of QEMU 7.2, not of the story (facts.md 12). */
export class OuterQemuAborted extends Error {}

/** A running L1 machine. */
export class Machine {
  readonly folder: string;
  readonly channel: Channel;
  readonly #process: ChildProcess;
  #qmp: QmpLink | undefined;
  #abort: OuterQemuAborted | undefined;

  private constructor(folder: string, channel: Channel, child: ChildProcess) {
    this.folder = folder;
    this.channel = channel;
    this.#process = child;
    child.on("exit", (code, signal) => {
      const what = `the L1 machine's QEMU ended (${signal ?? `exit ${code}`})`;
      if (signal === "SIGABRT") this.#abort = new OuterQemuAborted(what);
      channel.end(this.#abort ?? new Error(what));
    });
  }

  /** Boots a machine. Its console, QMP traffic and channel traffic are in `folder`. */
  static async boot(plan: MachinePlan): Promise<Machine> {
    // Unix socket paths are short: the folder must not lie deep.
    const folder = mkdtempSync(join(tmpdir(), "pciplug-lab-"));
    const channel = await Channel.listen(join(folder, "channel"), join(folder, "channel.log"));
    const errors = openSync(join(folder, "outer-qemu.stderr"), "a");
    const [program = "", ...rest] = [...plan.qemu.command, ...machineArguments(plan, folder)];
    const child = spawn(program, rest, {
      stdio: ["ignore", errors, errors],
      env: { ...process.env, ...plan.qemu.env },
    });
    const machine = new Machine(folder, channel, child);
    try {
      await machine.#connect();
      await channel.hello(bootDeadlineMs);
      return machine;
    } catch (error) {
      const abort = await machine.abort();
      await machine.stop();
      if (abort === undefined)
        throw new Error(`cannot boot L1: ${String(error)}; see ${folder}`, { cause: error });
      machine.forget();
      throw abort;
    }
  }

  /** The outer QEMU's monitor. */
  get qmp(): QmpLink {
    if (this.#qmp === undefined) throw new Error("the outer monitor is not connected yet");
    return this.#qmp;
  }

  /** The path of the unix socket behind L1's second serial port, where a shell can be put. */
  get shellSocket(): string {
    return join(this.folder, "shell");
  }

  /** The reason why QEMU aborted, if it did; waits a moment, because errors reach us before the exit code. */
  async abort(): Promise<OuterQemuAborted | undefined> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) await delay(500);
    return this.#abort;
  }

  /** Kills QEMU. The run folder stays until `forget`. */
  async stop(): Promise<void> {
    this.#qmp?.close();
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = new Promise((resolve) => this.#process.once("exit", resolve));
      this.#process.kill("SIGKILL");
      await ended;
    }
    this.channel.end(new Error("the machine was stopped"));
  }

  /** Removes the run folder. */
  forget(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #connect(): Promise<void> {
    const log = join(this.folder, "outer-qmp.log");
    const tap = (side: string, line: string) =>
      appendFileSync(log, `${new Date().toISOString()} ${side} ${line}\n`);
    for (let attempt = 1; ; attempt++) {
      try {
        this.#qmp = await QmpLink.open(join(this.folder, "qmp"), 20_000, tap);
        return;
      } catch (error) {
        if (attempt === 100 || this.#process.exitCode !== null || this.#process.signalCode !== null)
          throw error;
        await delay(100);
      }
    }
  }
}

function machineArguments(plan: MachinePlan, folder: string): string[] {
  const init = l1Init({
    kernelRoot: plan.kernel.root,
    node: process.execPath,
    inside: insideProgram,
    needed: [repository, plan.cache],
    dist: join(repository, "dist"),
    // A QEMU that finds the modules of another build aborts as soon as someone asks it for all its types.
    replaced: plan.qemu.modules === undefined ? [] : [[plan.qemu.modules, installedModules]],
    portName,
  });
  const initrd = provideInitrd({ name: "l1", kernel: plan.kernel, modules: l1BootModules, init }, plan.cache);
  const ports = Array.from({ length: portCount }, (_, index) => index + 1);
  return [
    ["-name", "pciplug-lab-l1", "-nodefaults", "-display", "none", "-no-reboot"],
    [
      "-M",
      "q35,kernel-irqchip=split",
      "-accel",
      "tcg,thread=multi",
      "-cpu",
      "max",
      "-smp",
      "2",
      "-m",
      "4096",
    ],
    ["-device", "intel-iommu,intremap=on,caching-mode=on,device-iotlb=on"],
    ["-qmp", `unix:${folder}/qmp,server=on,wait=off`],
    ["-serial", `file:${folder}/console.log`],
    ["-serial", `unix:${folder}/shell,server=on,wait=off`],
    ["-kernel", plan.kernel.image, "-initrd", initrd],
    ["-append", "console=ttyS0 loglevel=5 intel_iommu=on iommu=pt panic=-1 nokaslr mitigations=off"],
    ["-virtfs", `local,path=/,mount_tag=${rootTag},security_model=none,readonly=on,multidevs=remap`],
    ["-device", "virtio-serial-pci", "-chardev", `socket,id=lab,path=${folder}/channel`],
    ["-device", `virtserialport,chardev=lab,name=${portName}`],
    ...ports.map((n) => [
      "-device",
      `pcie-root-port,id=rp${n},bus=pcie.0,addr=${(0x10 + n).toString(16)},chassis=${n},slot=${n}`,
    ]),
  ].flat();
}
