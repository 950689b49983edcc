/**
 * The connected socket: lines in, lines out, one end.
 *
 * Invariants:
 * - commands are written in the order of their ids; while the socket pushes back they wait here, where they can
 *   still be taken back;
 * - `onClosed` is called exactly once, and no message is delivered after it;
 * - the end of either direction is the end of the link: a half-closed monitor is of no use.
 */

import type { Socket } from "node:net";
import { runStranger } from "./containment.js";
import { printable, QmpProtocolError } from "./errors.js";
import { FrameSplitter } from "./framing.js";
import { parseMessage, type QmpMessage } from "./protocol.js";

/** Why a link ended. */
export type QmpCloseReason =
  /** Our own side closed it. */
  | { readonly kind: "local" }
  /** QEMU closed it; `cutOffBytes` came of a line that never ended. Whether the VM is gone: connect again (facts.md 7). */
  | { readonly kind: "peer"; readonly cutOffBytes: number }
  /** The socket failed (ECONNRESET, EPIPE). */
  | { readonly kind: "socket"; readonly error: Error }
  /** We dropped it because of what was said. */
  | { readonly kind: "protocol"; readonly error: QmpProtocolError };

/** What passes over the wire, for recordings; `text` is one line without its end. */
export type WireRecord =
  | { readonly kind: "opened" }
  | { readonly kind: "sent"; readonly text: string }
  | { readonly kind: "received"; readonly text: string }
  | { readonly kind: "closed" };

/** Sees everything that passes over the wire. Must not throw. */
export type WireTap = (record: WireRecord) => void;

export interface WireHandlers {
  /** May throw a QmpProtocolError to drop the link. */
  readonly onMessage: (message: QmpMessage) => void;
  readonly onClosed: (reason: QmpCloseReason) => void;
}

export interface WireOptions {
  readonly onWire?: WireTap | undefined;
  readonly maxFrameBytes?: number | undefined;
}

interface Outgoing {
  readonly id: number;
  readonly line: string;
}

/** One connected socket. Takes it over; destroys it at the end. */
export class QmpWire {
  readonly #socket: Socket;
  readonly #handlers: WireHandlers;
  readonly #tap: WireTap | undefined;
  readonly #splitter: FrameSplitter;
  readonly #gone: Promise<void>;
  #queue: Outgoing[] = [];
  #isBlocked = false;
  #isClosed = false;
  #lastWrittenId = 0;

  constructor(socket: Socket, handlers: WireHandlers, options: WireOptions) {
    this.#socket = socket;
    this.#handlers = handlers;
    this.#tap = options.onWire;
    this.#splitter = new FrameSplitter(options.maxFrameBytes);
    this.#gone = new Promise((resolve) => {
      socket.once("close", () => resolve());
    });
    this.#report({ kind: "opened" });
    socket.on("error", (error) => this.#finish({ kind: "socket", error }));
    socket.on("end", () => this.#finishByPeer());
    socket.on("close", () => this.#finishByPeer());
    socket.on("drain", () => {
      this.#isBlocked = false;
      this.#flush();
    });
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
  }

  /** What has come of a line that has not ended, for a message to people; empty when nothing has. */
  get unfinishedLine(): string {
    return printable(this.#splitter.heldStart(80), 80);
  }

  /** Sends a line, now or when the socket takes it. Ids must rise. */
  send(id: number, line: string): void {
    this.#queue.push({ id, line });
    this.#flush();
  }

  /** Takes back a command that was not written yet; false when it is (perhaps) on its way. */
  retract(id: number): boolean {
    if (id <= this.#lastWrittenId) {
      return false;
    }
    this.#queue = this.#queue.filter((outgoing) => outgoing.id !== id);
    return true;
  }

  /** Ends the link; resolves once the descriptor is gone. */
  close(): Promise<void> {
    this.#finish({ kind: "local" });
    return this.#gone;
  }

  #flush(): void {
    while (!this.#isBlocked && !this.#isClosed) {
      const next = this.#queue.shift();
      if (next === undefined) {
        return;
      }
      this.#lastWrittenId = next.id;
      this.#report({ kind: "sent", text: next.line.trimEnd() });
      this.#isBlocked = !this.#socket.write(next.line);
    }
  }

  #read(chunk: Buffer): void {
    try {
      for (const line of this.#splitter.push(chunk)) {
        this.#report({ kind: "received", text: line });
        this.#handlers.onMessage(parseMessage(line));
        if (this.#isClosed) {
          return;
        }
      }
    } catch (error) {
      if (!(error instanceof QmpProtocolError)) {
        throw error;
      }
      this.#finish({ kind: "protocol", error });
    }
  }

  #finishByPeer(): void {
    this.#finish({ kind: "peer", cutOffBytes: this.#splitter.heldBytes });
  }

  #finish(reason: QmpCloseReason): void {
    if (this.#isClosed) {
      return;
    }
    this.#isClosed = true;
    this.#socket.destroy();
    this.#report({ kind: "closed" });
    this.#handlers.onClosed(reason);
  }

  #report(record: WireRecord): void {
    const tap = this.#tap;
    if (tap !== undefined) {
      runStranger(() => tap(record));
    }
  }
}

/** The sentence for people: why a link ended. */
export function describeClose(reason: QmpCloseReason): string {
  switch (reason.kind) {
    case "local":
      return "the link was closed by this program";
    case "peer":
      return reason.cutOffBytes === 0
        ? "QEMU closed the link"
        : `QEMU closed the link in the middle of a line (${reason.cutOffBytes} bytes of it came)`;
    case "socket":
      return `the link failed: ${reason.error.message}`;
    case "protocol":
      return `the link was dropped: ${reason.error.message}`;
  }
}
