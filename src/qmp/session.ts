/**
 * One session with one QEMU monitor, from connect(2) to the end of the link: what the client's methods stand on.
 *
 * Invariants:
 * - nothing is written before the greeting: bytes sent to a busy monitor would be executed whenever it is free;
 * - the run state only moves forward: connecting -> negotiating -> running -> closed;
 * - at the end of the link every call and every waiter is rejected, then `closed` resolves; no promise given out
 *   here ever counts as unhandled.
 */

import { QMP_COMMANDS } from "./commands.js";
import { quiet, runStranger } from "./containment.js";
import { armLimits } from "./deadline.js";
import { blameCaller, type CallOrigin, QmpProtocolError } from "./errors.js";
import { recognizeEvent } from "./events.js";
import type { Guard } from "./guard.js";
import { explainNoGreeting, explainNoNegotiation, explainNoSession } from "./handshake.js";
import type { JsonValue } from "./json.js";
import { EventListeners, type WaitRequest } from "./listeners.js";
import type { QmpCallOptions, QmpConnectOptions, QmpUnknown } from "./options.js";
import { PendingCalls, type QmpAnswer } from "./pending.js";
import { formatCommand, type QmpGreeting, type QmpMessage } from "./protocol.js";
import { type QmpRunState, refuseCall } from "./run-state.js";
import { openSocket } from "./socket.js";
import { lookAtSilence } from "./socket-table.js";
import { describeClose, type QmpCloseReason, QmpWire } from "./wire.js";

const DEFAULT_GREETING_TIMEOUT_MS = 5_000;

/** One command on its way. */
export interface SessionCall<T> {
  readonly command: string;
  readonly args: JsonValue | undefined;
  readonly reply: Guard<T>;
  readonly timeoutMs: number;
  readonly options: QmpCallOptions;
  readonly origin: CallOrigin;
}

/** Connects, waits for the greeting, negotiates. @throws {QmpConnectError} @throws {QmpProtocolError} qmp.pretty. */
export async function openSession(options: QmpConnectOptions, origin: CallOrigin): Promise<QmpSession> {
  const enter = (state: QmpRunState): void => runStranger(() => options.onState?.(state));
  enter("connecting");
  const socket = await openSocket(options.path, options.signal).catch((error: unknown) => {
    enter("closed");
    throw error;
  });
  const session = new QmpSession(socket, options);
  try {
    await session.establish(origin);
    return session;
  } catch (error) {
    await session.close();
    throw error;
  }
}

export class QmpSession {
  readonly path: string;
  readonly closed: Promise<QmpCloseReason>;
  readonly listeners = new EventListeners();
  readonly pending = new PendingCalls((id) => this.#wire.retract(id));
  readonly #options: QmpConnectOptions;
  readonly #wire: QmpWire;
  #state: QmpRunState = "connecting";
  #closeReason: QmpCloseReason | undefined;
  #greeting: QmpGreeting | undefined;
  #onGreeted: () => void = () => undefined;
  #onEnded: (reason: QmpCloseReason) => void = () => undefined;

  constructor(socket: Awaited<ReturnType<typeof openSocket>>, options: QmpConnectOptions) {
    this.path = options.path;
    this.#options = options;
    this.closed = new Promise((resolve) => {
      this.#onEnded = resolve;
    });
    if (options.onEvent !== undefined) {
      this.listeners.add(options.onEvent);
    }
    const handlers = {
      onMessage: (message: QmpMessage) => this.#receive(message),
      onClosed: (reason: QmpCloseReason) => this.#end(reason),
    };
    this.#wire = new QmpWire(socket, handlers, options);
  }

  get state(): QmpRunState {
    return this.#state;
  }

  get closeReason(): QmpCloseReason | undefined {
    return this.#closeReason;
  }

  get greeting(): QmpGreeting {
    if (this.#greeting === undefined) {
      throw new QmpProtocolError("qmp.unexpected-message", "cannot tell the greeting: none has come");
    }
    return this.#greeting;
  }

  async establish(origin: CallOrigin): Promise<void> {
    await this.#greet();
    await this.#options.approve?.();
    await this.#negotiate(origin);
  }

  /** Sends one command, or refuses it when the session is not running. Never throws: fails by its promise. */
  call<T>(call: SessionCall<T>): Promise<T> {
    const refusal = refuseCall(`execute ${call.command}`, this, call.options.signal);
    if (refusal !== undefined) {
      return quiet(Promise.reject(blameCaller(refusal, call.origin)));
    }
    try {
      return this.#send(call);
    } catch (error) {
      // Arguments that cannot be formatted: they may be a stranger's words, so this is no bug of ours.
      return quiet(Promise.reject(error));
    }
  }

  /** Arms a waiter, or refuses it when the session is not running. */
  waitFor<E>(request: WaitRequest<E>): Promise<E> {
    const refusal = refuseCall(`wait for ${request.name}`, this, request.signal);
    return refusal === undefined
      ? this.listeners.waitFor(request)
      : quiet(Promise.reject(blameCaller(refusal, request.origin)));
  }

  async close(): Promise<void> {
    await this.#wire.close();
  }

  #send<T>({ command, args, reply, timeoutMs, options, origin }: SessionCall<T>): Promise<T> {
    const id = this.pending.nextId();
    const line = formatCommand(command, args, id);
    const promise = this.pending.open<T>({
      id,
      command,
      reply,
      origin,
      timeoutMs: options.timeoutMs ?? timeoutMs,
      signal: options.signal,
    });
    this.#wire.send(id, line);
    return promise;
  }

  #greet(): Promise<void> {
    const limits = {
      timeoutMs: this.#options.greetingTimeoutMs ?? DEFAULT_GREETING_TIMEOUT_MS,
      signal: this.#options.signal,
    };
    return new Promise((resolve, reject) => {
      const disarm = armLimits(limits, (why) => {
        const seen = { unfinishedLine: this.#wire.unfinishedLine, silence: lookAtSilence(this.path) };
        reject(explainNoGreeting(this.path, why, limits, seen));
      });
      this.#onGreeted = () => {
        disarm();
        resolve();
      };
      void this.closed.then((reason) => {
        disarm();
        reject(explainNoSession(this.path, reason));
      });
    });
  }

  async #negotiate(origin: CallOrigin): Promise<void> {
    this.#assertOpen();
    const { reply, timeoutMs } = QMP_COMMANDS.qmp_capabilities;
    const options = { timeoutMs: this.#options.negotiationTimeoutMs, signal: this.#options.signal };
    const command = "qmp_capabilities";
    try {
      await this.#send({ command, args: undefined, reply, timeoutMs, options, origin });
    } catch (error) {
      throw explainNoNegotiation(this.path, error);
    }
    this.#assertOpen();
    this.#enter("running");
  }

  /** What came in one chunk with the message awaited may have ended the link already. */
  #assertOpen(): void {
    if (this.#closeReason !== undefined) {
      throw explainNoSession(this.path, this.#closeReason);
    }
  }

  #receive(message: QmpMessage): void {
    if (this.#state === "connecting") {
      this.#receiveGreeting(message);
      return;
    }
    switch (message.kind) {
      case "greeting":
        throw new QmpProtocolError("qmp.unexpected-message", "cannot go on with QMP: QEMU greeted twice");
      case "event": {
        const event = recognizeEvent(message.event);
        this.listeners.dispatch(message.event, event);
        if (event === undefined) {
          this.#passOver(message);
        }
        return;
      }
      case "reply":
      case "error":
        this.#receiveAnswer(message);
    }
  }

  #receiveGreeting(message: QmpMessage): void {
    if (message.kind !== "greeting") {
      throw new QmpProtocolError(
        "qmp.unexpected-message",
        `cannot start with QMP: got ${message.kind}, no greeting`,
      );
    }
    this.#greeting = message.greeting;
    this.#enter("negotiating");
    this.#onGreeted();
  }

  #receiveAnswer(answer: QmpAnswer): void {
    const settlement = this.pending.settle(answer);
    if (settlement.kind === "late") {
      this.#passOver({ kind: "late-answer", command: settlement.command, answer });
    } else if (settlement.kind === "unknown") {
      this.#passOver({ kind: "stray-answer", answer });
    }
  }

  #passOver(unknown: QmpUnknown): void {
    runStranger(() => this.#options.onUnknown?.(unknown));
  }

  #end(reason: QmpCloseReason): void {
    const why = describeClose(reason);
    const cause = "error" in reason ? reason.error : undefined;
    this.#closeReason = reason;
    this.#enter("closed");
    this.pending.interruptAll(why, cause);
    this.listeners.interruptAll(why, cause);
    this.#onEnded(reason);
  }

  #enter(state: QmpRunState): void {
    this.#state = state;
    runStranger(() => this.#options.onState?.(state));
  }
}
