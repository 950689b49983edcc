/**
 * Plays QEMU's part of a recording (recording.ts) on a unix socket, so that a program can be tried without QEMU.
 *
 * Strict and without a clock: what QEMU said is said as soon as every command recorded before it has been heard, in
 * order. A client that says anything else is hung up on, and `deviations` tells why.
 */

import { createServer, type Server, type Socket } from "node:net";
import { printable } from "./errors.js";
import { FrameSplitter } from "./framing.js";
import { formatJson, type JsonValue, parseJson } from "./json.js";

/** One message of a recording; integers beyond 2^53 are bigint. `<closed>` is the end of the link. */
export interface RecordedMessage {
  readonly dir: "client" | "server";
  readonly msg: JsonValue;
}

/** What passed over one connection, from the greeting to its end. */
export type RecordedConnection = readonly RecordedMessage[];

/**
 * Cuts the text of a recording into its connections; notes are passed over.
 *
 * @throws {SyntaxError} a line is not JSON.
 */
export function parseWireRecording(text: string): RecordedConnection[] {
  const connections: RecordedMessage[][] = [];
  for (const line of text.split("\n").filter((row) => row.trim() !== "")) {
    const { dir, msg } = parseJson(line) as { dir: string; msg: JsonValue };
    if (dir === "server" && memberOf(msg, "QMP") !== undefined) {
      connections.push([]);
    }
    if (dir === "client" || dir === "server") {
      connections.at(-1)?.push({ dir, msg });
    }
  }
  return connections;
}

/** A socket on which recorded connections are played, one after the other. The caller disposes it. */
export interface WireReplay extends AsyncDisposable {
  readonly path: string;
  /** How clients departed from the recording, one sentence each. */
  readonly deviations: readonly string[];
}

/**
 * Listens on `path` and plays the first connection to the first client, the next to the next; further ones are hung up on.
 *
 * @throws {Error} the socket cannot be made (EADDRINUSE, EACCES).
 */
export async function startWireReplay(
  path: string,
  connections: readonly RecordedConnection[],
): Promise<WireReplay> {
  const left = [...connections];
  const sockets = new Set<Socket>();
  const deviations: string[] = [];
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => undefined);
    new Player(socket, left.shift() ?? [], (what) => deviations.push(what)).play();
  });
  await listening(server, path);
  return {
    path,
    deviations,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) {
        socket.destroy();
      }
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** One connection being played. */
class Player {
  readonly #socket: Socket;
  readonly #messages: RecordedMessage[];
  readonly #deviate: (what: string) => void;
  readonly #splitter = new FrameSplitter();
  /** Recorded id -> the id of the living call. */
  readonly #ids = new Map<unknown, JsonValue>();

  constructor(socket: Socket, connection: RecordedConnection, deviate: (what: string) => void) {
    this.#socket = socket;
    this.#messages = [...connection];
    this.#deviate = deviate;
    socket.on("data", (chunk: Buffer) => this.#hear(chunk));
  }

  /** Says everything up to the next command that must be heard first. */
  play(): void {
    while (this.#messages[0]?.dir === "server") {
      const msg = this.#messages.shift()?.msg;
      if (!isObject(msg)) {
        break;
      }
      const id = this.#ids.get(idKey(msg));
      this.#socket.write(`${formatJson(id === undefined ? msg : { ...msg, id })}\r\n`);
    }
    if (this.#messages.length === 0 || this.#messages[0]?.dir === "server") {
      this.#socket.end();
    }
  }

  #hear(chunk: Buffer): void {
    try {
      for (const line of this.#splitter.push(chunk)) {
        this.#take(line);
      }
    } catch (cause) {
      this.#fail(`cannot replay: what came is no command: ${String(cause)}`);
    }
  }

  #take(line: string): void {
    const heard = parseJson(line) as JsonValue;
    const expected = this.#messages[0];
    if (expected?.dir !== "client" || sentence(heard) !== sentence(expected.msg)) {
      const due = expected?.dir === "client" ? printable(sentence(expected.msg)) : "nothing";
      this.#fail(`cannot replay: heard ${printable(sentence(heard))} where the recording has ${due}`);
      return;
    }
    this.#messages.shift();
    this.#ids.set(idKey(expected.msg), memberOf(heard, "id") ?? null);
    this.play();
  }

  #fail(what: string): void {
    this.#deviate(what);
    this.#socket.destroy();
  }
}

/** A command without its id, its members in one order. */
function sentence(command: JsonValue): string {
  const { execute = null, arguments: args } = isObject(command) ? command : {};
  return `${typeof execute === "string" ? execute : formatJson(execute)} ${formatJson(inOrder(args ?? {}))}`;
}

function inOrder(value: JsonValue): JsonValue {
  if (Array.isArray(value)) {
    return value.map((item: JsonValue) => inOrder(item));
  }
  if (!isObject(value)) {
    return value;
  }
  const names = Object.keys(value).sort();
  return Object.fromEntries(names.map((name) => [name, inOrder(value[name] ?? null)]));
}

/** Ids may be any JSON value; one text for equal ones. */
function idKey(message: JsonValue): string | undefined {
  const id = memberOf(message, "id");
  return id === undefined ? undefined : formatJson(id);
}

function memberOf(value: JsonValue, name: string): JsonValue | undefined {
  return isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

function isObject(
  value: JsonValue | undefined,
): value is { readonly [member: string]: JsonValue | undefined } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
