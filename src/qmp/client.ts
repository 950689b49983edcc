/**
 * One session with one QEMU monitor, from connect(2) to the end of the link.
 *
 * Invariants:
 * - nothing is written before the greeting: bytes sent to a busy monitor would be executed whenever it is free;
 * - the run state only moves forward: connecting -> negotiating -> running -> closed;
 * - at the end of the link every call and every waiter is rejected, then `closed` resolves; no promise given out
 *   here ever counts as unhandled;
 * - never reconnects: a new session is a new client.
 */

import { QMP_COMMANDS, type QmpArguments, type QmpCommandName, type QmpResult } from "./commands.js";
import { quiet, runStranger } from "./containment.js";
import { armLimits, type WaitLimits } from "./deadline.js";
import { blameCaller, type CallOrigin, captureOrigin, QmpProtocolError } from "./errors.js";
import {
  type QmpEventName,
  type QmpEventOf,
  type QmpEvents,
  type RawQmpEvent,
  recognizeEvent,
} from "./events.js";
import { explainNoGreeting, explainNoNegotiation, explainNoSession } from "./handshake.js";
import { EventListeners, type QmpEventListener } from "./listeners.js";
import type { QmpCallOptions, QmpCallRest, QmpConnectOptions, QmpUnknown } from "./options.js";
import { PendingCalls, type QmpAnswer } from "./pending.js";
import { formatCommand, type QmpGreeting, type QmpMessage } from "./protocol.js";
import { type QmpRunState, refuseCall } from "./run-state.js";
import { openSocket } from "./socket.js";
import { describeClose, type QmpCloseReason, QmpWire } from "./wire.js";

const DEFAULT_GREETING_TIMEOUT_MS = 5_000;

/**
 * Connects to a QMP socket, waits for its greeting and negotiates. The caller owns the client and closes it.
 *
 * @throws {QmpConnectError} see QmpConnectCode.
 * @throws {QmpProtocolError} qmp.pretty: the monitor was started with pretty=on.
 */
export async function connectQmp(options: QmpConnectOptions): Promise<QmpClient> {
  return await QmpClient.connect(options);
}

/** A negotiated session. Made by connectQmp. */
export class QmpClient implements AsyncDisposable {
  /** Resolves, never rejects, once the link has ended and all calls and waiters were rejected. */
  readonly closed: Promise<QmpCloseReason>;
  readonly path: string;

  readonly #options: QmpConnectOptions;
  readonly #wire: QmpWire;
  readonly #pending = new PendingCalls((id) => this.#wire.retract(id));
  readonly #listeners = new EventListeners();
  #state: QmpRunState = "connecting";
  #closeReason: QmpCloseReason | undefined;
  #greeting: QmpGreeting | undefined;
  #onGreeted: () => void = () => undefined;
  #onEnded: (reason: QmpCloseReason) => void = () => undefined;

  private constructor(socket: Awaited<ReturnType<typeof openSocket>>, options: QmpConnectOptions) {
    this.path = options.path;
    this.#options = options;
    this.closed = new Promise((resolve) => {
      this.#onEnded = resolve;
    });
    if (options.onEvent !== undefined) {
      this.#listeners.add(options.onEvent);
    }
    const handlers = {
      onMessage: (message: QmpMessage) => this.#receive(message),
      onClosed: (reason: QmpCloseReason) => this.#end(reason),
    };
    this.#wire = new QmpWire(socket, handlers, options.onWire);
  }

  /** @internal Use connectQmp. */
  static async connect(options: QmpConnectOptions): Promise<QmpClient> {
    const enter = (state: QmpRunState): void => runStranger(() => options.onState?.(state));
    enter("connecting");
    const socket = await openSocket(options.path, options.signal).catch((error: unknown) => {
      enter("closed");
      throw error;
    });
    const client = new QmpClient(socket, options);
    try {
      await client.#greet();
      await options.approve?.();
      await client.#negotiate();
      return client;
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  get state(): QmpRunState {
    return this.#state;
  }

  /** What QEMU said first: its version and capabilities. */
  get greeting(): QmpGreeting {
    if (this.#greeting === undefined) {
      throw new QmpProtocolError("qmp.unexpected-message", "cannot tell the greeting: none has come");
    }
    return this.#greeting;
  }

  /** The commands waiting for an answer, oldest first. */
  get pendingCommands(): readonly string[] {
    return this.#pending.commands;
  }

  /**
   * Sends one command and resolves with its reply.
   *
   * @throws {QmpCommandError} QEMU refused.
   * @throws {QmpTimeoutError} no answer in time; unknown outcome if `wasSent`.
   * @throws {QmpInterruptedError} the link ended, the signal fired, or the session is not running.
   * @throws {QmpProtocolError} qmp.unexpected-reply; qmp.unsendable (nothing was sent). The session lives on.
   */
  execute<K extends QmpCommandName>(command: K, ...rest: QmpCallRest<K>): Promise<QmpResult<K>> {
    const origin = captureOrigin(this.execute);
    const [args, options = {}] = rest;
    const refusal = refuseCall(`execute ${command}`, this, options.signal);
    if (refusal !== undefined) {
      return quiet(Promise.reject(blameCaller(refusal, origin)));
    }
    try {
      return this.#call(command, args, options, origin);
    } catch (error) {
      // Arguments that cannot be formatted: they may be a stranger's words, so this is no bug of ours.
      return quiet(Promise.reject(error));
    }
  }

  /** Hears every known event until the returned function is called or the link ends. */
  onEvent(listener: QmpEventListener): () => void {
    return this.#state === "closed" ? () => undefined : this.#listeners.add(listener);
  }

  /**
   * Waits for the first such event from now on. Arm it before the command that provokes the event.
   *
   * @throws {QmpTimeoutError} @throws {QmpInterruptedError} the link ended or the signal fired.
   */
  waitFor<K extends QmpEventName>(
    name: K,
    predicate: (data: QmpEvents[K]) => boolean,
    limits: WaitLimits,
  ): Promise<QmpEventOf<K>> {
    const origin = captureOrigin(this.waitFor);
    const refusal = refuseCall(`wait for ${name}`, this, limits.signal);
    return refusal === undefined
      ? this.#listeners.waitFor(name, predicate, limits, origin)
      : quiet(Promise.reject(blameCaller(refusal, origin)));
  }

  /** Ends the link; resolves once the descriptor is gone. May be called more than once. */
  async close(): Promise<void> {
    await this.#wire.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #call<K extends QmpCommandName>(
    command: K,
    args: QmpArguments<K> | undefined,
    options: QmpCallOptions,
    origin: CallOrigin,
  ): Promise<QmpResult<K>> {
    const spec = QMP_COMMANDS[command];
    const id = this.#pending.nextId();
    const line = formatCommand(command, args, id);
    const promise = this.#pending.open<QmpResult<K>>({
      id,
      command,
      reply: spec.reply,
      origin,
      timeoutMs: options.timeoutMs ?? spec.timeoutMs,
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
      const disarm = armLimits(limits, (why) =>
        reject(explainNoGreeting(this.path, why, limits, this.#wire.unfinishedLine)),
      );
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

  async #negotiate(): Promise<void> {
    const origin = captureOrigin(QmpClient.connect);
    this.#assertOpen();
    try {
      await this.#call("qmp_capabilities", undefined, { signal: this.#options.signal }, origin);
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
      case "event":
        this.#receiveEvent(message.event);
        return;
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

  #receiveEvent(raw: RawQmpEvent): void {
    const event = recognizeEvent(raw);
    if (event === undefined) {
      this.#passOver({ kind: "event", event: raw });
      return;
    }
    this.#listeners.dispatch(event);
  }

  #receiveAnswer(answer: QmpAnswer): void {
    const settlement = this.#pending.settle(answer);
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
    this.#pending.interruptAll(why, cause);
    this.#listeners.interruptAll(why, cause);
    this.#onEnded(reason);
  }

  #enter(state: QmpRunState): void {
    this.#state = state;
    runStranger(() => this.#options.onState?.(state));
  }
}
