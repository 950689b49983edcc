/** The operator's socket as a conversation: whoever misbehaves on either side costs the other a bounded time. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, request } from "node:http";
import { createConnection, createServer as createNetServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { askReload, getPlan, getStatus } from "../../src/control/client.js";
import type { ControlSource } from "../../src/control/routes.js";
import { type ControlServer, serveControl } from "../../src/control/server.js";
import { aControlSource, aPlan, aReload, aStatus } from "../support/control-answers.js";

let dir = "";
let path = "";
const closers: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "pciplug-control-"));
  path = join(dir, "control.sock");
});
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
  await rm(dir, { recursive: true, force: true });
});

async function serve(more: Partial<ControlSource> = {}): Promise<ControlServer> {
  const server = await serveControl({ path, ...aControlSource, ...more });
  closers.push(() => server.close());
  return server;
}

async function connected(): Promise<Socket> {
  const socket = createConnection(path);
  await new Promise((resolve) => socket.once("connect", resolve));
  return socket;
}

/** Everything that is answered to these bytes until the server hangs up. */
async function say(bytes: string): Promise<string> {
  const socket = await connected();
  socket.write(bytes);
  const chunks: Buffer[] = [];
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** A server that is no agent: it answers every connection with these bytes. */
async function pretend(bytes: string, isEnding = true): Promise<void> {
  const sockets = new Set<Socket>();
  const server = createNetServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.once("data", () => (isEnding ? socket.end(bytes) : socket.write(bytes)));
  });
  closers.push(
    () =>
      new Promise((resolve) => {
        server.close(resolve);
        for (const socket of sockets) {
          socket.destroy();
        }
      }),
  );
  await new Promise<void>((resolve) => server.listen(path, resolve));
}

const http = (body: string, head = "HTTP/1.1 200 OK") =>
  `${head}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`;

describe("the server", () => {
  it("answers what is asked, many at a time", async () => {
    await serve();
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => Promise.all([getStatus(path), getPlan(path)])),
    );
    expect(answers).toEqual(Array.from({ length: 20 }, () => [aStatus, aPlan]));
  });

  it.each([
    ["garbage", "\u0000\u0001garbage\r\n\r\n", "400"],
    ["a request without a host", "GET /v1/status HTTP/1.1\r\n\r\n", "400"],
    ["a head that is too large", `GET / HTTP/1.1\r\nhost: x\r\nx: ${"y".repeat(20_000)}\r\n\r\n`, "431"],
    [
      "a body to a verb without one",
      "POST /v1/status HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n",
      "413",
    ],
    [
      "a body that is too large",
      "POST /v1/reload HTTP/1.1\r\nhost: x\r\ncontent-length: 1025\r\n\r\n",
      "413",
    ],
    [
      "a body without an end",
      "POST /v1/reload HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
      "413",
    ],
  ])("answers %s once, hangs up, and goes on serving others", async (_, bytes, status) => {
    await serve();
    expect(await say(bytes)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(await getStatus(path)).toEqual(aStatus);
  });

  it("takes the one order, with its confirmation or without", async () => {
    const orders: unknown[] = [];
    await serve({
      reload: (request) => {
        orders.push(request);
        return Promise.resolve(aReload);
      },
    });
    expect([await askReload(path, false), await askReload(path, true)]).toEqual([aReload, aReload]);
    expect(orders).toEqual([{}, { confirm: true }]);
  });

  it("hears no order that is only half said", async () => {
    let orders = 0;
    await serve({
      reload: () => {
        orders += 1;
        return Promise.resolve(aReload);
      },
    });
    const halfway = await connected();
    halfway.write('POST /v1/reload HTTP/1.1\r\nhost: x\r\ncontent-length: 16\r\n\r\n{"confirm"');
    expect(await getStatus(path)).toEqual(aStatus);
    halfway.destroy();
    expect(await getStatus(path)).toEqual(aStatus);
    expect(orders).toBe(0);
  });

  it("ends at once, with clients that say nothing, half a sentence, or read nothing", async () => {
    const server = await serve();
    const silent = await connected();
    const halfway = await connected();
    halfway.write("GET /v1/st");
    const deaf = await connected();
    deaf.pause();
    deaf.write("GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n".repeat(200));
    expect(await getStatus(path)).toEqual(aStatus);
    const gone = [silent, halfway, deaf].map(
      (socket) =>
        new Promise((resolve) => {
          socket.on("error", () => undefined);
          socket.once("close", resolve);
          socket.resume();
        }),
    );
    await server.close();
    await server.close();
    await Promise.all(gone);
    await expect(getStatus(path)).rejects.toMatchObject({ code: "control.no-agent" });
  });

  it("answers a person with curl's manners", async () => {
    await serve();
    const answer = await new Promise((resolve) =>
      request({ socketPath: path, path: "/v1/plan", method: "HEAD", agent: false }, (response) =>
        resolve([response.statusCode, response.headers["content-type"]]),
      ).end(),
    );
    expect(answer).toEqual([200, "application/json"]);
  });
});

describe("the client", () => {
  it("says that no agent runs when nobody listens", async () => {
    await expect(getStatus(path)).rejects.toMatchObject({
      code: "control.no-agent",
      message: `cannot ask the agent at ${path}: none is running`,
    });
    await expect(getStatus(join(dir, "x".repeat(120)))).rejects.toMatchObject({ code: "control.no-agent" });
  });

  it.each([
    ["no HTTP", "QMP here\r\n"],
    ["no JSON", http("<html>")],
    ["another schema", http(JSON.stringify({ ...aStatus, schema: "pciplug-status/2" }))],
    ["an error", http('{"error":{"code":"bug","message":"no"}}', "HTTP/1.1 500 No")],
  ])("does not believe an answer that is %s", async (_, bytes) => {
    await pretend(bytes);
    await expect(getStatus(path)).rejects.toMatchObject({
      code: "control.bad-answer",
      message: expect.stringContaining(`cannot ask the agent at ${path}: `),
    });
  });

  it("says that the agent went away when it hangs up in mid-answer", async () => {
    await pretend('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"schema"');
    await expect(getStatus(path)).rejects.toMatchObject({ code: "control.no-agent" });
  });

  it.each([
    ["nothing", ""],
    ["only a head", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"],
  ])("gives up at its deadline on a server that sends %s", async (_, bytes) => {
    await pretend(bytes, false);
    await expect(getStatus(path, { timeoutMs: 50 })).rejects.toMatchObject({
      code: "control.timeout",
      message: `cannot ask the agent at ${path}: no answer within 50 ms`,
    });
  });

  it("stops reading an answer that has no end", async () => {
    const server = createServer((_request, response) => {
      const chunk = Buffer.alloc(1024 * 1024);
      const more = () => {
        while (!response.destroyed && response.write(chunk)) {
          // until the client no longer takes it
        }
      };
      response.on("drain", more);
      more();
    });
    closers.push(() => new Promise((resolve) => server.close(resolve)));
    await new Promise<void>((resolve) => server.listen(path, resolve));
    await expect(getStatus(path)).rejects.toMatchObject({
      code: "control.bad-answer",
      message: expect.stringContaining("the answer is larger than"),
    });
  });
});
