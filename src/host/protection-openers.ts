/** Block devices that a process has open by themselves: the disk of a VM, a database, a tool at work on one. */
import { readlinkSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { readTextIfAny } from "./device-facts.js";
import type { BlockDevices } from "./protection-blocks.js";
import type { ProtectionNotes } from "./protection-notes.js";
import type { HostRoot } from "./root.js";
import { namesIn } from "./sysfs-tree.js";

/** Between two turns of the event loop. */
const SLICE = 16;
/** udev looks into every disk when it appears; that is no use of it, and over in a moment. */
const UDEV = /^(systemd-udevd|\(?udev-worker\)?|udevd|eudevd)$/;

/** Notes every block device that a process has open. Resolves when all processes have been looked at. */
export async function gatherOpeners(
  root: HostRoot,
  notes: ProtectionNotes,
  blocks: BlockDevices,
): Promise<void> {
  const shown = new Set(namesIn(root.blockDevices()));
  const pids = namesIn(root.processes()).filter((name) => /^\d+$/.test(name));
  let unread = 0;
  for (const [at, pid] of pids.map(Number).entries()) {
    if (at % SLICE === SLICE - 1) {
      await setImmediate();
    }
    try {
      for (const name of openedBy(root, pid, shown)) {
        noteOpener(root, pid, notes, blocks.byName(name));
      }
    } catch {
      unread += 1;
    }
  }
  if (unread > 0) {
    const what = unread === 1 ? "one process" : `${unread} processes`;
    notes.cannotTell("storage", `the open files of ${what} cannot be read, so any disk may be in use`, true);
  }
}

/** Names of the block devices among the open files of a process. @throws when they cannot be listed. */
function openedBy(root: HostRoot, pid: number, shown: ReadonlySet<string>): ReadonlySet<string> {
  const names = new Set<string>();
  const folder = root.proc(pid, "fd");
  for (const fd of namesIn(folder)) {
    // Tens of thousands on a busy host: their names, the kernel's own numbers, are not checked again.
    const target = linkOf(`${folder}/${fd}`);
    // In sysfs `!` stands for a slash.
    const name = target.startsWith("/dev/") ? target.slice("/dev/".length).replaceAll("/", "!") : "";
    if (shown.has(name)) {
      names.add(name);
    }
  }
  return names;
}

function noteOpener(root: HostRoot, pid: number, notes: ProtectionNotes, id: string): void {
  const command = readTextIfAny(root.proc(pid, "comm")) ?? "";
  if (!UDEV.test(command)) {
    notes.use(id, `what ${command || "a process"} (${pid}) has open`);
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    // Closed meanwhile.
    return "";
  }
}
