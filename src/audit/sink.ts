/**
 * The audit as the agent sees it: append, and go on when the promise says that the line is on disk.
 *
 * winston carries the entries to the file; it is never the proof. The proof is the journal's promise, which every
 * entry takes along. The file is ours alone: never a symbolic link, mode 0640, only ever appended to.
 */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import winston from "winston";
import { messageOf } from "../base/error.js";
import { AuditError } from "./error.js";
import { endLine, Journal, seqOf } from "./journal.js";
import type { AuditEntry } from "./record.js";
import { readTail } from "./tail.js";
import { AuditTransport, type CarriedEntry } from "./transport.js";

const MODE = 0o640;

export interface AuditSink {
  /** Length of a line that a crash had cut off and that was closed off at the opening; 0 as a rule. */
  readonly tornBytes: number;
  /**
   * Writes one line down; resolves when it is on disk.
   *
   * @throws {AuditError} audit.write-failed: it may not be; what it announces must not be done. audit.closed.
   */
  append(entry: AuditEntry): Promise<void>;
  /** Waits for what was appended and closes the file. Closing again waits for the same. */
  close(): Promise<void>;
}

/**
 * Opens the audit file, making it if it is not there; numbers go on from its last line.
 *
 * @param options.groupId group that may read it; by default the one it has.
 * @throws {AuditError} audit.open-failed
 */
export async function openAudit(
  path: string,
  options: { readonly groupId?: number } = {},
): Promise<AuditSink> {
  const file = await openFile(path);
  try {
    await makeOurs(file, path, options.groupId);
    const tail = await readTail(file);
    const seq = seqOf(tail, path);
    await endLine(file, tail);
    return carry(new Journal(path, file, seq), tail.tornBytes);
  } catch (error) {
    await file.close();
    throw error instanceof AuditError ? error : failure(path, error);
  }
}

async function openFile(path: string): Promise<FileHandle> {
  const { O_RDWR, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
  try {
    // O_NONBLOCK: a FIFO in the file's place must not stop the agent before it is recognised.
    const file = await open(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, MODE);
    const folder = await open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      // A new file is only there after a crash if its folder was synced too.
      await folder.sync();
    } finally {
      await folder.close();
    }
    return file;
  } catch (error) {
    throw failure(path, error);
  }
}

async function makeOurs(file: FileHandle, path: string, groupId: number | undefined): Promise<void> {
  const stats = await file.stat();
  if (!stats.isFile() || stats.nlink !== 1) {
    throw new AuditError(
      "audit.open-failed",
      `cannot open audit file ${path}: it is not a plain file of one name`,
    );
  }
  const uid = process.geteuid?.() ?? stats.uid;
  if (stats.uid !== uid) {
    throw new AuditError(
      "audit.open-failed",
      `cannot open audit file ${path}: it belongs to user ${stats.uid}`,
    );
  }
  if (groupId !== undefined && stats.gid !== groupId) {
    await file.chown(uid, groupId);
  }
  // The umask may have taken more away than is meant, another hand may have given more.
  if ((stats.mode & 0o7777) !== MODE || groupId !== undefined) {
    await file.chmod(MODE);
  }
}

function carry(journal: Journal, tornBytes: number): AuditSink {
  const transport = new AuditTransport(journal);
  const logger = winston.createLogger({
    level: "info",
    // The entry travels as it is: the journal writes it down.
    format: winston.format((info) => info)(),
    transports: [transport],
  });
  let closed: Promise<void> | null = null;
  const close = async () => {
    const arrived = new Promise((resolve) => transport.once("finish", resolve));
    logger.end();
    await arrived;
    await journal.close();
  };
  return {
    tornBytes,
    append: (entry) =>
      new Promise((resolve, reject) => {
        if (closed !== null) {
          reject(new AuditError("audit.closed", `cannot write ${entry.event} to the audit: it is closed`));
          return;
        }
        const carried: CarriedEntry = { level: "info", message: entry.what, entry, resolve, reject };
        logger.write(carried);
      }),
    close: () => {
      closed ??= close();
      return closed;
    },
  };
}

function failure(path: string, cause: unknown): AuditError {
  return new AuditError("audit.open-failed", `cannot open audit file ${path}: ${messageOf(cause)}`, {
    cause,
  });
}
