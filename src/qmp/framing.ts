/**
 * Bytes of a QMP stream to lines, over any chunking.
 *
 * QEMU ends each message with CR LF and writes one JSON object per line (facts.md 6). Lines are cut on bytes and
 * decoded whole, so a character split over two chunks is never damaged. Holds at most one frame in memory.
 */

import { QmpProtocolError } from "./errors.js";

/** The largest line accepted unless the caller says otherwise: the biggest honest one known, query-qmp-schema, is 207 kB. */
const DEFAULT_MAX_FRAME_BYTES = 10_000_000;

const LF = 0x0a;
const CR = 0x0d;

/** Cuts a stream into lines. One per connection. */
export class FrameSplitter {
  readonly #limitBytes: number;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #parts: Uint8Array[] = [];
  #heldBytes = 0;

  constructor(limitBytes = DEFAULT_MAX_FRAME_BYTES) {
    this.#limitBytes = limitBytes;
  }

  /** Bytes of the line that has not ended yet. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** The start of the line that has not ended yet, for a message to people. */
  heldStart(maxBytes: number): string {
    const bytes = Buffer.concat(this.#parts.map((part) => part.subarray(0, maxBytes)));
    return bytes.subarray(0, maxBytes).toString("utf8");
  }

  /**
   * Takes the next bytes and yields each line they complete, without its end; empty lines are passed over.
   * Must be iterated to the end before the next call.
   *
   * @throws {QmpProtocolError} after the good lines before it: qmp.frame-too-long, qmp.malformed (not UTF-8).
   */
  *push(chunk: Uint8Array): Generator<string, void> {
    let start = 0;
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
      this.#hold(chunk.subarray(start, end));
      start = end + 1;
      const line = this.#release();
      if (line !== "") {
        yield line;
      }
    }
    this.#hold(chunk.subarray(start));
  }

  #hold(bytes: Uint8Array): void {
    if (bytes.length === 0) {
      return;
    }
    if (this.#heldBytes + bytes.length > this.#limitBytes) {
      throw new QmpProtocolError(
        "qmp.frame-too-long",
        `cannot read from QMP: one line is longer than ${this.#limitBytes} bytes`,
      );
    }
    this.#parts.push(bytes);
    this.#heldBytes += bytes.length;
  }

  #release(): string {
    const bytes = this.#parts.length === 1 ? (this.#parts[0] as Uint8Array) : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#heldBytes = 0;
    const length = bytes.at(-1) === CR ? bytes.length - 1 : bytes.length;
    try {
      return this.#decoder.decode(bytes.subarray(0, length)).trim();
    } catch (cause) {
      throw new QmpProtocolError("qmp.malformed", "cannot read from QMP: a line is not valid UTF-8", {
        cause,
      });
    }
  }
}
