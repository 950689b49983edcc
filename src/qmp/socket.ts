/**
 * From a path to a connected unix socket, and from what goes wrong to one clear sentence.
 *
 * Writes nothing. Knows the causes of facts.md 6: absent, refused, queue full, not permitted, path too long.
 */

import { createConnection, type Socket } from "node:net";
import { messageOf } from "../base/error.js";
import { type QmpConnectCode, QmpConnectError } from "./errors.js";

/** sun_path is 108 bytes, one of them the terminating NUL (unix(7)). */
export const MAX_SOCKET_PATH_BYTES = 107;

/** What an errno of connect(2) means for a QMP socket. */
const CONNECT_FAILURES: Readonly<Record<string, readonly [QmpConnectCode, string]>> = {
  ENOENT: ["qmp.absent", "no such socket; the VM is not running, or the path is wrong"],
  ENOTDIR: ["qmp.absent", "a part of the path is not a folder; correct the path"],
  ECONNREFUSED: [
    "qmp.refused",
    "nobody listens on it any more; its QEMU process is gone, start the VM again",
  ],
  EAGAIN: [
    "qmp.backlog-full",
    "others already wait for this monitor; give this program a monitor of its own (a second -qmp)",
  ],
  EACCES: ["qmp.not-permitted", "permission denied; run as root or as the user of the VM"],
  EPERM: ["qmp.not-permitted", "permission denied; run as root or as the user of the VM"],
  EPROTOTYPE: ["qmp.not-qmp", "it is not a stream socket; name the path of a -qmp option"],
};

/**
 * Connects to a unix stream socket. Never waits: connect(2) on such a socket succeeds or fails at once.
 * The caller owns the socket.
 *
 * @throws {QmpConnectError}
 */
export async function openSocket(path: string, signal: AbortSignal | undefined): Promise<Socket> {
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_SOCKET_PATH_BYTES) {
    const why = `its path has ${bytes} bytes, a unix socket path holds ${MAX_SOCKET_PATH_BYTES}; use a shorter one`;
    throw new QmpConnectError("qmp.path-too-long", path, why);
  }
  if (signal?.aborted === true) {
    throw new QmpConnectError("qmp.aborted", path, "the caller gave up", { cause: signal.reason });
  }
  try {
    return await connected(path);
  } catch (cause) {
    throw connectFailure(path, cause);
  }
}

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path });
    // Stays attached: until the session takes over, an error without a listener would end the process.
    socket.on("error", reject);
    socket.once("connect", () => resolve(socket));
  });
}

function connectFailure(path: string, cause: unknown): QmpConnectError {
  const [code, why] = CONNECT_FAILURES[errnoOf(cause)] ?? ["qmp.connect-failed", messageOf(cause)];
  return new QmpConnectError(code, path, why, { cause });
}

function errnoOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}
