/**
 * The operator's socket: HTTP on a unix socket, for root (or one group) only.
 *
 * Promises: never readable by others, not for a moment; a client that is slow, silent, or sends too much costs one
 * connection for a bounded time; close() ends at once, whoever hangs on.
 */
import { createServer, type Server } from "node:http";
import type { Socket } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { errnoOf } from "./error.js";
import { buildRoutes, type ControlSource, failure } from "./routes.js";
import { listenAt } from "./socket-file.js";

/** A request head is a line and a handful of headers; the whole of it comes at once from a client on this host. */
const LIMITS = {
  maxHeaderSize: 8 * 1024,
  headersTimeout: 5_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
} as const;
const MOST_CONNECTIONS = 64;
const IDLE_MS = 30_000;

export interface ControlOptions extends ControlSource {
  /** Where the socket is to be; its folder must exist and belong to root or this process's user. */
  readonly path: string;
  /** Group whose members may connect; by default only the owner may. */
  readonly groupId?: number;
}

export interface ControlServer {
  /** Ends every connection and removes the socket. Closing again does nothing. */
  close(): Promise<void>;
}

/**
 * Serves `GET /v1/status`, `GET /v1/plan`, `GET /v1/explain` and `POST /v1/reload`.
 *
 * @throws {ControlError} control.in-use, control.listen-failed
 */
export async function serveControl(options: ControlOptions): Promise<ControlServer> {
  const { fetch } = buildRoutes(options);
  const server = createServer(LIMITS, getRequestListener(fetch, { overrideGlobalObjects: false }));
  server.maxConnections = MOST_CONNECTIONS;
  server.timeout = IDLE_MS;
  server.on("clientError", (error, socket) => {
    const refusal = refusalOf(error);
    if (refusal === null || !socket.writable) {
      socket.destroy();
    } else {
      socket.end(refusal);
    }
  });
  const sockets = trackSockets(server);
  const file = await listenAt(server, { path: options.path, groupId: options.groupId ?? null });
  let closed: Promise<void> | null = null;
  const close = async () => {
    // First the name: nobody shall connect to a server that is about to go.
    await file.remove();
    await closeServer(server, sockets);
  };
  return {
    close: () => {
      closed ??= close();
      return closed;
    },
  };
}

function trackSockets(server: Server): ReadonlySet<Socket> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  return sockets;
}

function closeServer(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    // Waiting for a client would mean that a client can keep the agent from ending.
    for (const socket of sockets) {
      socket.destroy();
    }
  });
}

/** The answer to what is not HTTP, too much of it, or too slow; `null` where nobody is left to read one. */
function refusalOf(error: Error): string | null {
  const refusals: Readonly<Record<string, readonly [string, string]>> = {
    HPE_HEADER_OVERFLOW: [
      "431 Request Header Fields Too Large",
      `its head is larger than ${LIMITS.maxHeaderSize} bytes`,
    ],
    ERR_HTTP_REQUEST_TIMEOUT: ["408 Request Timeout", "it did not come in time"],
  };
  const code = errnoOf(error);
  if (code === "ECONNRESET" || code === "EPIPE") {
    return null;
  }
  const [status, why] = refusals[code] ?? ["400 Bad Request", "it is not HTTP"];
  const body = JSON.stringify(failure("control.bad-request", `cannot read request: ${why}`));
  const headers = [
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
  ];
  return [`HTTP/1.1 ${status}`, ...headers, "", body].join("\r\n");
}
