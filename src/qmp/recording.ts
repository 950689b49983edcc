/**
 * Writes what passes over the wire to a file, in the format the tests replay (fixtures/qmp):
 * one JSON object per line, `{"t": seconds since connect, "dir": "client"|"server", "msg": ...}`, a line
 * `{"dir": "note"}` first, and `"<closed>"` as the last message of a connection.
 *
 * The file is new and readable by its owner only: traffic shows how a host is built. Never disturbs the link:
 * after the first failed write nothing more is written, and `failure` says why.
 */

import { closeSync, constants, openSync, writeSync } from "node:fs";
import { AgentError, messageOf } from "../base/error.js";
import { parseJson } from "./json.js";
import type { WireRecord, WireTap } from "./wire.js";

export interface WireRecordingOptions {
  /** A monotonic clock, milliseconds. */
  readonly nowMs: () => number;
  /** The first line: what is recorded and how. */
  readonly note?: string | undefined;
}

/** An open recording; serves several connections one after the other. The caller closes it. */
export interface WireRecording extends Disposable {
  /** To be given to connectQmp as `onWire`. */
  readonly tap: WireTap;
  /** Why the recording stopped early, if it did. */
  readonly failure: QmpRecordingError | undefined;
  close(): void;
}

/** The wire could not be recorded. */
export class QmpRecordingError extends AgentError<"qmp.recording-failed"> {}

/**
 * Creates the file and starts recording. Existing files and symbolic links are refused.
 *
 * @throws {QmpRecordingError}
 */
export function openWireRecording(path: string, options: WireRecordingOptions): WireRecording {
  return new FileRecording(path, options);
}

const CREATE_NEW = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

class FileRecording implements WireRecording {
  readonly tap: WireTap = (record) => this.#write(this.#format(record));
  readonly #path: string;
  readonly #nowMs: () => number;
  #fd: number | undefined;
  #openedMs = 0;
  #failure: QmpRecordingError | undefined;

  constructor(path: string, options: WireRecordingOptions) {
    this.#path = path;
    this.#nowMs = options.nowMs;
    try {
      this.#fd = openSync(path, CREATE_NEW, 0o600);
    } catch (cause) {
      throw this.#failed(cause);
    }
    if (options.note !== undefined) {
      this.#write(`{"dir":"note","msg":${JSON.stringify(options.note)}}`);
    }
  }

  get failure(): QmpRecordingError | undefined {
    return this.#failure;
  }

  close(): void {
    if (this.#fd !== undefined) {
      closeSync(this.#fd);
      this.#fd = undefined;
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #format(record: WireRecord): string | undefined {
    switch (record.kind) {
      case "opened":
        this.#openedMs = this.#nowMs();
        return undefined;
      case "sent":
        return this.#line("client", asJson(record.text));
      case "received":
        return this.#line("server", asJson(record.text));
      case "closed":
        return this.#line("server", '"<closed>"');
    }
  }

  #line(direction: "client" | "server", message: string): string {
    const seconds = ((this.#nowMs() - this.#openedMs) / 1000).toFixed(4);
    return `{"t":${seconds},"dir":"${direction}","msg":${message}}`;
  }

  /** Synchronous on purpose: the last lines before a crash are the ones that are wanted. */
  #write(line: string | undefined): void {
    if (line === undefined || this.#fd === undefined) {
      return;
    }
    try {
      writeSync(this.#fd, `${line}\n`);
    } catch (cause) {
      this.#failure = this.#failed(cause);
      this.close();
    }
  }

  #failed(cause: unknown): QmpRecordingError {
    const message = `cannot record QMP traffic in ${this.#path}: ${messageOf(cause)}`;
    return new QmpRecordingError("qmp.recording-failed", message, { cause, context: { path: this.#path } });
  }
}

/** The text itself where it is JSON, so big integers stay exact; else as a JSON string. */
function asJson(text: string): string {
  try {
    parseJson(text);
    return text;
  } catch {
    return JSON.stringify(text);
  }
}
