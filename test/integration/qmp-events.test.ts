/** What a program hears: callbacks, iterators and waiters, known events and raw ones, against a scripted server. */
import { describe, expect, it } from "vitest";
import { connectQmp, type QmpClient, type QmpEvent, type RawQmpEvent } from "../../src/qmp/index.js";
import { type ScriptedPeer, type ScriptedServer, startQmpServer } from "../support/qmp-server.js";

/** Says `tell` when asked to `cont`, answers every command, and hangs up at `quit`. */
async function serve(tell: (peer: ScriptedPeer) => void): Promise<ScriptedServer> {
  return await startQmpServer(async (peer) => {
    await peer.negotiate();
    for (;;) {
      const command = await peer.hear();
      if (command.execute === "cont") {
        tell(peer);
      }
      peer.reply(command, command.execute === "echo" ? command.arguments : {});
      if (command.execute === "quit") {
        peer.hangUp();
      }
    }
  });
}

const threeEvents = (peer: ScriptedPeer): void => {
  peer.event("STOP");
  peer.event("BLOCK_JOB_READY", { device: "drive0", len: 5 });
  peer.event("RESUME");
};

async function namesOf(events: AsyncIterable<QmpEvent | RawQmpEvent>): Promise<string[]> {
  const names: string[] = [];
  for await (const event of events) {
    names.push(event.name);
  }
  return names;
}

async function hearThree(client: QmpClient): Promise<void> {
  await client.execute("cont");
  await client.execute("quit");
  await client.closed;
}

describe("a client that hears", () => {
  it("gives the known events to an iterator, all of them to a raw one, and ends both with the link", async () => {
    await using server = await serve(threeEvents);
    await using client = await connectQmp({ path: server.path });
    const [known, raw] = [client.events(), client.rawEvents()];
    await hearThree(client);
    expect(await namesOf(known)).toEqual(["STOP", "RESUME"]);
    expect(await namesOf(raw)).toEqual(["STOP", "BLOCK_JOB_READY", "RESUME"]);
    expect(await namesOf(client.events())).toEqual([]);
    expect(await namesOf(client.rawEvents())).toEqual([]);
  });

  it("lets a reader wait in a loop and leave it, and the session goes on", async () => {
    await using server = await serve(threeEvents);
    await using client = await connectQmp({ path: server.path });
    const events = client.events();
    const first = (async () => {
      for await (const event of events) {
        return event.name;
      }
      return "none";
    })();
    await client.execute("cont");
    expect(await first).toBe("STOP");
    expect(await events.next()).toEqual({ done: true, value: undefined });
    expect(await client.execute("cont")).toEqual({});
  });

  it("tells a reader who fell behind, and not the session", async () => {
    await using server = await serve(threeEvents);
    await using client = await connectQmp({ path: server.path });
    const slow = client.rawEvents({ bufferSize: 1 });
    await client.execute("cont");
    expect(await slow.next()).toMatchObject({ value: { name: "STOP" } });
    const error: unknown = await slow.next().catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: "qmp.events-lost", context: { bufferSize: 1 } });
    expect((error as Error).stack).toContain("qmp-events.test.ts");
    expect(client.state).toBe("running");
  });

  it("calls raw listeners with every event until they leave", async () => {
    await using server = await serve(threeEvents);
    await using client = await connectQmp({ path: server.path });
    const heard: string[] = [];
    const leave = client.onRawEvent((event) => heard.push(event.name));
    await client.execute("cont");
    leave();
    await client.execute("cont");
    expect(heard).toEqual(["STOP", "BLOCK_JOB_READY", "RESUME"]);
    await client.close();
    expect(client.onRawEvent(() => undefined)()).toBeUndefined();
  });

  it("waits for an event this package does not know, armed before the command", async () => {
    await using server = await serve(threeEvents);
    await using client = await connectQmp({ path: server.path });
    const limits = { timeoutMs: 10_000 };
    const ready = client.waitForRaw("BLOCK_JOB_READY", (data) => data["device"] === "drive0", limits);
    const never = client.waitForRaw("BLOCK_JOB_READY", (data) => data["device"] === "other", limits);
    await client.execute("cont");
    expect((await ready).data).toEqual({ device: "drive0", len: 5 });
    await client.close();
    await expect(never).rejects.toMatchObject({ code: "qmp.disconnected" });
    await expect(client.waitForRaw("X", () => true, limits)).rejects.toMatchObject({
      code: "qmp.not-running",
    });
  });
});

describe("a command this package does not know", () => {
  it("is sent as it stands, integers beyond 2^53 exact in both directions", async () => {
    await using server = await serve(() => undefined);
    await using client = await connectQmp({ path: server.path });
    const sent = { wide: 2n ** 63n, small: 7, list: [1n, "x"] };
    await client.executeRaw("set-link", sent);
    expect(server.heard()).toContain('"arguments":{"wide":9223372036854775808,"small":7,"list":[1,"x"]}');
  });

  it("has the type its caller gives, checked where the caller checks", async () => {
    await using server = await serve(() => undefined);
    await using client = await connectQmp({ path: server.path });
    const trusted: { n: number } = await client.executeRaw<{ n: number }>("echo", { n: 5 });
    expect(trusted.n).toBe(5);
    const check = (reply: unknown): number => {
      if (typeof reply !== "object" || reply === null || !("n" in reply) || typeof reply.n !== "number") {
        throw new Error("reply.n is not a number");
      }
      return reply.n;
    };
    const checked: number = await client.executeRaw("echo", { n: 5 }, { check });
    expect(checked).toBe(5);
    await expect(client.executeRaw("echo", { n: "five" }, { check })).rejects.toMatchObject({
      code: "qmp.unexpected-reply",
      message: expect.stringMatching(/reply\.n is not a number/),
    });
    expect(client.state).toBe("running");
  });

  it("is sent by execute too when plain JavaScript asks for it, and QEMU says whether it exists", async () => {
    await using server = await startQmpServer(async (peer) => {
      await peer.negotiate();
      peer.refuse(await peer.hear(), "CommandNotFound", "The command toString has not been found");
    });
    await using client = await connectQmp({ path: server.path });
    await expect(client.execute("toString" as "stop")).rejects.toMatchObject({ qmpClass: "CommandNotFound" });
  });

  it("fails as any other: by its deadline, its signal, and arguments that cannot be sent", async () => {
    await using server = await startQmpServer(async (peer) => {
      await peer.negotiate();
      await peer.left;
    });
    await using client = await connectQmp({ path: server.path });
    await expect(client.executeRaw("slow", {}, { timeoutMs: 20 })).rejects.toMatchObject({
      code: "qmp.timeout",
      wasSent: true,
    });
    await expect(client.executeRaw("slow", {}, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "qmp.aborted",
      wasSent: false,
    });
    await expect(client.executeRaw("slow", { n: 2 ** 53 })).rejects.toMatchObject({ code: "qmp.unsendable" });
  });
});

describe("the state of a client", () => {
  it("can be asked at any time, and tells why the link ended", async () => {
    await using server = await serve(() => undefined);
    const states: string[] = [];
    const client = await connectQmp({ path: server.path, onState: (state) => states.push(state) });
    expect([client.state, client.closeReason]).toEqual(["running", undefined]);
    await client.execute("quit");
    await client.closed;
    expect([client.state, client.closeReason]).toEqual(["closed", { kind: "peer", cutOffBytes: 0 }]);
    expect(states).toEqual(["connecting", "negotiating", "running", "closed"]);
  });
});

describe("the frame cap", () => {
  const line = "x".repeat(16_000_000);
  const speak = async (peer: ScriptedPeer): Promise<void> => {
    await peer.negotiate();
    peer.reply(await peer.hear(), line);
  };

  it("ends the link at a line of 16 MB", async () => {
    await using server = await startQmpServer(speak);
    await using client = await connectQmp({ path: server.path });
    await expect(client.executeRaw("big")).rejects.toMatchObject({ code: "qmp.disconnected" });
    expect(client.closeReason).toMatchObject({ kind: "protocol", error: { code: "qmp.frame-too-long" } });
  });

  it("can be raised", async () => {
    await using server = await startQmpServer(speak);
    await using client = await connectQmp({ path: server.path, maxFrameBytes: 17_000_000 });
    expect(await client.executeRaw<string>("big", {}, { timeoutMs: 30_000 })).toHaveLength(line.length);
  });
});
