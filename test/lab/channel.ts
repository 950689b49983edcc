/**
 * The runner's half of the channel into the L1 machine. It listens before QEMU starts, because QEMU connects to it;
 * every request has a deadline on this side too, and all are rejected when the machine goes away.
 */
import { appendFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import type { Answer, Hello, OperationName, Operations } from "./protocol.js";
import { within } from "./qmp.js";

/** Time that an answer may take beyond the deadline that the machine itself keeps. */
const graceMs = 20_000;

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Requests into one L1 machine. */
export class Channel {
  readonly #server: Server;
  readonly #logPath: string;
  readonly #pending = new Map<number, Pending>();
  readonly #hello: Promise<Hello["hello"]>;
  #greet: (hello: Hello["hello"]) => void = () => undefined;
  #refuse: (error: Error) => void = () => undefined;
  #socket: Socket | undefined;
  #ended: Error | undefined;
  #rest = "";
  #nextId = 1;

  private constructor(server: Server, logPath: string) {
    this.#server = server;
    this.#logPath = logPath;
    this.#hello = new Promise((resolve, reject) => {
      this.#greet = resolve;
      this.#refuse = reject;
    });
    this.#hello.catch(() => undefined);
    server.on("connection", (socket) => {
      this.#socket = socket.setEncoding("utf8");
      socket.on("data", (chunk: string) => this.#onData(chunk));
      socket.on("error", () => undefined);
      socket.on("close", () => this.end(new Error("the channel into the machine was closed")));
    });
  }

  /** Listens on `path`; all traffic is written to `logPath`, one JSON object per line. */
  static async listen(path: string, logPath: string): Promise<Channel> {
    const server = createServer();
    await new Promise<void>((resolve, reject) => server.on("error", reject).listen(path, resolve));
    return new Channel(server, logPath);
  }

  /** Resolves when the server inside has said its first line. */
  hello(deadlineMs: number): Promise<Hello["hello"]> {
    return within(this.#hello, deadlineMs, "the machine did not answer");
  }

  /** Asks for one operation. Rejects when the machine refuses, ends, or does not answer in time. */
  ask<K extends OperationName>(op: K, args: Operations[K]["args"]): Promise<Operations[K]["result"]> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const id = this.#nextId++;
    const answer = new Promise<unknown>((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    const line = JSON.stringify({ id, op, args });
    this.#log(">", line);
    this.#socket?.write(`${line}\n`);
    const deadlineMs = "deadlineMs" in args ? args.deadlineMs : 0;
    return within(answer, deadlineMs + graceMs, `no answer to ${op} from the machine`) as Promise<
      Operations[K]["result"]
    >;
  }

  /** Rejects all that is pending and all that is asked from now on. */
  end(error: Error): void {
    this.#ended ??= error;
    this.#refuse(this.#ended);
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
    this.#socket?.destroy();
    this.#server.close();
  }

  #onData(chunk: string): void {
    const lines = (this.#rest + chunk).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      this.#log("<", line);
      this.#onMessage(JSON.parse(line) as Answer | Hello);
    }
  }

  #onMessage(message: Answer | Hello): void {
    if ("hello" in message) {
      this.#greet(message.hello);
      return;
    }
    const pending = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    if ("error" in message) pending?.reject(new Error(message.error));
    else pending?.resolve(message.result);
  }

  #log(side: string, line: string): void {
    appendFileSync(this.#logPath, `${new Date().toISOString()} ${side} ${line}\n`);
  }
}
