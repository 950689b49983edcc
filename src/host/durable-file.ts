/**
 * Small files that survive a crash at any instruction: written whole to a temporary file, fsync, rename, fsync of the
 * folder. Readable by their owner only; links are never followed. The caller holds the lock of the folder.
 */
import { constants } from "node:fs";
import { access, type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { messageOf } from "../base/error.js";
import { errnoOf, HostError, type HostErrorCode } from "./error.js";

const { O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;
const OWNER_ONLY = 0o600;

const READ_ERRORS: Readonly<Record<string, HostErrorCode>> = {
  ELOOP: "host.state-unsafe",
  EACCES: "host.not-permitted",
  EPERM: "host.not-permitted",
};

/** The whole text; `null` when there is no file. @throws {HostError} `host.state-unsafe` for a link or no plain file. */
export async function readDurable(path: string): Promise<string | null> {
  // O_NONBLOCK: somebody's FIFO must not stop the start.
  const file = await openOrNull(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (file === null) {
    return null;
  }
  try {
    if (!(await file.stat()).isFile()) {
      throw new HostError("host.state-unsafe", `cannot read ${path}: it is no plain file`);
    }
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}

/** Replaces the file; resolves once the new text is on disk under its name. */
export async function writeDurable(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`;
  await rm(temporary, { force: true });
  await writeAndSync(temporary, text, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
  await rename(temporary, path);
  await syncFolder(path);
}

/** Adds to the end of the file; resolves once that is on disk. */
export async function appendDurable(path: string, text: string): Promise<void> {
  await writeAndSync(path, text, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW);
  await syncFolder(path);
}

/** Moves a file out of the way, to `path.word-N` with the first free N, and returns its new name. */
export async function setAside(path: string, word: string): Promise<string> {
  for (let number = 1; ; number += 1) {
    const aside = `${path}.${word}-${number}`;
    if (!(await exists(aside))) {
      await rename(path, aside);
      await syncFolder(path);
      return aside;
    }
  }
}

async function writeAndSync(path: string, text: string, flags: number): Promise<void> {
  const file = await open(path, flags, OWNER_ONLY);
  try {
    await file.writeFile(text, "utf8");
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A rename is only durable once the folder is. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), O_RDONLY | O_DIRECTORY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function openOrNull(path: string, flags: number): Promise<FileHandle | null> {
  try {
    return await open(path, flags);
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") {
      return null;
    }
    throw new HostError(
      READ_ERRORS[errnoOf(cause) ?? ""] ?? "host.unreadable",
      `cannot read ${path}: ${messageOf(cause)}`,
      { cause },
    );
  }
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
