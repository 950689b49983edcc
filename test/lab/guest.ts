/**
 * The guest of the inner QEMUs, booted once and kept in the cache. A Linux boot takes minutes in an emulated CPU inside
 * an emulated CPU, so the guest is booted out here, where it takes seconds, and its state is saved by QEMU's own
 * migration; in L1 the same QEMU takes it up and the guest runs on. It is a real, running guest in every respect.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { progress } from "./command.js";
import { guestReady } from "./guest-init.js";
import type { QemuBuild } from "./qemu-build.js";
import { QmpLink } from "./qmp.js";
import { type GuestImage, guestArguments, type Hotplug, machineArguments } from "./vm-arguments.js";

const bootDeadlineMs = 180_000;
const saveDeadlineMs = 60_000;

/** A guest that can be taken up by an inner QEMU. */
export interface Guest {
  readonly image: GuestImage;
  readonly hotplug: Hotplug;
  /** File with the migration stream. */
  readonly state: string;
}

/** Gives the saved guest, booting it first when the cache has none for this kernel, QEMU and machine. */
export async function provideGuest(
  image: GuestImage,
  hotplug: Hotplug,
  qemu: QemuBuild,
  cache: string,
): Promise<Guest> {
  const release = basename(image.kernel).replace(/^vmlinuz-|\.elf$/g, "");
  const digest = createHash("sha256")
    .update(JSON.stringify([image, qemu, machineArguments(hotplug), guestArguments(image, "", "")]))
    .digest("hex")
    .slice(0, 12);
  const state = join(cache, "guests", `${hotplug}-${qemu.version}-${release}-${digest}.state`);
  if (!existsSync(state)) {
    progress("booting the guest of the inner machines once");
    mkdirSync(join(cache, "guests"), { recursive: true });
    await save(image, hotplug, qemu, state);
  }
  return { image, hotplug, state };
}

async function save(image: GuestImage, hotplug: Hotplug, qemu: QemuBuild, state: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "pciplug-guest-"));
  const console = join(folder, "console.log");
  const [program = "", ...rest] = qemu.command;
  const args = [
    ...rest,
    ...machineArguments(hotplug),
    ...guestArguments(image, console, join(folder, "shell")),
  ];
  const child = spawn(program, [...args, "-qmp", `unix:${folder}/qmp,server=on,wait=off`], {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, ...qemu.env },
  });
  try {
    await poll(child, bootDeadlineMs, "the guest's shell", () => {
      return existsSync(console) && readFileSync(console, "utf8").includes(guestReady);
    });
    await migrate(join(folder, "qmp"), `${state}.part`);
    renameSync(`${state}.part`, state);
    forgetOlder(state);
  } finally {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Removes the states that this one takes the place of: the same QEMU and machine, other contents. */
function forgetOlder(state: string): void {
  const folder = dirname(state);
  const prefix = basename(state).replace(/[0-9a-f]+\.state$/, "");
  for (const name of readdirSync(folder)) {
    if (name.startsWith(prefix) && name !== basename(state)) rmSync(join(folder, name));
  }
}

async function migrate(socket: string, path: string): Promise<void> {
  const link = await QmpLink.open(socket, saveDeadlineMs);
  try {
    const execute = (name: string, args = {}) =>
      link.execute({ execute: name, arguments: args }, saveDeadlineMs);
    await execute("migrate-set-parameters", { "max-bandwidth": 4 * 1024 ** 3 });
    await execute("migrate", { uri: `exec:cat > '${path}'` });
    for (
      const startedMs = performance.now();
      performance.now() - startedMs < saveDeadlineMs;
      await delay(100)
    ) {
      const { status } = (await execute("query-migrate")) as { status?: string };
      if (status === "completed") return;
      if (status === "failed") break;
    }
    throw new Error("cannot save the state of the guest");
  } finally {
    link.close();
  }
}

async function poll(
  child: ChildProcess,
  deadlineMs: number,
  what: string,
  isMet: () => boolean,
): Promise<void> {
  for (const startedMs = performance.now(); performance.now() - startedMs < deadlineMs; await delay(100)) {
    if (isMet()) return;
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`QEMU ended before ${what} came up`);
  }
  throw new Error(`${what} did not come up within ${deadlineMs} ms`);
}
