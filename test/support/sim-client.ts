/** A bare QMP client for tests of the simulated QEMU: no checks, no deadlines of its own, everything kept. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";

export type Message = Readonly<Record<string, unknown>>;

const HANG_GUARD_MS = 10_000;

/** A connection and everything that came over it. */
export class SimClient {
  readonly socket: Socket;
  readonly messages: Message[] = [];
  /** Raw text, for what is not a message. */
  text = "";
  isClosed = false;
  readonly #changed = new Set<() => void>();
  #ids = 0;
  #rest = "";

  constructor(path: string) {
    this.socket = createConnection({ path, allowHalfOpen: true });
    this.socket.setEncoding("utf8");
    this.socket.on("data", (chunk: string) => this.#take(chunk));
    this.socket.on("error", () => {});
    this.socket.on("end", () => this.#close());
    this.socket.on("close", () => this.#close());
  }

  /** Connects, awaits the greeting, negotiates. */
  static async open(path: string): Promise<SimClient> {
    const client = new SimClient(path);
    await client.until(() => client.messages.some((message) => "QMP" in message), "a greeting");
    await client.run("qmp_capabilities");
    return client;
  }

  /** Sends a command and gives the reply without its id. */
  async run(execute: string, args?: unknown): Promise<Message> {
    this.#ids += 1;
    const id = `t${this.#ids}`;
    this.socket.write(`${JSON.stringify({ execute, arguments: args, id })}\n`);
    const find = (): Message | undefined => this.messages.find((message) => message["id"] === id);
    await this.until(() => find() !== undefined, `the reply to ${execute}`);
    const { id: _id, ...reply } = find() ?? {};
    return reply;
  }

  /** What `return` holds. */
  async get(execute: string, args?: unknown): Promise<unknown> {
    return (await this.run(execute, args))["return"];
  }

  /** Data of every event of that name so far. */
  events(name: string): unknown[] {
    return this.messages.filter((message) => message["event"] === name).map((message) => message["data"]);
  }

  async untilEvent(name: string, data?: unknown): Promise<void> {
    const isThere = (): boolean =>
      this.events(name).some((seen) => data === undefined || isDeepStrictEqual(seen, data));
    await this.until(isThere, `event ${name}`);
  }

  async until(isTrue: () => boolean, what: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const settle = (end: () => void): void => {
        clearTimeout(guard);
        this.#changed.delete(look);
        end();
      };
      const look = (): void => {
        if (isTrue()) {
          settle(resolve);
        }
      };
      const guard = setTimeout(
        () => settle(() => reject(new Error(`no ${what}; so far: ${this.text}`))),
        HANG_GUARD_MS,
      );
      this.#changed.add(look);
      look();
    });
  }

  async close(): Promise<void> {
    if (!this.socket.destroyed) {
      const closed = once(this.socket, "close");
      this.socket.destroy();
      await closed;
    }
  }

  #take(chunk: string): void {
    this.text += chunk;
    const lines = (this.#rest + chunk).split("\r\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      this.messages.push(JSON.parse(line) as Message);
    }
    this.#notify();
  }

  #close(): void {
    this.isClosed = true;
    this.#notify();
  }

  #notify(): void {
    for (const look of [...this.#changed]) {
      look();
    }
  }
}

/** Text of an error reply. */
export function descOf(reply: Message): string | undefined {
  return (reply["error"] as { desc?: string } | undefined)?.desc;
}

/** Class of an error reply. */
export function classOf(reply: Message): string | undefined {
  return (reply["error"] as { class?: string } | undefined)?.class;
}

/** A folder for a simulated host; taken away by `remove`. */
export function simFolder(): { readonly dir: string; readonly remove: () => void } {
  const dir = mkdtempSync(join(tmpdir(), "pciplug-sim-"));
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) };
}
