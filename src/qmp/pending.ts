/**
 * The calls that wait for an answer.
 *
 * Invariants:
 * - every call opened settles exactly once: by its answer, its deadline, its signal, or the end of the link;
 * - an id is never used twice on one link;
 * - a call given up by its caller is remembered until its answer comes, so a late answer is told from a stray one.
 */

import { messageOf } from "../base/error.js";
import { quiet } from "./containment.js";
import { armLimits, type GiveUp, type WaitLimits } from "./deadline.js";
import {
  blameCaller,
  type CallOrigin,
  printable,
  QmpCommandError,
  QmpInterruptedError,
  QmpProtocolError,
  QmpTimeoutError,
} from "./errors.js";
import type { Guard } from "./guard.js";
import type { QmpMessage } from "./protocol.js";

/** An answer as it came from the wire. */
export type QmpAnswer = Extract<QmpMessage, { kind: "reply" | "error" }>;

/** One call to be waited for. */
export interface CallRequest<T> extends WaitLimits {
  readonly id: number;
  readonly command: string;
  readonly reply: Guard<T>;
  readonly origin: CallOrigin;
}

/** What an answer turned out to be. */
export type Settlement =
  | { readonly kind: "settled" }
  | { readonly kind: "late"; readonly command: string }
  | { readonly kind: "unknown" };

interface PendingCall {
  readonly command: string;
  readonly disarm: () => void;
  readonly answer: (answer: QmpAnswer) => void;
  readonly fail: (error: Error) => void;
}

/** Registry of calls by id; one per link. */
export class PendingCalls {
  readonly #calls = new Map<number, PendingCall>();
  readonly #abandoned = new Map<number, string>();
  readonly #retract: (id: number) => boolean;
  #lastId = 0;

  /** `retract` takes back a command that was not written yet and says whether it could. */
  constructor(retract: (id: number) => boolean) {
    this.#retract = retract;
  }

  /** The commands waiting for an answer, oldest first; for diagnostics. */
  get commands(): readonly string[] {
    return [...this.#calls.values()].map((call) => call.command);
  }

  /** A fresh id: a small integer, because QEMU echoes ids and JavaScript would round large ones. */
  nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  /**
   * Registers a call. The promise rejects with QmpCommandError, QmpProtocolError (qmp.unexpected-reply),
   * QmpTimeoutError or QmpInterruptedError, and never counts as unhandled.
   */
  open<T>(request: CallRequest<T>): Promise<T> {
    const { id, command, reply, origin } = request;
    const promise = new Promise<T>((resolve, reject) => {
      const fail = (error: Error): void => reject(blameCaller(error, origin));
      this.#calls.set(id, {
        command,
        disarm: armLimits(request, (why) => fail(this.#abandon(request, why))),
        answer: (answer) => {
          if (answer.kind === "error") {
            fail(new QmpCommandError(command, answer.qmpClass, answer.desc));
            return;
          }
          try {
            resolve(reply(answer.value, "reply"));
          } catch (cause) {
            fail(misunderstood(command, cause));
          }
        },
        fail,
      });
    });
    return quiet(promise);
  }

  /**
   * Gives an answer to the call it belongs to.
   *
   * @throws {QmpProtocolError} qmp.error-without-id: QEMU could not read what was sent, so which call failed, and
   * whether the later ones were read, nobody knows.
   */
  settle(answer: QmpAnswer): Settlement {
    const id = answer.id;
    if (answer.kind === "error" && id === undefined) {
      throw new QmpProtocolError(
        "qmp.error-without-id",
        `cannot go on with QMP: QEMU could not read a command: ${printable(answer.desc)}`,
      );
    }
    if (typeof id !== "number") {
      return { kind: "unknown" };
    }
    const call = this.#calls.get(id);
    if (call !== undefined) {
      this.#calls.delete(id);
      call.disarm();
      call.answer(answer);
      return { kind: "settled" };
    }
    const command = this.#abandoned.get(id);
    this.#abandoned.delete(id);
    return command === undefined ? { kind: "unknown" } : { kind: "late", command };
  }

  /** Rejects every call because the link ended. */
  interruptAll(why: string, cause: unknown): void {
    const calls = [...this.#calls];
    this.#calls.clear();
    this.#abandoned.clear();
    for (const [id, call] of calls) {
      call.disarm();
      call.fail(interrupted("qmp.disconnected", call.command, why, { cause, wasSent: !this.#retract(id) }));
    }
  }

  #abandon(request: CallRequest<unknown>, why: GiveUp): Error {
    const { id, command, timeoutMs } = request;
    const wasSent = !this.#retract(id);
    this.#calls.delete(id);
    if (wasSent) {
      this.#abandoned.set(id, command);
    }
    if (why === "aborted") {
      return interrupted("qmp.aborted", command, "the caller gave up", {
        cause: request.signal?.reason,
        wasSent,
      });
    }
    return new QmpTimeoutError(
      `cannot execute ${command}: no answer within ${timeoutMs} ms${outcome(wasSent)}`,
      {
        wasSent,
        context: { command, timeoutMs },
      },
    );
  }
}

function interrupted(
  code: "qmp.aborted" | "qmp.disconnected",
  command: string,
  why: string,
  options: { cause: unknown; wasSent: boolean },
): QmpInterruptedError {
  const message = `cannot execute ${command}: ${why}${outcome(options.wasSent)}`;
  return new QmpInterruptedError(code, message, { ...options, context: { command } });
}

function outcome(wasSent: boolean): string {
  return wasSent ? "; its outcome is unknown" : "; it was never sent";
}

function misunderstood(command: string, cause: unknown): QmpProtocolError {
  return new QmpProtocolError(
    "qmp.unexpected-reply",
    `cannot understand the reply to ${command}: ${messageOf(cause)}`,
    { cause, context: { command } },
  );
}
