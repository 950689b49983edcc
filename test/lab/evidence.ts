/**
 * What is kept of a story that failed: the L1 console, the kernel's log and uevents, the agent's files, the QMP
 * traffic of both QEMUs, and the story's own record - in one folder, whose path is printed.
 */
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Host } from "./host.js";
import type { Machine } from "./machine.js";
import { failuresFolder } from "./paths.js";
import type { Story } from "./story.js";

const outerFiles = ["console.log", "outer-qmp.log", "outer-qemu.stderr", "channel.log"];

/** The part of the evidence that lies in L1, as shell commands and the file that each fills. */
const inner: Readonly<Record<string, string>> = {
  "dmesg.log": "dmesg",
  "processes.log": "busybox ps -o pid,ppid,stat,args 2>/dev/null || ls /proc",
  "pci.log": "lspci -nnk",
};

/** Folders of L1 whose files are kept. */
const innerFolders = ["/run/pciplug-lab", "/var/lib/pciplug-lab"];

/** Takes what lies in L1; to be called before anything is cleaned up. A machine that is dead gives nothing. */
export async function keepInner(story: Story, host: Host): Promise<string> {
  const folder = join(failuresFolder, `${story.number}-${story.name}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [name, command] of Object.entries(inner)) {
    await keepOutput(join(folder, name), host, command);
  }
  const find = `find ${innerFolders.join(" ")} -type f -size -4M 2>/dev/null`;
  const files = await host.exec(find).catch(() => undefined);
  for (const path of files?.stdout.split("\n").filter((line) => line !== "") ?? []) {
    const text = await host.read(path).catch(() => null);
    if (text === null) continue;
    const target = join(folder, path.split("/").slice(2).join("_"));
    writeFileSync(target, text);
  }
  return folder;
}

/** Takes what lies outside L1, and the story's record. */
export function keepOuter(folder: string, machine: Machine, record: readonly string[]): void {
  for (const name of outerFiles) {
    const path = join(machine.folder, name);
    if (existsSync(path)) cpSync(path, join(folder, name));
  }
  writeFileSync(join(folder, "story.log"), `${record.join("\n")}\n`);
}

async function keepOutput(path: string, host: Host, command: string): Promise<void> {
  const result = await host.exec(command, 30_000).catch((error: unknown) => ({ stdout: String(error) }));
  writeFileSync(path, result.stdout);
}
