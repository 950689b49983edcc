/**
 * The operational log: what the agent tells whoever watches it now. winston, to one stream (standard error).
 *
 * A line for people on a terminal, one JSON object per line otherwise. Texts from the host, QEMU and guests come out
 * escaped. A log that cannot be written is lost; it never stops the agent, and it proves nothing: that is the audit.
 */
import winston from "winston";
import { AgentError } from "../base/error.js";
import { printable } from "../base/printable.js";

/** From the fewest lines to the most. */
const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What a line says beside its sentence. Errors are written as their code and message. */
type LogFields = Readonly<Record<string, unknown>>;

export type Log = { readonly [L in LogLevel]: (message: string, fields?: LogFields) => void } & {
  /** Resolves when everything logged so far was handed to the stream, which stays open; later lines are lost. */
  readonly close: () => Promise<void>;
};

export interface LogOptions {
  readonly level: LogLevel;
  readonly stream: NodeJS.WritableStream;
  /** Whether a person reads along. */
  readonly isTty: boolean;
  /** Milliseconds since the epoch; by default the clock's. */
  readonly now?: () => number;
}

/** One line before it is written down. */
interface LogLine {
  readonly atMs: number;
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

const MESSAGE = Symbol.for("message");
const LONGEST_LEVEL = 5;
const SECONDS = { from: "1970-01-01T".length, to: "1970-01-01T00:00:00.000".length } as const;
const NEEDS_QUOTES = /^$|[\s="]/;

/** Whether a text is the name of a level. */
export function isLogLevel(text: string): text is LogLevel {
  return (LOG_LEVELS as readonly string[]).includes(text);
}

/** Opens the log. The stream is not closed with it. */
export function createLog(options: LogOptions): Log {
  const { level, stream, isTty, now = Date.now } = options;
  // Stays for good: a reader that went away (EPIPE) is told of late, and must not end the agent.
  stream.on("error", () => undefined);
  const format = winston.format((info) => {
    const line = info["line"] as LogLine;
    return { ...info, [MESSAGE]: isTty ? formatForPeople(line) : formatAsJson(line) };
  });
  const transport = new winston.transports.Stream({ stream, eol: "\n" });
  const logger = winston.createLogger({
    level,
    levels: Object.fromEntries(LOG_LEVELS.map((name, rank) => [name, rank])),
    format: format(),
    transports: [transport],
  });
  let closed: Promise<void> | null = null;
  const at =
    (name: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      if (closed !== null) {
        return;
      }
      const line: LogLine = { atMs: now(), level: name, message, fields };
      logger.log({ level: name, message, line });
    };
  return {
    error: at("error"),
    warn: at("warn"),
    info: at("info"),
    debug: at("debug"),
    close: () => {
      closed ??= new Promise((resolve) => {
        transport.once("finish", () => resolve());
        logger.end();
      });
      return closed;
    },
  };
}

/** Time of day, level, sentence, fields. */
function formatForPeople({ atMs, level, message, fields }: LogLine): string {
  const time = new Date(atMs).toISOString().slice(SECONDS.from, SECONDS.to);
  const pairs = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${formatValue(plain(value))}`);
  return printable(`${time} ${level.padEnd(LONGEST_LEVEL)} ${message}${pairs.join("")}`);
}

function formatValue(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  return typeof value === "string" && NEEDS_QUOTES.test(text) ? JSON.stringify(text) : text;
}

/** One JSON object; the fields stand beside `at`, `level` and `message`, which they cannot replace. */
function formatAsJson({ atMs, level, message, fields }: LogLine): string {
  const facts = Object.entries(fields).map(([key, value]) => [key, plain(value)]);
  const head = { at: new Date(atMs).toISOString(), level, message };
  return printable(JSON.stringify({ ...head, ...Object.fromEntries(facts), ...head }));
}

function plain(value: unknown): unknown {
  if (value instanceof AgentError) {
    return `${value.message} (${value.code})`;
  }
  return value instanceof Error ? (value.stack ?? value.message) : value;
}
