/**
 * Lines to messages and commands to lines: the QMP envelope (QEMU's QMP specification, section "Protocol").
 *
 * Checks only what the client relies on: which of the four kinds a message is, its id, its payload's place.
 * Payloads are understood later, by the guard of the command or event they belong to. Pure.
 */

import { messageOf } from "../base/error.js";
import { printable, QmpProtocolError } from "./errors.js";
import type { RawQmpEvent } from "./events.js";
import { integer, listOf, objectOf, record, ShapeError, text } from "./guard.js";
import { formatJson, type JsonValue, parseJson } from "./json.js";
import { type VersionInfo, versionInfo } from "./results.js";

/** The first thing a QMP server says. */
export interface QmpGreeting {
  readonly version: VersionInfo;
  /** Offered, not enabled. */
  readonly capabilities: readonly string[];
}

/** One message from QEMU. `id` is whatever the wire echoed; undefined when it has none. */
export type QmpMessage =
  | { readonly kind: "greeting"; readonly greeting: QmpGreeting }
  | { readonly kind: "reply"; readonly id: unknown; readonly value: unknown }
  | { readonly kind: "error"; readonly id: unknown; readonly qmpClass: string; readonly desc: string }
  | { readonly kind: "event"; readonly event: RawQmpEvent };

const greetingBody = objectOf<QmpGreeting>({ version: versionInfo, capabilities: listOf(text) });
const errorBody = objectOf<{ readonly class: string; readonly desc: string }>({ class: text, desc: text });
const timestamp = objectOf<{ readonly seconds: number; readonly microseconds: number }>({
  seconds: integer,
  microseconds: integer,
});

const QUOTED_LENGTH = 80;

/**
 * Understands one line.
 *
 * @throws {QmpProtocolError} qmp.pretty, qmp.malformed (not one JSON object), qmp.unexpected-message.
 */
export function parseMessage(line: string): QmpMessage {
  if (line.trim() === "{") {
    throw new QmpProtocolError(
      "qmp.pretty",
      "cannot read from QMP: this monitor spreads a message over many lines; remove pretty=on from its -mon option, or use -qmp in place of -qmp-pretty",
    );
  }
  const message = parseObject(line);
  try {
    return classify(message);
  } catch (cause) {
    throw unexpected(line, messageOf(cause), cause);
  }
}

/** Formats one command as the line to send, its end included. @throws {QmpProtocolError} qmp.unsendable. */
export function formatCommand(command: string, args: JsonValue | undefined, id: number): string {
  return `${formatJson({ execute: command, arguments: args, id })}\n`;
}

function parseObject(line: string): Readonly<Record<string, unknown>> {
  try {
    return record(parseJson(line), "message");
  } catch (cause) {
    throw new QmpProtocolError("qmp.malformed", `cannot read from QMP: not a JSON object: ${quote(line)}`, {
      cause,
    });
  }
}

function classify(message: Readonly<Record<string, unknown>>): QmpMessage {
  if (Object.hasOwn(message, "return")) {
    return { kind: "reply", id: message["id"], value: message["return"] };
  }
  if (Object.hasOwn(message, "error")) {
    const body = errorBody(message["error"], "error");
    return { kind: "error", id: message["id"], qmpClass: body.class, desc: body.desc };
  }
  if (Object.hasOwn(message, "event")) {
    return { kind: "event", event: parseEvent(message) };
  }
  if (Object.hasOwn(message, "QMP")) {
    return { kind: "greeting", greeting: greetingBody(message["QMP"], "QMP") };
  }
  throw new ShapeError("message", "a greeting, reply, error or event");
}

function parseEvent(message: Readonly<Record<string, unknown>>): RawQmpEvent {
  const data = Object.hasOwn(message, "data") ? record(message["data"], "data") : {};
  return { name: text(message["event"], "event"), data, timestampMs: parseTimestamp(message["timestamp"]) };
}

/** QEMU writes -1 for both parts when it cannot read the clock. */
function parseTimestamp(value: unknown): number | undefined {
  const { seconds, microseconds } = timestamp(value, "timestamp");
  return seconds < 0 ? undefined : seconds * 1000 + microseconds / 1000;
}

function unexpected(line: string, why: string, cause: unknown): QmpProtocolError {
  return new QmpProtocolError(
    "qmp.unexpected-message",
    `cannot understand a QMP message: ${printable(why, QUOTED_LENGTH)}: ${quote(line)}`,
    { cause },
  );
}

function quote(line: string): string {
  return `"${printable(line, QUOTED_LENGTH)}"`;
}
