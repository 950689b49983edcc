/**
 * A real QEMU with a real Linux guest: Debian's kernel and busybox, from the lab's cache. Its shell is on the serial
 * console: what the guest sees is asked there, of the guest itself.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { QmpClient } from "../../src/qmp/index.js";
import { installTools } from "../lab/debian.js";
import { provideInitrd } from "../lab/initrd.js";
import { provideKernel } from "../lab/kernel.js";
import { cacheFolder } from "../lab/paths.js";
import { provideVmlinux } from "../lab/vmlinux.js";
import { QemuVm } from "./qemu-vm.js";

const READY = "guest is ready";
const BOOT_DEADLINE_MS = 90_000;
const ANSWER_DEADLINE_MS = 30_000;

/** One serial port is all that a microvm has, so console and shell share it: the kernel is told to be quiet. */
const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module"; done < /modules.order
stty -F /dev/ttyS0 raw -echo
exec < /dev/ttyS0 > /dev/ttyS0 2>&1
echo "${READY}"
while read -r line; do
  echo "<begin>"; eval "$line"; echo "<end $?>"
done
`;

export interface GuestImage {
  readonly kernel: string;
  readonly initrd: string;
}

/** Kernel and ram disk; fetched and built where the cache has none, which may take minutes. */
export function provideGuestImage(): GuestImage {
  installTools();
  const cache = cacheFolder(process.env);
  const kernel = provideKernel(undefined, cache);
  const plan = { name: "console", kernel, modules: ["e1000e"], init: INIT };
  return { kernel: provideVmlinux(kernel), initrd: provideInitrd(plan, cache) };
}

export interface GuestOptions {
  readonly image: GuestImage;
  readonly machine: string;
  /** Further arguments, split at spaces. */
  readonly args: string;
  /** More words for the kernel's command line. */
  readonly append?: string;
}

/** A VM whose guest has not run yet: `boot` starts it. */
export class GuestVm implements AsyncDisposable {
  readonly client: QmpClient;
  readonly #vm: QemuVm;
  readonly #folder: string;
  readonly #serial: Socket;
  #heard = "";

  private constructor(client: QmpClient, vm: QemuVm, folder: string, serial: Socket) {
    this.client = client;
    this.#vm = vm;
    this.#folder = folder;
    this.#serial = serial;
    serial.setEncoding("latin1").on("data", (text: string) => {
      this.#heard += text;
    });
  }

  static async open({ image, machine, args, append = "" }: GuestOptions): Promise<GuestVm> {
    const folder = mkdtempSync(join(tmpdir(), "pciplug-guest-"));
    const path = join(folder, "serial.sock");
    const line = `console=ttyS0 quiet loglevel=0 panic=0 nokaslr mitigations=off cryptomgr.notests no_timer_check tsc=reliable ${append}`;
    const more = [
      ...["-m", "256", "-cpu", "max", "-kernel", image.kernel, "-initrd", image.initrd, "-append", line],
      ...["-chardev", `socket,id=ser,path=${path},server=on,wait=off`, "-serial", "chardev:ser"],
    ];
    const vm = new QemuVm({ machine, args, more, path: join(folder, "qmp.sock") });
    vm.start();
    const client = await vm.connect();
    const serial = connect(path);
    await once(serial, "connect");
    return new GuestVm(client, vm, folder, serial);
  }

  /** Lets it run, and waits for its shell. */
  async boot(): Promise<void> {
    const isUp = this.booted();
    await this.client.execute("cont");
    await isUp;
  }

  /** Waits for the shell of a guest that boots from now on. */
  async booted(): Promise<void> {
    this.#heard = "";
    await this.#until((heard) => heard.includes(READY), BOOT_DEADLINE_MS, "the guest's shell");
  }

  /** Has the guest's shell run one line, and gives what that says. */
  async ask(line: string): Promise<string> {
    this.tell(line);
    const whole = /<begin>\r?\n([\s\S]*?)<end \d+>/;
    await this.#until((heard) => whole.test(heard), ANSWER_DEADLINE_MS, `an answer to ${line}`);
    return (whole.exec(this.#heard)?.[1] ?? "").replaceAll("\r", "").trim();
  }

  /** Gives a line to the guest's shell that gives no answer. */
  tell(line: string): void {
    this.#heard = "";
    this.#serial.write(`${line}\n`);
  }

  /** What the guest lists: `vendor:device` of each PCI function. */
  async lspci(): Promise<readonly string[]> {
    const text = await this.ask(
      "for d in /sys/bus/pci/devices/*; do read v < $d/vendor; read i < $d/device; echo $v:$i; done",
    );
    return text.replaceAll("0x", "").split("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#serial.destroy();
    await this.client.close();
    await this.#vm[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #until(isMet: (heard: string) => boolean, deadlineMs: number, what: string): Promise<void> {
    for (const startedMs = performance.now(); !isMet(this.#heard); await delay(20)) {
      if (performance.now() - startedMs > deadlineMs) {
        throw new Error(`${what} did not come; heard: ${this.#heard.slice(-400)}`);
      }
    }
  }
}
