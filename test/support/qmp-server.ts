/**
 * A QMP server on a real unix socket whose every word is scripted: it can be silent, late, wrong, cut short,
 * half closed. One script runs per connection; the server is gone, and its folder with it, when disposed.
 */

import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A command as the server heard it. */
export interface HeardCommand {
  readonly execute: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
  readonly id: number;
}

export type ServerScript = (peer: ScriptedPeer) => Promise<void> | void;

export const GREETING = {
  QMP: {
    version: { qemu: { micro: 22, minor: 2, major: 7 }, package: "Debian 1:7.2+dfsg-7+deb12u18+b3" },
    capabilities: ["oob"],
  },
};

/** The client went away while the script still expected something of it. */
class ClientGone extends Error {}

/** One accepted connection, seen from the server. */
export class ScriptedPeer {
  readonly socket: Socket;
  /** Resolves when the client has closed its side. */
  readonly left: Promise<void>;
  #text = "";
  #hasEnded = false;
  #wake: () => void = () => undefined;

  constructor(socket: Socket, onBytes: (text: string) => void) {
    this.socket = socket;
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => {
      onBytes(text);
      this.#text += text;
      this.#wake();
    });
    socket.on("error", () => undefined);
    this.left = new Promise((resolve) => {
      socket.on("close", () => {
        this.#hasEnded = true;
        this.#wake();
        resolve();
      });
    });
  }

  /** Sends one message the way QEMU does. */
  say(message: unknown): void {
    this.sayRaw(`${JSON.stringify(message)}\r\n`);
  }

  sayRaw(bytes: string | Uint8Array): void {
    this.socket.write(bytes);
  }

  event(name: string, data?: Readonly<Record<string, unknown>>): void {
    this.say({
      timestamp: { seconds: 1_795_424_343, microseconds: 70_255 },
      event: name,
      ...(data && { data }),
    });
  }

  /** The next command, in order. */
  async hear(): Promise<HeardCommand> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end !== -1) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return JSON.parse(line) as HeardCommand;
      }
      if (this.#hasEnded) {
        throw new ClientGone();
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  reply(command: HeardCommand, value: unknown = {}): void {
    this.say({ return: value, id: command.id });
  }

  refuse(command: HeardCommand, qmpClass: string, desc: string): void {
    this.say({ id: command.id, error: { class: qmpClass, desc } });
  }

  /** Greets and lets the client negotiate. */
  async negotiate(): Promise<void> {
    this.say(GREETING);
    this.reply(await this.hear());
  }

  /** Ends our side only, after what was said. */
  endWriting(): void {
    this.socket.end();
  }

  /** Closes both sides at once. */
  hangUp(): void {
    this.socket.destroy();
  }
}

export interface ScriptedServer extends AsyncDisposable {
  readonly path: string;
  /** All that clients ever wrote. */
  readonly heard: () => string;
}

/** Starts a server; connections are served side by side, each by the script. */
export async function startQmpServer(script: ServerScript): Promise<ScriptedServer> {
  const folder = await mkdtemp(join(tmpdir(), "pciplug-qmp-"));
  const path = join(folder, "qmp.sock");
  const peers = new Set<ScriptedPeer>();
  const failures: unknown[] = [];
  let heard = "";
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const peer = new ScriptedPeer(socket, (text) => {
      heard += text;
    });
    peers.add(peer);
    void Promise.resolve(script(peer)).catch((error: unknown) => {
      if (!(error instanceof ClientGone)) {
        failures.push(error);
      }
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(path, resolve);
  });
  return {
    path,
    heard: () => heard,
    async [Symbol.asyncDispose]() {
      for (const peer of peers) {
        peer.hangUp();
      }
      await new Promise((resolve) => {
        server.close(resolve);
      });
      await rm(folder, { recursive: true, force: true });
      if (failures.length > 0) {
        throw failures[0];
      }
    },
  };
}
