/**
 * What a caller may ask of a session and hear from it. Types only.
 */

import type { QmpArguments, QmpCommandName } from "./commands.js";
import type { RawQmpEvent } from "./events.js";
import type { JsonValue } from "./json.js";
import type { QmpEventListener } from "./listeners.js";
import type { QmpAnswer } from "./pending.js";
import type { QmpRunState } from "./run-state.js";
import type { WireTap } from "./wire.js";

/** What came over the wire and is passed over: for the debug log. (onRawEvent hears all events.) */
export type QmpUnknown =
  /** An event this program does not know, or one whose data has another shape. */
  | { readonly kind: "event"; readonly event: RawQmpEvent }
  /** The answer to a call that was given up: now its outcome is known. */
  | { readonly kind: "late-answer"; readonly command: string; readonly answer: QmpAnswer }
  /** An answer to nothing we ever asked. */
  | { readonly kind: "stray-answer"; readonly answer: QmpAnswer };

export interface QmpConnectOptions {
  /** Path of the unix socket of a `-qmp` (or `-mon mode=control`) option, at most 107 bytes. */
  readonly path: string;
  /** How long the greeting is waited for, milliseconds; a busy monitor stays silent. Default 5,000. */
  readonly greetingTimeoutMs?: number | undefined;
  /** Called once greeted, before anything is sent; where it rejects, nothing ever is, and connectQmp rejects so too. */
  readonly approve?: (() => Promise<void>) | undefined;
  /** How long QEMU may take to answer the negotiation after its greeting, milliseconds. Default 5,000. */
  readonly negotiationTimeoutMs?: number | undefined;
  /** Gives up connecting. Has no effect once the promise of connectQmp has resolved. */
  readonly signal?: AbortSignal | undefined;
  /** The longest line accepted, bytes; a longer one ends the link (qmp.frame-too-long). Default 10,000,000. */
  readonly maxFrameBytes?: number | undefined;
  /** Hears every known event from the very first; a listener added after connectQmp may miss one. */
  readonly onEvent?: QmpEventListener | undefined;
  /** Hears each run state as it is entered. */
  readonly onState?: ((state: QmpRunState) => void) | undefined;
  /** Hears what is passed over. */
  readonly onUnknown?: ((unknown: QmpUnknown) => void) | undefined;
  /** Sees the raw wire; see recording.ts. */
  readonly onWire?: WireTap | undefined;
}

export interface QmpCallOptions {
  /** Milliseconds. Default: the command's own deadline in QMP_COMMANDS. */
  readonly timeoutMs?: number | undefined;
  /** Gives up waiting; a command that was sent may be carried out all the same. */
  readonly signal?: AbortSignal | undefined;
}

/** The arguments of a command this package does not know. */
export type RawArguments = { readonly [name: string]: JsonValue | undefined };

export interface RawCallOptions<R> extends QmpCallOptions {
  /** Returns the reply as an R or throws, which the call reports as qmp.unexpected-reply. */
  readonly check?: ((reply: unknown) => R) | undefined;
}

/** The parameters of `execute` after the command: arguments may be left out where all of them may. */
export type QmpCallRest<K extends QmpCommandName> =
  Record<never, never> extends QmpArguments<K>
    ? [args?: QmpArguments<K>, options?: QmpCallOptions]
    : [args: QmpArguments<K>, options?: QmpCallOptions];
