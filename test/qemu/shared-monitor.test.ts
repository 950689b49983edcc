/**
 * A real QEMU whose only monitor pciplug shares: another client is always served, whatever pciplug does there meanwhile.
 *
 * The other client speaks as microvm.nix's shutdown script does: socat writes its commands without waiting for a
 * greeting. An emulated NIC stands in for a card: the lab has real ones.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Signal } from "../../src/core/signal.js";
import type { VmStatus } from "../../src/core/vm.js";
import { findSocketOwner, isListening, isRunning } from "../../src/host/process.js";
import { hostRoot } from "../../src/host/root.js";
import { requestUnplug } from "../../src/qemu/detach.js";
import { SharedLine } from "../../src/qemu/shared-line.js";
import { QemuVm } from "../support/qemu-vm.js";
import { waitFor } from "../support/waiting.js";

const NATIVE = "-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off";
const PORTS = "-device pcie-root-port,id=rp0,chassis=1";
const NIC = { driver: "e1000e", id: "nic", bus: "rp0", addr: "0" } as const;
const TIMES = 50;
/** Ten times the aim of a second (semantics.md 11). */
const HANG_MS = 10_000;

let folder: string;
let vm: QemuVm;
let line: SharedLine;
let stop: AbortController;
let kept: Promise<void>;
const signals: Signal[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "pciplug-shared-"));
  vm = new QemuVm({ args: `${NATIVE} ${PORTS}`, path: join(folder, "qmp.sock") });
  vm.start();
  const root = hostRoot("/");
  line = new SharedLine({
    name: "a",
    path: vm.path,
    monitor: "shared",
    findProcess: (path) => findSocketOwner(root, path),
    isRunning: (process) => isRunning(root, process),
    isListening: (process, path) => isListening(root, process, path),
    now: () => performance.now(),
    timing: { greetingMs: 1_000 },
  });
  signals.length = 0;
  stop = new AbortController();
  kept = line.keep((signal) => signals.push(signal), stop.signal);
});

afterEach(async () => {
  stop.abort();
  await kept;
  await vm[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const statuses = (): string[] =>
  signals.flatMap((signal) =>
    signal.kind === "vm-seen"
      ? [signal.status.kind === "unreachable" ? signal.status.code : signal.status.kind]
      : [],
  );

async function untilLast(status: string): Promise<void> {
  await waitFor(
    status,
    () => statuses().at(-1) === status,
    () => statuses().join(),
  );
}

/** Seen with its process: an answer before that is followed by another visit. */
async function untilWhollySeen(): Promise<void> {
  const last = () => signals.findLast((signal) => signal.kind === "vm-seen")?.status;
  const isWhole = (status: VmStatus | undefined) => status?.kind === "up" && status.view.process !== null;
  await waitFor(
    "the VM, seen with its process",
    () => isWhole(last()),
    () => JSON.stringify(last()),
  );
}

/** `{ ... } | socat - UNIX:...`: both commands at once, and it stays until QEMU has answered both. */
async function shutDownAsMicrovmDoes(): Promise<{ ms: number; answers: number }> {
  const beganMs = performance.now();
  const socat = spawn("socat", ["-", `UNIX:${vm.path}`], { stdio: ["pipe", "pipe", "pipe"] });
  let said = "";
  let complaints = "";
  socat.stdout.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  socat.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaints += text;
  });
  socat.stdin.write('{"execute":"qmp_capabilities"}\n{"execute":"system_powerdown"}\n');
  const answers = (): number => said.split('{"return": {}}').length - 1;
  await waitFor(
    "the answers to socat",
    () => answers() === 2 || socat.exitCode !== null || performance.now() - beganMs > HANG_MS,
    () => `${said} ${complaints}`,
  );
  const ms = performance.now() - beganMs;
  await ended(socat);
  return { ms, answers: answers() };
}

async function ended(child: ChildProcess): Promise<void> {
  const exit = new Promise((resolve) => child.once("exit", resolve));
  if (child.exitCode === null) {
    child.stdin?.end();
    await exit;
  }
}

/** Plugs and unplugs, visit after visit, with looks between, until told to end; counts the rounds. */
async function plugAndUnplug(isOver: () => boolean): Promise<number> {
  let rounds = 0;
  while (!isOver()) {
    await line.borrow(
      (client) => client.execute("device_add", NIC),
      () => undefined,
    );
    await line.look();
    const gone = await line.borrow(
      (client) => requestUnplug(client, "nic", { waitMs: 0 }),
      () => undefined,
    );
    await line.look();
    rounds += gone?.kind === "done" ? 1 : 0;
    await delay(1);
  }
  return rounds;
}

describe("the other client of a shared monitor", () => {
  it("is served every time of 50, during plugs and unplugs", async () => {
    await untilLast("up");
    let isOver = false;
    const plugging = plugAndUnplug(() => isOver);
    const served: { ms: number; answers: number }[] = [];
    for (let times = 0; times < TIMES; times += 1) {
      served.push(await shutDownAsMicrovmDoes());
    }
    isOver = true;
    const rounds = await plugging;
    const times = served.map(({ ms }) => Math.round(ms)).sort((a, b) => a - b);
    process.stdout.write(
      `socat was served ${served.length} times beside ${rounds} plugs and unplugs: median ${times[TIMES / 2]} ms, longest ${times.at(-1)} ms (aim: 1000 ms)\n`,
    );
    expect(served.map(({ answers }) => answers)).toEqual(Array.from({ length: TIMES }, () => 2));
    expect(Math.max(...times)).toBeLessThan(HANG_MS);
    expect(rounds).toBeGreaterThan(10);
  });

  it("is named as the reason while it stays, keeps a place free for a third one, and is followed at once", async () => {
    await untilLast("up");
    const holder = await vm.connect();
    expect(await line.look()).toMatchObject({ kind: "unreachable", code: "qmp.busy" });
    expect(await line.look()).toMatchObject({ reason: "busy: another client has the monitor" });
    const third = vm.connect({ greetingTimeoutMs: HANG_MS });
    await delay(200);
    await holder.close();
    await (await third).close();
    await untilLast("up");
  });

  it("is not blamed for a QEMU that is stopped", async () => {
    await untilLast("up");
    await vm.stop();
    expect(await line.look()).toMatchObject({ kind: "unreachable", code: "qmp.busy-or-silent" });
    vm.signal("SIGCONT");
    await untilLast("up");
  });
});

describe("a QEMU at rest whose monitor is shared", () => {
  it("is visited by nobody, and its death is noticed all the same", async () => {
    await untilWhollySeen();
    const told = signals.length;
    await delay(500);
    expect(signals).toHaveLength(told);
    await vm.kill();
    await untilLast("absent");
    vm.start();
    await untilLast("up");
  });
});
