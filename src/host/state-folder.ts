/**
 * The folder of the agent's own state: ours alone, and one agent's at a time.
 *
 * The lock is a flock(2) on an open file: it dies with the process, whatever kills it. Node has no flock; a child takes
 * it on our descriptor, which keeps it after the child has ended (facts.md 13).
 */
import { spawnSync } from "node:child_process";
import { closeSync, constants, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { mkdir, realpath, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { messageOf } from "../base/error.js";
import { errnoOf, HostError } from "./error.js";

export interface StateFolder {
  readonly path: string;
  readonly ledger: string;
  readonly intents: string;
  /** Lets another agent have it. */
  close(): void;
}

/** What decides whether a folder is safe. */
export interface FolderFacts {
  readonly path: string;
  readonly uid: number;
  readonly mode: number;
}

/**
 * Creates the folder if need be, checks that nobody else can write to it or put another in its place, and takes its lock.
 *
 * `trustedAbove`: folders at and above this one are taken on trust; for demonstrations and tests in a temporary folder.
 *
 * @throws {HostError} `host.state-unsafe`, `host.state-locked`
 */
export async function openStateFolder(dir: string, trustedAbove?: string): Promise<StateFolder> {
  const uid = process.geteuid?.() ?? 0;
  // The way to it first: a folder that is refused must not be left behind in a place that was not ours to write to.
  const nearest = await nearestExisting(resolve(dir));
  const way = await factsAbove(nearest === resolve(dir) ? nearest : join(nearest, "new"), trustedAbove);
  refuse(resolve(dir), unsafeAbove(way, uid));
  const path = await provideFolder(resolve(dir));
  const chain = [
    ...(await factsAbove(path, trustedAbove)),
    ...(await factsAbove(await realpath(path), trustedAbove)),
  ];
  refuse(path, unsafeReason(await factsOf(path), chain, uid));
  const lock = takeLock(join(path, "lock"), path);
  return {
    path,
    ledger: join(path, "ledger.json"),
    intents: join(path, "intents.json"),
    close: () => closeSync(lock),
  };
}

/** Why a folder is not safe to keep state in, given what is above it; `null` when it is. Mode bits as in stat(2). */
export function unsafeReason(folder: FolderFacts, above: readonly FolderFacts[], uid: number): string | null {
  if (folder.uid !== uid) {
    return `it belongs to user ${folder.uid}, not to us (${uid})`;
  }
  if ((folder.mode & 0o022) !== 0) {
    return `others may write to it (mode ${octal(folder.mode)}); make it 0700`;
  }
  return unsafeAbove(above, uid);
}

function unsafeAbove(above: readonly FolderFacts[], uid: number): string | null {
  for (const parent of above) {
    // A sticky bit keeps others from renaming our folder, not from being there first.
    if ((parent.mode & 0o002) !== 0) {
      return `${parent.path} above it may be written by anyone`;
    }
    if (parent.uid !== 0 && parent.uid !== uid) {
      return `${parent.path} above it belongs to user ${parent.uid}`;
    }
  }
  return null;
}

function refuse(path: string, reason: string | null): void {
  if (reason !== null) {
    throw new HostError("host.state-unsafe", `cannot keep state in ${path}: ${reason}`);
  }
}

/** The folder itself, or the lowest one above it that is there. */
async function nearestExisting(path: string): Promise<string> {
  for (let folder = path; folder !== dirname(folder); folder = dirname(folder)) {
    if (
      await stat(folder).then(
        () => true,
        () => false,
      )
    ) {
      return folder;
    }
  }
  return "/";
}

async function provideFolder(path: string): Promise<string> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    return path;
  } catch (cause) {
    throw new HostError("host.state-unsafe", `cannot create ${path}: ${whyNot(cause)}`, { cause });
  }
}

/** Why a folder or file cannot be had, and where it helps, what to do. */
function whyNot(cause: unknown): string {
  return errnoOf(cause) === "EACCES" || errnoOf(cause) === "EPERM"
    ? "this user may not: run it as root, or name a folder of your own with --state"
    : messageOf(cause);
}

async function factsAbove(path: string, trustedAbove: string | undefined): Promise<FolderFacts[]> {
  const facts: FolderFacts[] = [];
  const end = trustedAbove === undefined ? undefined : await realpath(trustedAbove);
  for (let parent = dirname(path); parent !== trustedAbove && parent !== end; parent = dirname(parent)) {
    facts.push(await factsOf(parent));
    if (parent === dirname(parent)) {
      break;
    }
  }
  return facts;
}

async function factsOf(path: string): Promise<FolderFacts> {
  const { uid, mode } = await stat(path);
  return { path, uid, mode };
}

function takeLock(file: string, folder: string): number {
  const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
  const fd = openLock(file, O_RDWR | O_CREAT | O_NOFOLLOW);
  const { status, error } = spawnSync("flock", ["-n", "-x", "3"], {
    stdio: ["ignore", "ignore", "ignore", fd],
  });
  if (error === undefined && status === 0) {
    ftruncateSync(fd);
    writeSync(fd, `${process.pid}\n`);
    return fd;
  }
  closeSync(fd);
  if (error !== undefined) {
    const why = errnoOf(error) === "ENOENT" ? "flock (of util-linux) is not installed" : error.message;
    throw new HostError("host.state-unsafe", `cannot lock ${folder}: ${why}`, { cause: error });
  }
  const holder = readFileSync(file, "latin1").trim();
  const who = /^\d+$/.test(holder) ? ` (process ${holder})` : "";
  throw new HostError("host.state-locked", `cannot lock ${folder}: another agent${who} is using it`);
}

function openLock(file: string, flags: number): number {
  try {
    return openSync(file, flags, 0o600);
  } catch (cause) {
    throw new HostError("host.state-unsafe", `cannot open ${file}: ${whyNot(cause)}`, { cause });
  }
}

function octal(mode: number): string {
  return `0${(mode & 0o777).toString(8)}`;
}
