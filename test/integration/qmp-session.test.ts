/** One client against a scripted server on a real unix socket: good paths, every bad path, every run state. */
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  connectQmp,
  type QmpClient,
  QmpCommandError,
  QmpConnectError,
  type QmpConnectOptions,
  QmpInterruptedError,
  QmpProtocolError,
  type QmpRunState,
  QmpTimeoutError,
  type QmpUnknown,
} from "../../src/qmp/index.js";
import { GREETING, type ScriptedPeer, type ServerScript, startQmpServer } from "../support/qmp-server.js";

const unhandled: unknown[] = [];
const remember = (reason: unknown): void => void unhandled.push(reason);

beforeEach(() => {
  unhandled.length = 0;
  process.on("unhandledRejection", remember);
});
afterEach(async () => {
  await new Promise(setImmediate);
  process.off("unhandledRejection", remember);
  expect(unhandled).toEqual([]);
});

interface Visit {
  readonly states: QmpRunState[];
  readonly unknown: QmpUnknown[];
  /** What connectQmp or `visit` threw. */
  readonly error: unknown;
  readonly heard: string;
}

/** Connects to a scripted server, does `visit`, and tells what happened. */
async function meet(
  script: ServerScript,
  visit: (client: QmpClient) => Promise<void> = async () => undefined,
  options: Partial<QmpConnectOptions> = {},
): Promise<Visit> {
  await using server = await startQmpServer(script);
  const states: QmpRunState[] = [];
  const unknown: QmpUnknown[] = [];
  let error: unknown;
  try {
    await using client = await connectQmp({
      path: server.path,
      onState: (state) => states.push(state),
      onUnknown: (oddity) => unknown.push(oddity),
      ...options,
    });
    await visit(client);
  } catch (caught) {
    error = caught;
  }
  return { states, unknown, error, heard: server.heard() };
}

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => "no failure",
    (error: unknown) => error,
  );
}

const WHOLE_WALK: QmpRunState[] = ["connecting", "negotiating", "running", "closed"];
const STATUS = { status: "running", running: true, singlestep: false };

describe("a good session", () => {
  it("walks through every run state, says nothing before the greeting, and closes", async () => {
    let saidBeforeGreeting = "not looked";
    const visit = await meet(
      async (peer) => {
        await new Promise(setImmediate);
        saidBeforeGreeting = peer.socket.bytesRead === 0 ? "nothing" : "something";
        await peer.negotiate();
        peer.reply(await peer.hear(), STATUS);
      },
      async (client) => {
        expect(client.state).toBe("running");
        expect(client.greeting.version.qemu.major).toBe(7);
        expect(await client.execute("query-status")).toEqual(STATUS);
        expect(client.pendingCommands).toEqual([]);
      },
    );
    expect(visit.error).toBeUndefined();
    expect(saidBeforeGreeting).toBe("nothing");
    expect(visit.states).toEqual(WHOLE_WALK);
    expect(visit.heard).toBe('{"execute":"qmp_capabilities","id":1}\n{"execute":"query-status","id":2}\n');
  });

  it("understands messages cut at every byte", async () => {
    const sayInBits = async (peer: ScriptedPeer, message: unknown): Promise<void> => {
      for (const byte of Buffer.from(`${JSON.stringify(message)}\r\n`)) {
        peer.sayRaw(Uint8Array.of(byte));
        await new Promise(setImmediate);
      }
    };
    const visit = await meet(
      async (peer) => {
        await sayInBits(peer, GREETING);
        await sayInBits(peer, { return: {}, id: (await peer.hear()).id });
        await sayInBits(peer, { return: "déjà vu 😀", id: (await peer.hear()).id });
      },
      async (client) => {
        expect(await client.execute("qom-get", { path: "/x", property: "y" })).toBe("déjà vu 😀");
      },
    );
    expect(visit.error).toBeUndefined();
  });

  it("delivers an event before the reply that follows it, to a waiter armed before the command", async () => {
    const order: string[] = [];
    const visit = await meet(
      async (peer) => {
        await peer.negotiate();
        const command = await peer.hear();
        peer.event("DEVICE_DELETED", { path: "/machine/peripheral/other" });
        peer.event("DEVICE_DELETED", { device: "a", path: "/machine/peripheral/a" });
        peer.reply(command);
      },
      async (client) => {
        client.onEvent((event) => order.push(event.name));
        const gone = client.waitFor("DEVICE_DELETED", (data) => data.device === "a", { timeoutMs: 5000 });
        const reply = client.execute("device_del", { id: "a" }).then(() => order.push("reply"));
        expect((await gone).data).toEqual({ device: "a", path: "/machine/peripheral/a" });
        await reply;
      },
    );
    expect(visit.error).toBeUndefined();
    expect(order).toEqual(["DEVICE_DELETED", "DEVICE_DELETED", "reply"]);
  });

  it("hears events that come in one breath with the end of the negotiation", async () => {
    const heard: string[] = [];
    const visit = await meet(
      async (peer) => {
        peer.say(GREETING);
        const { id } = await peer.hear();
        const event = { timestamp: { seconds: 1, microseconds: 0 }, event: "RESUME" };
        peer.sayRaw(`${JSON.stringify({ return: {}, id })}\r\n${JSON.stringify(event)}\r\n`);
      },
      async () => undefined,
      { onEvent: (event) => heard.push(event.name) },
    );
    expect(visit.error).toBeUndefined();
    expect(heard).toEqual(["RESUME"]);
  });

  it("keeps 2,000 commands in the air and gives each its own answer", async () => {
    const visit = await meet(
      async (peer) => {
        await peer.negotiate();
        for (let count = 0; count < 2000; count += 1) {
          const command = await peer.hear();
          peer.reply(command, `${command.arguments?.["path"]}`);
        }
      },
      async (client) => {
        const paths = Array.from({ length: 2000 }, (_, index) => `/machine/${index}`);
        const replies = paths.map((path) => client.execute("qom-get", { path, property: "type" }));
        expect(await Promise.all(replies)).toEqual(paths);
      },
    );
    expect(visit.error).toBeUndefined();
  });

  it("holds commands back while the server does not read, and takes back what was never written", async () => {
    const visit = await meet(
      async (peer) => {
        await peer.negotiate();
        peer.socket.pause();
        await peer.left;
      },
      async (client) => {
        const bulk = Array.from({ length: 200 }, () =>
          client.execute("qom-get", { path: "x".repeat(20_000), property: "y" }, { timeoutMs: 60_000 }),
        );
        const last = client.execute("quit", {}, { timeoutMs: 50 });
        const error = await failureOf(last);
        expect(error).toBeInstanceOf(QmpTimeoutError);
        expect(error).toMatchObject({ wasSent: false });
        await client.close();
        const fates = await Promise.all(bulk.map(failureOf));
        expect(fates.every((fate) => fate instanceof QmpInterruptedError)).toBe(true);
        expect(fates[0]).toMatchObject({ wasSent: true });
        expect(fates.at(-1)).toMatchObject({ wasSent: false });
      },
    );
    expect(visit.error).toBeUndefined();
    expect(visit.heard).not.toContain("quit");
  });

  it("goes on writing once the server reads again", async () => {
    const visit = await meet(
      async (peer) => {
        await peer.negotiate();
        peer.socket.pause();
        await new Promise(setImmediate);
        peer.socket.resume();
        for (let count = 0; count < 100; count += 1) {
          peer.reply(await peer.hear(), count);
        }
      },
      async (client) => {
        const bulk = Array.from({ length: 100 }, () =>
          client.execute("qom-get", { path: "x".repeat(20_000), property: "y" }),
        );
        expect(await Promise.all(bulk)).toEqual(Array.from({ length: 100 }, (_, index) => index));
      },
    );
    expect(visit.error).toBeUndefined();
  });

  it("takes a reply of 5 MB", async () => {
    const text = "x".repeat(5_000_000);
    const visit = await meet(
      async (peer) => {
        await peer.negotiate();
        peer.reply(await peer.hear(), text);
      },
      async (client) => {
        expect(await client.execute("qom-get", { path: "/", property: "big" })).toHaveLength(text.length);
      },
    );
    expect(visit.error).toBeUndefined();
  });
});

describe("what is passed over", () => {
  it("passes over unknown events, unknown ids and late answers, tells the hook, and goes on", async () => {
    const visit = await meet(
      async (peer) => {
        await peer.negotiate();
        const slow = await peer.hear();
        const status = await peer.hear();
        peer.event("NIC_RX_FILTER_CHANGED", { path: "/x" });
        peer.event("DEVICE_DELETED", { device: 7 });
        peer.say({ return: {}, id: 4711 });
        peer.say({ return: {} });
        peer.reply(slow);
        peer.reply(status, STATUS);
      },
      async (client) => {
        const slow = client.execute("device_add", { driver: "vfio-pci" }, { timeoutMs: 20 });
        expect(await failureOf(slow)).toMatchObject({ code: "qmp.timeout", wasSent: true });
        expect(await client.execute("query-status")).toEqual(STATUS);
      },
    );
    expect(visit.error).toBeUndefined();
    expect(visit.unknown).toMatchObject([
      { kind: "event", event: { name: "NIC_RX_FILTER_CHANGED" } },
      { kind: "event", event: { name: "DEVICE_DELETED", data: { device: 7 } } },
      { kind: "stray-answer", answer: { id: 4711 } },
      { kind: "stray-answer", answer: { id: undefined } },
      { kind: "late-answer", command: "device_add" },
    ]);
  });

  it("lets a refusal and a misshapen reply fail their own call only, with the caller's stack", async () => {
    const visit = await meet(
      async (peer) => {
        await peer.negotiate();
        peer.refuse(await peer.hear(), "DeviceNotFound", "Device 'x' not found");
        peer.reply(await peer.hear(), { status: 5 });
        peer.reply(await peer.hear(), STATUS);
      },
      async (client) => {
        const refused = await failureOf(client.execute("device_del", { id: "x" }));
        expect(refused).toBeInstanceOf(QmpCommandError);
        expect((refused as Error).stack?.split("\n")[1]).toContain("qmp-session.test.ts");
        expect(await failureOf(client.execute("query-status"))).toMatchObject({
          code: "qmp.unexpected-reply",
        });
        expect(await client.execute("query-status")).toEqual(STATUS);
      },
    );
    expect(visit.error).toBeUndefined();
  });

  it("refuses arguments QEMU could not read, and sends nothing of them", async () => {
    const visit = await meet(
      async (peer) => {
        await peer.negotiate();
        peer.reply(await peer.hear(), STATUS);
      },
      async (client) => {
        expect(await failureOf(client.execute("device_del", { id: "a\0b" }))).toMatchObject({
          code: "qmp.unsendable",
        });
        expect(await client.execute("query-status")).toEqual(STATUS);
      },
    );
    expect(visit.error).toBeUndefined();
    expect(visit.heard).not.toContain("device_del");
  });
});

describe("the end of a session", () => {
  it.each<[string, (peer: ScriptedPeer) => void, object]>([
    ["QEMU closes", (peer) => peer.hangUp(), { kind: "peer", cutOffBytes: 0 }],
    ["QEMU closes one side only", (peer) => peer.endWriting(), { kind: "peer", cutOffBytes: 0 }],
    [
      "QEMU dies in the middle of a line",
      (peer) => {
        peer.sayRaw('{"return": {"sta');
        peer.endWriting();
      },
      { kind: "peer", cutOffBytes: 16 },
    ],
    [
      "garbage comes",
      (peer) => peer.sayRaw("hello world\r\n"),
      { kind: "protocol", error: { code: "qmp.malformed" } },
    ],
    [
      "a truncated line comes",
      (peer) => peer.sayRaw('{"return": {"status"\r\n'),
      { kind: "protocol", error: { code: "qmp.malformed" } },
    ],
    [
      "bytes come that are no text",
      (peer) => peer.sayRaw(Uint8Array.of(0xff, 0xfe, 0x0a)),
      { kind: "protocol", error: { code: "qmp.malformed" } },
    ],
    [
      "a line comes that never ends",
      (peer) => peer.sayRaw(Buffer.alloc(10_000_001, 0x61)),
      { kind: "protocol", error: { code: "qmp.frame-too-long" } },
    ],
    [
      "QEMU greets twice",
      (peer) => peer.say(GREETING),
      { kind: "protocol", error: { code: "qmp.unexpected-message" } },
    ],
    [
      "an error without id comes",
      (peer) => peer.say({ error: { class: "GenericError", desc: "JSON parse error" } }),
      { kind: "protocol", error: { code: "qmp.error-without-id" } },
    ],
  ])(
    "rejects every call and waiter when %s, in one sentence each, then tells why",
    async (_what, end, reason) => {
      const visit = await meet(
        async (peer) => {
          await peer.negotiate();
          await peer.hear();
          end(peer);
        },
        async (client) => {
          const order: string[] = [];
          const waiter = client.waitFor("STOP", () => true, { timeoutMs: 60_000 });
          void client.waitFor("STOP", () => true, { timeoutMs: 60_000 });
          const call = client.execute("query-status", {}, { timeoutMs: 60_000 });
          void call.catch(() => order.push("call"));
          void waiter.catch(() => order.push("waiter"));
          void client.closed.then(() => order.push("closed"));
          const error = await failureOf(call);
          expect(error).toBeInstanceOf(QmpInterruptedError);
          expect(error).toMatchObject({ code: "qmp.disconnected", wasSent: true });
          expect((error as Error).message).toMatch(
            /^cannot execute query-status: [^\n]+; its outcome is unknown$/,
          );
          expect(await failureOf(waiter)).toMatchObject({ code: "qmp.disconnected" });
          expect(await client.closed).toMatchObject(reason);
          expect(order).toEqual(["call", "waiter", "closed"]);
          expect(client.state).toBe("closed");
          expect(await failureOf(client.execute("query-status"))).toMatchObject({
            code: "qmp.not-running",
            wasSent: false,
            context: { state: "closed", required: "running" },
          });
          expect(await failureOf(client.waitFor("STOP", () => true, { timeoutMs: 1 }))).toMatchObject({
            code: "qmp.not-running",
          });
        },
      );
      expect(visit.error).toBeUndefined();
      expect(visit.states).toEqual(WHOLE_WALK);
    },
  );

  it("closes by itself once, however often it is asked, and rejects what is under way", async () => {
    const visit = await meet(
      async (peer) => {
        await peer.negotiate();
        await peer.left;
      },
      async (client) => {
        const call = client.execute("stop");
        await Promise.all([client.close(), client.close()]);
        expect(await failureOf(call)).toMatchObject({ code: "qmp.disconnected" });
        expect(await client.closed).toEqual({ kind: "local" });
      },
    );
    expect(visit.error).toBeUndefined();
    expect(visit.states).toEqual(WHOLE_WALK);
  });

  it("lets a caller give up one call by signal and keeps the session", async () => {
    const visit = await meet(
      async (peer) => {
        await peer.negotiate();
        await peer.hear();
        peer.reply(await peer.hear(), STATUS);
      },
      async (client) => {
        const abort = new AbortController();
        const call = client.execute("stop", {}, { signal: abort.signal });
        abort.abort();
        expect(await failureOf(call)).toMatchObject({ code: "qmp.aborted", wasSent: true });
        expect(await failureOf(client.execute("cont", {}, { signal: abort.signal }))).toMatchObject({
          code: "qmp.aborted",
          wasSent: false,
        });
        expect(await client.execute("query-status")).toEqual(STATUS);
      },
    );
    expect(visit.error).toBeUndefined();
    expect(visit.heard).not.toContain("cont");
  });
});

describe("a session that does not come to be", () => {
  const SHORT = { greetingTimeoutMs: 100 };

  it.each<[string, string, RegExp, ServerScript]>([
    [
      "never greets",
      "qmp.busy-or-silent",
      /no greeting within 100 ms.*lets? us in and says nothing/,
      (peer) => peer.left,
    ],
    ["hangs up before the greeting", "qmp.hung-up", /hung up/, (peer) => peer.hangUp()],
    ["ends its side before the greeting", "qmp.hung-up", /hung up/, (peer) => peer.endWriting()],
    [
      "greets like a mail server",
      "qmp.not-qmp",
      /not a QMP server.*220 mail.*-qmp option/,
      (peer) => peer.sayRaw("220 mail ready\r\n"),
    ],
    [
      "is a human monitor",
      "qmp.not-qmp",
      /QEMU 7\.2\.22 monitor/,
      (peer) => peer.sayRaw("QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) "),
    ],
    ["shows a prompt and waits", "qmp.not-qmp", /said "login: "/, (peer) => peer.sayRaw("login: ")],
    [
      "breaks its greeting off",
      "qmp.not-qmp",
      /middle of its first line/,
      (peer) => {
        peer.sayRaw('{"QMP": {"ver');
        peer.endWriting();
      },
    ],
    ["sends an event first", "qmp.not-qmp", /event, no greeting/, (peer) => peer.event("STOP")],
    [
      "is a pretty-printing monitor",
      "qmp.pretty",
      /remove pretty=on/,
      (peer) => peer.sayRaw('{\r\n    "QMP": {\r\n'),
    ],
  ])("says in one sentence what is wrong when the server %s", async (_what, code, sentence, script) => {
    const visit = await meet(script, undefined, SHORT);
    expect(visit.error).toMatchObject({ code, message: expect.stringMatching(sentence) });
    expect(visit.error).toBeInstanceOf(code === "qmp.pretty" ? QmpProtocolError : QmpConnectError);
    expect((visit.error as Error).message).not.toContain("\n");
    expect(visit.states).toEqual(["connecting", "closed"]);
    expect(visit.heard).toBe("");
  });

  it.each<[string, string, ServerScript]>([
    [
      "refuses the negotiation",
      "qmp.negotiation-failed",
      async (peer) => {
        peer.say(GREETING);
        peer.refuse(await peer.hear(), "CommandNotFound", "no");
      },
    ],
    [
      "greets and never answers",
      "qmp.busy-or-silent",
      async (peer) => {
        peer.say(GREETING);
        await peer.left;
      },
    ],
    [
      "greets, hears and ends its side without an answer",
      "qmp.hung-up",
      async (peer) => {
        peer.say(GREETING);
        await peer.hear();
        peer.endWriting();
      },
    ],
    [
      "hangs up in the negotiation",
      "qmp.hung-up",
      async (peer) => {
        peer.say(GREETING);
        await peer.hear();
        peer.hangUp();
      },
    ],
    [
      "talks garbage in the negotiation",
      "qmp.negotiation-failed",
      async (peer) => {
        peer.say(GREETING);
        await peer.hear();
        peer.sayRaw("}\r\n");
      },
    ],
  ])("gives up when the server %s", async (_what, code, script) => {
    const visit = await meet(script, undefined, { negotiationTimeoutMs: 100 });
    expect(visit.error).toBeInstanceOf(QmpConnectError);
    expect(visit.error).toMatchObject({ code });
    expect(visit.states).toEqual(["connecting", "negotiating", "closed"]);
  });

  it("ends in closed when the server hangs up in one breath with its greeting or its answer", async () => {
    const atGreeting = await meet((peer) => {
      peer.sayRaw(`${JSON.stringify(GREETING)}\r\ngarbage\r\n`);
    });
    expect(atGreeting.error).toBeInstanceOf(QmpConnectError);
    expect(atGreeting.states).toEqual(["connecting", "negotiating", "closed"]);
    const atAnswer = await meet(async (peer) => {
      peer.say(GREETING);
      const { id } = await peer.hear();
      peer.sayRaw(`${JSON.stringify({ return: {}, id })}\r\ngarbage\r\n`);
    });
    expect(atAnswer.error).toBeInstanceOf(QmpConnectError);
    expect(atAnswer.states).toEqual(["connecting", "negotiating", "closed"]);
  });

  it("waits for a greeting that comes late but in time", async () => {
    const visit = await meet(
      async (peer) => {
        await new Promise((resolve) => setTimeout(resolve, 60));
        await peer.negotiate();
      },
      undefined,
      { greetingTimeoutMs: 5000 },
    );
    expect(visit.error).toBeUndefined();
    expect(visit.states).toEqual(WHOLE_WALK);
  });

  it("gives up by signal, before and while it waits", async () => {
    const abort = new AbortController();
    const waiting = meet((peer) => peer.left, undefined, { signal: abort.signal });
    setImmediate(() => abort.abort());
    expect((await waiting).error).toMatchObject({ code: "qmp.aborted" });
    const visit = await meet((peer) => peer.left, undefined, { signal: abort.signal });
    expect(visit).toMatchObject({
      error: { code: "qmp.aborted" },
      states: ["connecting", "closed"],
      heard: "",
    });
  });
});

describe("a path that leads nowhere", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "pciplug-qmp-"));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  async function errorAt(path: string): Promise<unknown> {
    const states: QmpRunState[] = [];
    const error = await failureOf(connectQmp({ path, onState: (state) => states.push(state) }));
    expect(error).toBeInstanceOf(QmpConnectError);
    expect(states).toEqual(["connecting", "closed"]);
    return error;
  }

  it("is absent when there is no file, or a part of the path is no folder", async () => {
    await writeFile(join(folder, "file"), "");
    expect(await errorAt(join(folder, "none.sock"))).toMatchObject({ code: "qmp.absent" });
    expect(await errorAt(join(folder, "file/qmp.sock"))).toMatchObject({ code: "qmp.absent" });
  });

  it("is refused when nobody listens on the file", async () => {
    await writeFile(join(folder, "file"), "");
    expect(await errorAt(join(folder, "file"))).toMatchObject({
      code: "qmp.refused",
      message: expect.stringMatching(/QEMU process is gone/),
    });
  });

  it("is too long over 107 bytes, counted in bytes, and nothing is connected to", async () => {
    const longest = `/${"x".repeat(106)}`;
    expect(await errorAt(longest)).toMatchObject({ code: "qmp.absent" });
    expect(await errorAt(`${longest}x`)).toMatchObject({ code: "qmp.path-too-long" });
    expect(await errorAt(`/${"é".repeat(54)}`)).toMatchObject({
      code: "qmp.path-too-long",
      message: expect.stringMatching(/109 bytes.*107/),
    });
  });

  it("has a full queue when others already wait", async () => {
    const path = join(folder, "busy.sock");
    const server = createServer();
    server.listen({ path, backlog: 1 });
    await once(server, "listening");
    // The event loop accepts nothing while these are queued in one turn.
    const attempts = Array.from({ length: 8 }, () => connectQmp({ path, greetingTimeoutMs: 200 }));
    const errors = await Promise.all(attempts.map(failureOf));
    server.close();
    const codes = new Set(errors.map((error) => (error as QmpConnectError).code));
    expect(codes).toEqual(new Set(["qmp.busy-or-silent", "qmp.backlog-full"]));
  });
});
