/**
 * What can break between us and a QEMU monitor, cut by what the caller does next:
 *
 *   QmpConnectError      no link came to be: look at `code`, try again later
 *   QmpInterruptedError  the link died under a call: outcome unknown, observe again
 *   QmpTimeoutError      no answer in time: outcome unknown, observe again
 *   QmpCommandError      QEMU said no: decide by `qmpClass`; texts are read in qemu/refusal.ts only
 *   QmpProtocolError     what arrived is not what QMP promises: the link is dropped
 *   QmpEventsLostError   a reader of events was too slow: observe again
 *
 * Every error about a call carries the stack of the caller, not of the socket.
 */

import { AgentError } from "../base/error.js";
import type { QmpSilence } from "./socket-table.js";

/** Why no session came to be (facts.md 6). */
export type QmpConnectCode =
  /** No such socket file (ENOENT): the VM never ran or ended in good order. */
  | "qmp.absent"
  /** A socket file nobody listens on (ECONNREFUSED): the QEMU process was killed. */
  | "qmp.refused"
  /** Connected, but no answer within the deadline; `silence` says how much is known of the reason. */
  | "qmp.busy-or-silent"
  /** The listen queue is full (EAGAIN): others wait for this monitor already. Back off. */
  | "qmp.backlog-full"
  /** EACCES or EPERM on the socket or a folder above it. */
  | "qmp.not-permitted"
  /** More bytes than a unix socket address holds; Node would cut it silently. */
  | "qmp.path-too-long"
  /** Whatever listens there does not greet as a QMP server. */
  | "qmp.not-qmp"
  /** The peer hung up before the session was negotiated. */
  | "qmp.hung-up"
  /** QEMU refused or broke off the negotiation. */
  | "qmp.negotiation-failed"
  /** Our own side gave up (AbortSignal). */
  | "qmp.aborted"
  /** Another errno: see `cause`. */
  | "qmp.connect-failed";

/** How a peer broke the protocol. */
export type QmpProtocolCode =
  /** The monitor was started with `pretty=on`. */
  | "qmp.pretty"
  /** A line that is not one JSON object. */
  | "qmp.malformed"
  /** A line over the frame cap. */
  | "qmp.frame-too-long"
  /** A JSON object that is no greeting, reply, error or event, or one at the wrong time. */
  | "qmp.unexpected-message"
  /** QEMU could not even read an id from what we sent, so no call can be blamed. */
  | "qmp.error-without-id"
  /** Arguments that QEMU's parser would refuse; nothing was sent. Only this call fails; the link lives on. */
  | "qmp.unsendable"
  /** The answer to one call has not the documented shape. Only this call fails; the link lives on. */
  | "qmp.unexpected-reply";

/** No session came to be; nothing was executed. */
export class QmpConnectError extends AgentError<QmpConnectCode> {
  readonly path: string;
  /** Only with qmp.busy-or-silent before the greeting: why nothing was said. */
  readonly silence: QmpSilence | undefined;

  constructor(
    code: QmpConnectCode,
    path: string,
    why: string,
    options: {
      cause?: unknown;
      context?: Readonly<Record<string, unknown>>;
      silence?: QmpSilence | undefined;
    } = {},
  ) {
    super(code, `cannot connect to QMP socket ${printable(path)}: ${why}`, {
      cause: options.cause,
      context: { path, ...options.context },
    });
    this.path = path;
    this.silence = options.silence;
  }
}

/** The peer does not speak the protocol. */
export class QmpProtocolError extends AgentError<QmpProtocolCode> {}

/** The link ended, or the caller gave up, before the answer or event came. */
export class QmpInterruptedError extends AgentError<"qmp.disconnected" | "qmp.aborted" | "qmp.not-running"> {
  /** False when nothing reached QEMU for certain; true means the outcome is unknown. */
  readonly wasSent: boolean;

  constructor(
    code: "qmp.disconnected" | "qmp.aborted" | "qmp.not-running",
    message: string,
    options: { wasSent: boolean; cause?: unknown; context?: Readonly<Record<string, unknown>> },
  ) {
    super(code, message, options);
    this.wasSent = options.wasSent;
  }
}

/** No answer or event within the deadline; a command that was sent may still be carried out. */
export class QmpTimeoutError extends AgentError<"qmp.timeout"> {
  /** False when nothing reached QEMU for certain; true means the outcome is unknown. */
  readonly wasSent: boolean;

  constructor(message: string, options: { wasSent: boolean; context?: Readonly<Record<string, unknown>> }) {
    super("qmp.timeout", message, options);
    this.wasSent = options.wasSent;
  }
}

/** A reader of events fell behind by a whole buffer: events were lost, so the state must be read again. */
export class QmpEventsLostError extends AgentError<"qmp.events-lost"> {
  constructor(bufferSize: number) {
    super(
      "qmp.events-lost",
      `cannot keep QMP events: ${bufferSize} wait to be read already; read faster or raise bufferSize`,
      { context: { bufferSize } },
    );
  }
}

/** QEMU's error reply to one command. */
export class QmpCommandError extends AgentError<"qmp.command-failed"> {
  readonly command: string;
  /** The wire's `class`: mostly GenericError, DeviceNotFound or CommandNotFound. */
  readonly qmpClass: string;
  /** The wire's `desc`, unchanged: for people, not an interface. */
  readonly desc: string;

  constructor(command: string, qmpClass: string, desc: string) {
    super("qmp.command-failed", `cannot execute ${command}: ${printable(desc)} (${printable(qmpClass)})`, {
      context: { command, qmpClass, desc },
    });
    this.command = command;
    this.qmpClass = qmpClass;
    this.desc = desc;
  }
}

/** Where a call came from: captured when it was made, formatted only if it fails. */
export interface CallOrigin {
  readonly stack?: string;
}

/** Captures the stack above `entry`, the public function that was called. */
export function captureOrigin(entry: (...args: never[]) => unknown): CallOrigin {
  const origin: { stack?: string } = {};
  Error.captureStackTrace(origin, entry);
  return origin;
}

/** Gives a fresh error the stack of the call it belongs to; returns the same error. */
export function blameCaller<E extends Error>(error: E, origin: CallOrigin): E {
  const frames = origin.stack?.split("\n").slice(1).join("\n") ?? "";
  error.stack = `${error.name}: ${error.message}\n${frames}`;
  return error;
}

const MAX_QUOTED_LENGTH = 400;

/** Text of a stranger made fit for a message: control characters escaped, length bounded. */
export function printable(text: string, maxLength = MAX_QUOTED_LENGTH): string {
  const cut = text.length > maxLength ? `${text.slice(0, maxLength)}...` : text;
  return cut.replace(/[\p{Cc}\p{Cf}\p{Surrogate}\u2028\u2029]/gu, escapeCharacter);
}

function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
