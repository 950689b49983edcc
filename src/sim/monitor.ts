/**
 * One QMP socket of a simulated QEMU: greeting, capabilities negotiation, one client at a time, the others waiting
 * without a greeting (facts.md 6). Knows nothing of devices: commands go to the VM.
 *
 * Differs from the real one on purpose: Node cannot leave a connection in the kernel's backlog, so the third waiting
 * client is closed instead of meeting EAGAIN.
 */
import { existsSync, linkSync, renameSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { SimulationError } from "./card.js";
import { formatQmpLine, type QmpInput, QmpInputReader } from "./qmp-input.js";
import { commandNotFound, EMPTY, fault, type SimArguments, type SimReply } from "./reply.js";

/** What a monitor needs of its VM. `silent`: no reply at all; `close`: the connection breaks. */
export interface MonitorHost {
  execute(name: string, args: SimArguments): Promise<SimReply | "silent" | "close">;
}

export const QEMU_VERSION = {
  qemu: { micro: 22, minor: 2, major: 7 },
  package: "Debian 1:7.2+dfsg-7+deb12u18+b3",
} as const;

const LONGEST_PATH = 107;
const BACKLOG = 2;
const KNOWN_MEMBERS = new Set(["execute", "arguments", "id"]);

interface Client {
  readonly socket: Socket;
  isReady: boolean;
  work: Promise<void>;
}

export class Monitor {
  readonly path: string;
  readonly #vm: MonitorHost;
  readonly #server: Server;
  readonly #waiting: Socket[] = [];
  #client: Client | undefined;
  #isHung = false;
  #clientsServed = 0;

  /** @throws {SimulationError} sim.misuse when Node would cut the path. */
  constructor(path: string, vm: MonitorHost) {
    if (Buffer.byteLength(path) > LONGEST_PATH) {
      throw new SimulationError(`cannot listen on ${path}: longer than ${LONGEST_PATH} bytes`);
    }
    this.path = path;
    this.#vm = vm;
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
      this.#accept(socket),
    );
  }

  /** How many clients were greeted so far. */
  get clientsServed(): number {
    return this.#clientsServed;
  }

  /** Listens; a socket file that an earlier process left behind is replaced, as QEMU does. */
  async listen(): Promise<void> {
    rmSync(this.path, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(this.path, resolve);
    });
  }

  /** Sends an event to the client, if one has negotiated. */
  emit(event: unknown): void {
    if (this.#client?.isReady === true) {
      this.#client.socket.write(formatQmpLine(event));
    }
  }

  /** SIGSTOP: connections are accepted by the kernel, nothing is read or said. */
  hang(): void {
    this.#isHung = true;
    this.#client?.socket.pause();
  }

  /** Hangs up on the client. */
  cut(): void {
    if (this.#client !== undefined) {
      this.#client.isReady = false;
      this.#client.socket.destroy();
    }
  }

  /** SIGCONT. */
  wake(): void {
    this.#isHung = false;
    this.#client?.socket.resume();
    this.#serveNext();
  }

  /** Ends like a process that exits (the file goes) or one that is killed (the file stays, ECONNREFUSED). */
  async close(isKilled: boolean): Promise<void> {
    const corpse = `${this.path}~`;
    const staysBehind = isKilled && existsSync(this.path);
    if (staysBehind) {
      linkSync(this.path, corpse);
    }
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    // libuv has unlinked the file within close(): nobody of this process has seen the gap.
    if (staysBehind) {
      renameSync(corpse, this.path);
    }
    for (const socket of this.#waiting.splice(0)) {
      socket.destroy();
    }
    if (isKilled) {
      this.#client?.socket.destroy();
    } else {
      this.#client?.socket.destroySoon();
    }
    await closed;
  }

  #accept(socket: Socket): void {
    socket.on("error", () => {});
    if (this.#waiting.length >= BACKLOG) {
      socket.destroy();
      return;
    }
    this.#waiting.push(socket);
    this.#serveNext();
  }

  #serveNext(): void {
    if (this.#isHung || this.#client !== undefined) {
      return;
    }
    const socket = this.#waiting.shift();
    if (socket === undefined) {
      return;
    }
    const client: Client = { socket, isReady: false, work: Promise.resolve() };
    this.#client = client;
    this.#clientsServed += 1;
    const reader = new QmpInputReader();
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      for (const input of reader.push(chunk)) {
        client.work = client.work.then(() => this.#answer(client, input));
      }
    });
    socket.on("end", () => {
      client.work = client.work.then(() => {
        socket.end();
      });
    });
    socket.on("close", () => {
      this.#client = undefined;
      this.#serveNext();
    });
    socket.write(formatQmpLine({ QMP: { version: QEMU_VERSION, capabilities: ["oob"] } }));
    socket.resume();
  }

  async #answer(client: Client, input: QmpInput): Promise<void> {
    if (input.kind === "garbage") {
      client.socket.write(formatQmpLine(fault(input.desc)));
      return;
    }
    const reply = await this.#dispatch(client, input.object);
    if (reply === "close") {
      client.socket.destroy();
    } else if (reply !== "silent" && !client.socket.destroyed) {
      // A reply has its id behind, an error before (facts.md 6).
      const { id } = input.object;
      client.socket.write(formatQmpLine("error" in reply ? { id, ...reply } : { ...reply, id }));
    }
  }

  async #dispatch(
    client: Client,
    message: Readonly<Record<string, unknown>>,
  ): Promise<SimReply | "silent" | "close"> {
    const name = message["execute"];
    const unexpected = Object.keys(message).find((member) => !KNOWN_MEMBERS.has(member));
    if (unexpected !== undefined) {
      return fault(`QMP input member '${unexpected}' is unexpected`);
    }
    if (typeof name !== "string") {
      return fault("QMP input lacks member 'execute'");
    }
    if (name === "qmp_capabilities") {
      return this.#negotiate(client);
    }
    if (!client.isReady) {
      return commandNotFound("Expecting capabilities negotiation with 'qmp_capabilities'");
    }
    return this.#vm.execute(name, (message["arguments"] ?? {}) as SimArguments);
  }

  #negotiate(client: Client): SimReply {
    if (client.isReady) {
      return commandNotFound("Capabilities negotiation is already complete, command ignored");
    }
    client.isReady = true;
    return EMPTY;
  }
}
