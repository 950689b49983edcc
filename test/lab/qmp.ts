/**
 * A very small QMP client: enough for the lab, and on purpose not the client under test.
 * It writes nothing before the greeting (facts.md 6), keeps every event, and rejects whatever is pending when the link ends.
 */
import { connect, type Socket } from "node:net";

export interface QmpCommand {
  readonly execute: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
}

export type QmpReply =
  | { readonly return: unknown }
  | { readonly error: { readonly class: string; readonly desc: string } };

export interface QmpEvent {
  readonly event: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

interface Waiter {
  readonly isWanted: (event: QmpEvent) => boolean;
  readonly resolve: (event: QmpEvent) => void;
  readonly reject: (error: Error) => void;
}

interface Pending {
  readonly resolve: (reply: QmpReply) => void;
  readonly reject: (error: Error) => void;
}

/** Called with every line sent ("C") and received ("S"). */
export type QmpTap = (side: "C" | "S", line: string) => void;

/** One connection to one monitor. The caller closes it. */
export class QmpLink {
  readonly #socket: Socket;
  readonly #tap: QmpTap;
  readonly #pending = new Map<number, Pending>();
  readonly #waiters = new Set<Waiter>();
  #greeted: (() => void) | undefined;
  #nextId = 1;
  #rest = "";
  #ended: Error | undefined;

  private constructor(socket: Socket, tap: QmpTap) {
    this.#socket = socket;
    this.#tap = tap;
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => this.#onData(chunk));
    socket.on("error", (error) => this.#onEnd(error));
    socket.on("close", () => this.#onEnd(new Error("the monitor closed the connection")));
  }

  /** Connects, waits for the greeting and negotiates. Rejects after `deadlineMs`. */
  static async open(path: string, deadlineMs: number, tap: QmpTap = () => undefined): Promise<QmpLink> {
    const link = new QmpLink(connect(path), tap);
    const greeting = new Promise<void>((resolve, reject) => {
      link.#greeted = resolve;
      link.#pending.set(0, { resolve: () => resolve(), reject });
    });
    try {
      await within(greeting, deadlineMs, `no greeting from ${path}`);
      link.#pending.delete(0);
      await link.execute({ execute: "qmp_capabilities" }, deadlineMs);
      return link;
    } catch (error) {
      link.close();
      throw error;
    }
  }

  /** Sends one command; QEMU's refusal is a value, a broken link or a missed deadline is thrown. */
  async send(command: QmpCommand, deadlineMs: number): Promise<QmpReply> {
    if (this.#ended !== undefined) throw this.#ended;
    const id = this.#nextId++;
    const reply = new Promise<QmpReply>((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    const line = JSON.stringify({ ...command, id });
    this.#tap("C", line);
    this.#socket.write(`${line}\n`);
    try {
      return await within(reply, deadlineMs, `no answer to ${command.execute}`);
    } finally {
      this.#pending.delete(id);
    }
  }

  /** Sends one command and gives its return value; throws QEMU's refusal. */
  async execute(command: QmpCommand, deadlineMs: number): Promise<unknown> {
    const reply = await this.send(command, deadlineMs);
    if ("error" in reply) throw new Error(`QEMU refused ${command.execute}: ${reply.error.desc}`);
    return reply.return;
  }

  /** Arms a wait for an event; call it before the command that causes the event. */
  event(isWanted: (event: QmpEvent) => boolean, deadlineMs: number, what: string): Promise<QmpEvent> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    let waiter: Waiter | undefined;
    const wanted = new Promise<QmpEvent>((resolve, reject) => {
      waiter = { isWanted, resolve, reject };
      this.#waiters.add(waiter);
    });
    return within(wanted, deadlineMs, `no ${what}`).finally(() => waiter && this.#waiters.delete(waiter));
  }

  close(): void {
    this.#socket.destroy();
  }

  #onData(chunk: string): void {
    const lines = (this.#rest + chunk).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") this.#onLine(line.trim());
  }

  #onLine(line: string): void {
    this.#tap("S", line);
    const message = JSON.parse(line) as Record<string, unknown>;
    if ("QMP" in message) this.#greeted?.();
    else if ("event" in message) this.#onEvent(message as unknown as QmpEvent);
    else this.#pending.get(Number(message["id"]))?.resolve(message as unknown as QmpReply);
  }

  #onEvent(event: QmpEvent): void {
    for (const waiter of [...this.#waiters]) if (waiter.isWanted(event)) waiter.resolve(event);
  }

  #onEnd(error: Error): void {
    this.#ended ??= error;
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    for (const { reject } of this.#waiters) reject(this.#ended);
    this.#pending.clear();
    this.#waiters.clear();
  }
}

/** Settles as `promise` does, or rejects with `complaint` after `deadlineMs`. */
export function within<T>(promise: Promise<T>, deadlineMs: number, complaint: string): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${complaint} within ${deadlineMs} ms`)), deadlineMs);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
