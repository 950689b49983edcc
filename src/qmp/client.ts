/**
 * The client: what a program says to one QEMU monitor and hears from it.
 *
 * Never reconnects: a new session is a new client, because events are lost in between and the state must be read again.
 */

import { DEFAULT_TIMEOUT_MS, QMP_COMMANDS, type QmpCommandName, type QmpResult } from "./commands.js";
import type { WaitLimits } from "./deadline.js";
import { captureOrigin } from "./errors.js";
import { EventStream, type QmpEventIterator, type QmpEventsOptions } from "./event-stream.js";
import {
  isQmpEvent,
  type QmpEvent,
  type QmpEventName,
  type QmpEventOf,
  type QmpEvents,
  type RawQmpEvent,
} from "./events.js";
import { anything, type Guard } from "./guard.js";
import type { QmpEventListener, RawQmpEventListener } from "./listeners.js";
import type { QmpCallRest, QmpConnectOptions, RawArguments, RawCallOptions } from "./options.js";
import type { QmpGreeting } from "./protocol.js";
import type { QmpRunState } from "./run-state.js";
import { openSession, type QmpSession } from "./session.js";
import type { QmpCloseReason } from "./wire.js";

/**
 * Connects to a QMP socket, waits for its greeting and negotiates. The caller owns the client and closes it.
 *
 * @throws {QmpConnectError} see QmpConnectCode.
 * @throws {QmpProtocolError} qmp.pretty: the monitor was started with pretty=on.
 */
export async function connectQmp(options: QmpConnectOptions): Promise<QmpClient> {
  return new QmpClient(await openSession(options, captureOrigin(connectQmp)));
}

/** A negotiated session. Made by connectQmp. */
export class QmpClient implements AsyncDisposable {
  readonly #session: QmpSession;

  /** @internal Use connectQmp. */
  constructor(session: QmpSession) {
    this.#session = session;
  }

  get path(): string {
    return this.#session.path;
  }

  /** Where the session stands: `running` (ready for calls) or `closed`; onState hears the states before these. */
  get state(): QmpRunState {
    return this.#session.state;
  }

  /** Resolves, never rejects, once the link has ended and all calls and waiters were rejected. */
  get closed(): Promise<QmpCloseReason> {
    return this.#session.closed;
  }

  /** Why the link ended; undefined while it stands. */
  get closeReason(): QmpCloseReason | undefined {
    return this.#session.closeReason;
  }

  /** What QEMU said first: its version and capabilities. */
  get greeting(): QmpGreeting {
    return this.#session.greeting;
  }

  /** The commands waiting for an answer, oldest first. */
  get pendingCommands(): readonly string[] {
    return this.#session.pending.commands;
  }

  /**
   * Sends one command of QMP_COMMANDS and resolves with its reply, checked.
   *
   * @throws {QmpCommandError} QEMU refused.
   * @throws {QmpTimeoutError} no answer in time; unknown outcome if `wasSent`.
   * @throws {QmpInterruptedError} the link ended, the signal fired, or the session is not running.
   * @throws {QmpProtocolError} qmp.unexpected-reply; qmp.unsendable (nothing was sent). The session lives on.
   */
  execute<K extends QmpCommandName>(command: K, ...rest: QmpCallRest<K>): Promise<QmpResult<K>> {
    const [args, options = {}] = rest;
    // Plain JavaScript may name any command: QEMU says whether it exists.
    const spec = Object.hasOwn(QMP_COMMANDS, command) ? QMP_COMMANDS[command] : undefined;
    const reply = spec?.reply ?? (anything as Guard<QmpResult<K>>);
    const timeoutMs = spec?.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const origin = captureOrigin(this.execute);
    return this.#session.call<QmpResult<K>>({ command, args, reply, timeoutMs, options, origin });
  }

  /**
   * Sends any command. `R` is the caller's word for the reply unless `options.check` proves it. Deadline 5,000 ms.
   *
   * @throws {Error} the same as execute.
   */
  executeRaw<R = unknown>(command: string, args?: RawArguments, options: RawCallOptions<R> = {}): Promise<R> {
    const reply = (options.check ?? anything) as Guard<R>;
    const origin = captureOrigin(this.executeRaw);
    return this.#session.call({ command, args, reply, timeoutMs: DEFAULT_TIMEOUT_MS, options, origin });
  }

  /** Hears every known event until the returned function is called or the link ends. */
  onEvent(listener: QmpEventListener): () => void {
    return this.state === "closed" ? () => undefined : this.#session.listeners.add(listener);
  }

  /** Hears every event as it stands on the wire, known or not, until the returned function is called or the link ends. */
  onRawEvent(listener: RawQmpEventListener): () => void {
    return this.state === "closed" ? () => undefined : this.#session.listeners.addRaw(listener);
  }

  /**
   * The known events from this call on, for one reader. Ends with the link, after what was buffered; `return()`, and so
   * leaving a `for await`, stops listening.
   *
   * @throws {QmpEventsLostError} from `next()`: the reader fell behind by `bufferSize` events.
   * @throws {QmpInterruptedError} from `next()`: qmp.aborted.
   */
  events(options: QmpEventsOptions = {}): QmpEventIterator<QmpEvent> {
    const stream = new EventStream<QmpEvent>(options, captureOrigin(this.events));
    return stream.open((hear, end) => this.#session.listeners.add(hear, end), this.state === "closed");
  }

  /** The same for every event as it stands on the wire. */
  rawEvents(options: QmpEventsOptions = {}): QmpEventIterator<RawQmpEvent> {
    const stream = new EventStream<RawQmpEvent>(options, captureOrigin(this.rawEvents));
    return stream.open((hear, end) => this.#session.listeners.addRaw(hear, end), this.state === "closed");
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
    const pick = (_raw: RawQmpEvent, known: QmpEvent | undefined): QmpEventOf<K> | undefined =>
      known !== undefined && isQmpEvent(known, name) && predicate(known.data) ? known : undefined;
    return this.#session.waitFor({ ...limits, name, pick, origin: captureOrigin(this.waitFor) });
  }

  /** The same for an event of any name; `predicate` gets its data unchecked. */
  waitForRaw(
    name: string,
    predicate: (data: RawQmpEvent["data"]) => boolean,
    limits: WaitLimits,
  ): Promise<RawQmpEvent> {
    const pick = (raw: RawQmpEvent): RawQmpEvent | undefined =>
      raw.name === name && predicate(raw.data) ? raw : undefined;
    return this.#session.waitFor({ ...limits, name, pick, origin: captureOrigin(this.waitForRaw) });
  }

  /** Ends the link; resolves once the descriptor is gone. May be called more than once. */
  async close(): Promise<void> {
    await this.#session.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
