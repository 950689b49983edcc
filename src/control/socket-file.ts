/**
 * The socket's place in the file system: made without a moment in which others could connect, never over something
 * that lives or is not ours, and taken away at the end only if it is still ours.
 *
 * How: the socket is bound in a folder that only we can enter, gets its mode there, and is then linked to its place.
 * link(2) never replaces anything.
 */
import type { Stats } from "node:fs";
import { chmod, chown, link, lstat, mkdtemp, rmdir, stat, unlink } from "node:fs/promises";
import { createConnection, type Server } from "node:net";
import { messageOf } from "../base/error.js";
import { ControlError, errnoOf, isSocketPath } from "./error.js";

const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;
/** As short as possible: the name in the folder must fit into a socket's address, too. */
const INNER_NAME = "s";

export interface SocketPlace {
  readonly path: string;
  /** Group that may connect; `null`: root only. */
  readonly groupId: number | null;
}

/** The socket that was made. */
export interface SocketFile {
  /** Takes the socket's name away, if it still is ours. */
  remove(): Promise<void>;
}

/**
 * Makes the server listen at its place. What a dead agent has left there is cleared away first.
 *
 * @throws {ControlError} control.in-use, control.listen-failed
 */
export async function listenAt(server: Server, place: SocketPlace): Promise<SocketFile> {
  try {
    await checkFolder(folderOf(place.path));
    const stats = await bindAside(server, place);
    return { remove: () => removeSocket(place.path, stats) };
  } catch (error) {
    server.close();
    throw error instanceof ControlError ? error : listenFailed(place.path, messageOf(error), error);
  }
}

async function bindAside(server: Server, { path, groupId }: SocketPlace): Promise<Stats> {
  const folder = await mkdtemp(`${folderOf(path)}/.`);
  const inner = `${folder}/${INNER_NAME}`;
  try {
    if (!isSocketPath(path) || !isSocketPath(inner)) {
      throw listenFailed(path, "the path is too long for a socket's address");
    }
    await listening(server, inner);
    if (groupId !== null) {
      await chown(inner, process.geteuid?.() ?? 0, groupId);
    }
    await chmod(inner, groupId === null ? 0o600 : 0o660);
    await putInPlace(inner, path);
    return await lstat(inner);
  } finally {
    await unlink(inner).catch(() => undefined);
    await rmdir(folder);
  }
}

async function putInPlace(inner: string, path: string): Promise<void> {
  try {
    await link(inner, path);
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") {
      throw error;
    }
    await clearStale(path);
    await link(inner, path);
  }
}

/** Removes what a dead agent has left. @throws {ControlError} when it lives, is no socket, or is not ours. */
async function clearStale(path: string): Promise<void> {
  const stats = await lstat(path);
  if (!stats.isSocket()) {
    throw listenFailed(path, "something else than a socket is there");
  }
  if (stats.uid !== process.geteuid?.()) {
    throw listenFailed(path, `the socket that is there belongs to user ${stats.uid}`);
  }
  const code = await connectCode(path);
  if (code === "ECONNREFUSED") {
    await removeSocket(path, stats);
  } else if (code !== "ENOENT") {
    throw new ControlError("control.in-use", `cannot listen on ${path}: another process does`);
  }
}

async function removeSocket(path: string, stats: Stats): Promise<void> {
  const now = await lstat(path).catch(() => null);
  if (now !== null && now.ino === stats.ino && now.dev === stats.dev) {
    await unlink(path);
  }
}

/** The folder decides who can swap the socket for another one. */
async function checkFolder(folder: string): Promise<void> {
  const stats = await stat(folder);
  const ownUid = process.geteuid?.();
  const isOpen = (stats.mode & WRITABLE_BY_OTHERS) !== 0 && (stats.mode & STICKY) === 0;
  if (!stats.isDirectory() || isOpen || (stats.uid !== 0 && stats.uid !== ownUid)) {
    throw new ControlError(
      "control.listen-failed",
      `cannot listen in ${folder}: it must be a folder of root's that others cannot write to`,
    );
  }
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      server.removeListener("error", reject);
      resolve();
    });
  });
}

/** How an attempt to connect ends: the system's error, or empty when somebody listens. */
function connectCode(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve("");
    });
    socket.once("error", (error) => resolve(errnoOf(error)));
  });
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || (path.startsWith("/") ? "/" : ".");
}

function listenFailed(path: string, why: string, cause?: unknown): ControlError {
  return new ControlError("control.listen-failed", `cannot listen on ${path}: ${why}`, { cause });
}
