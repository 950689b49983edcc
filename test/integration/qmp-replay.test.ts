/** Every recorded conversation, played back by a server on a real socket to the real client, recorder on. */
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  connectQmp,
  openWireRecording,
  parseWireRecording,
  QMP_COMMANDS,
  type QmpClient,
  type QmpCommandName,
  QmpInterruptedError,
  QmpRecordingError,
  type RecordedConnection,
  startWireReplay,
} from "../../src/qmp/index.js";
import { isObject, loadRecordings, type WireObject } from "../support/qmp-recordings.js";

function saidBy(dir: "client" | "server", connection: RecordedConnection): WireObject[] {
  return connection.flatMap((message) => (message.dir === dir && isObject(message.msg) ? [message.msg] : []));
}

/** Only commands this program knows can be sent by its typed client. */
function isPlayable(connection: RecordedConnection): boolean {
  return saidBy("client", connection).every((command) =>
    Object.hasOwn(QMP_COMMANDS, String(command["execute"])),
  );
}

const scenes = loadRecordings().flatMap(({ name, connections }) =>
  connections.filter(isPlayable).map((connection, index) => ({ title: `${name} #${index + 1}`, connection })),
);

/** Plays the client's part; what each command came to, as the wire says it. */
async function playClient(client: QmpClient, connection: RecordedConnection): Promise<unknown[]> {
  const commands = saidBy("client", connection).slice(1);
  return await Promise.all(
    commands.map(async (command) => {
      try {
        return { return: await executeRecorded(client, command) };
      } catch (error) {
        if (error instanceof QmpInterruptedError) {
          return undefined;
        }
        const { qmpClass, desc } = error as { qmpClass: string; desc: string };
        return { error: { class: qmpClass, desc } };
      }
    }),
  );
}

/** The one place where a recorded command is taken for a typed one. */
function executeRecorded(client: QmpClient, command: WireObject): Promise<unknown> {
  const execute = client.execute.bind(client) as (name: QmpCommandName, args: unknown) => Promise<unknown>;
  return execute(command["execute"] as QmpCommandName, command["arguments"]);
}

/** What the recording says each command came to. */
function recordedOutcomes(connection: RecordedConnection): unknown[] {
  const answers = new Map(
    saidBy("server", connection)
      .filter((message) => "return" in message || "error" in message)
      .map(({ id, ...rest }) => [id, rest]),
  );
  return saidBy("client", connection)
    .slice(1)
    .map((command) => answers.get(command["id"]));
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "pciplug-replay-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

function readBack(file: string): RecordedConnection {
  const connections = parseWireRecording(readFileSync(file, "utf8"));
  expect(connections.length).toBe(1);
  return connections[0] ?? [];
}

describe("a recorded conversation", () => {
  it("is played in most recordings", () => {
    expect(scenes.length).toBeGreaterThan(75);
  });

  it.each(scenes)(
    "comes to the same for the client, and is recorded as it was: $title",
    async ({ connection }) => {
      const file = join(folder, "wire.ndjson");
      const events: string[] = [];
      const unknown: unknown[] = [];
      {
        await using server = await startWireReplay(join(folder, "qmp.sock"), [connection]);
        using recording = openWireRecording(file, { nowMs: () => 0 });
        await using client = await connectQmp({
          path: server.path,
          onWire: recording.tap,
          onEvent: (event) => events.push(event.name),
          onUnknown: (oddity) => unknown.push(oddity),
        });
        expect(await playClient(client, connection)).toEqual(recordedOutcomes(connection));
        expect(await client.closed).toEqual({ kind: "peer", cutOffBytes: 0 });
        expect(server.deviations).toEqual([]);
      }
      expect(unknown).toEqual([]);
      expect(events).toEqual(saidBy("server", connection).flatMap((message) => message["event"] ?? []));
      const again = readBack(file);
      expect(saidBy("server", again).map(withoutId)).toEqual(saidBy("server", connection).map(withoutId));
      expect(saidBy("client", again).map(withoutId)).toEqual(saidBy("client", connection).map(withoutId));
      expect(again.at(-1)).toMatchObject({ dir: "server", msg: "<closed>" });
    },
  );
});

function withoutId({ id, ...rest }: WireObject): unknown {
  return rest;
}

describe("a recording", () => {
  it("is a new file for its owner alone, and counts time from each connect", () => {
    const file = join(folder, "wire.ndjson");
    let nowMs = 5000;
    {
      using recording = openWireRecording(file, { nowMs: () => nowMs, note: "by hand" });
      recording.tap({ kind: "opened" });
      nowMs += 1.25;
      recording.tap({ kind: "received", text: '{"return": 18446744073709551615, "id": 1}' });
      recording.tap({ kind: "received", text: "garbage" });
      recording.tap({ kind: "closed" });
      nowMs += 1000;
      recording.tap({ kind: "opened" });
      recording.tap({ kind: "sent", text: '{"execute":"stop"}' });
    }
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, "utf8").split("\n")).toEqual([
      '{"dir":"note","msg":"by hand"}',
      '{"t":0.0013,"dir":"server","msg":{"return": 18446744073709551615, "id": 1}}',
      '{"t":0.0013,"dir":"server","msg":"garbage"}',
      '{"t":0.0013,"dir":"server","msg":"<closed>"}',
      '{"t":0.0000,"dir":"client","msg":{"execute":"stop"}}',
      "",
    ]);
  });

  it("never overwrites a file and never follows a link", () => {
    const there = join(folder, "there");
    const link = join(folder, "link");
    writeFileSync(there, "precious");
    symlinkSync(join(folder, "elsewhere"), link);
    for (const path of [there, link, join(folder, "no/such/folder")]) {
      expect(() => openWireRecording(path, { nowMs: () => 0 })).toThrow(QmpRecordingError);
    }
    expect(readFileSync(there, "utf8")).toBe("precious");
  });
});

describe("a replay", () => {
  const greeting = {
    QMP: { version: { qemu: { micro: 0, minor: 2, major: 7 }, package: "" }, capabilities: [] },
  };
  const rows = [
    { dir: "note", msg: "by hand" },
    { t: 0, dir: "server", msg: greeting },
    { t: 0, dir: "client", msg: { execute: "qmp_capabilities", id: 90 } },
    { t: 0, dir: "server", msg: { return: {}, id: 90 } },
    {
      t: 0,
      dir: "client",
      msg: { execute: "qom-get", arguments: { path: "/p", property: "x" }, id: "mine" },
    },
    { t: 0, dir: "server", msg: { event: "STOP", timestamp: { seconds: 1, microseconds: 0 } } },
    { t: 0, dir: "server", msg: { return: 5, id: "mine" } },
    { t: 0, dir: "server", msg: "<closed>" },
    { t: 0, dir: "server", msg: greeting },
  ];
  const recorded = parseWireRecording(rows.map((row) => JSON.stringify(row)).join("\n"));

  it("plays one recorded connection after the other, with the ids of the living client", async () => {
    expect(recorded.map((connection) => connection.length)).toEqual([7, 1]);
    await using replay = await startWireReplay(join(folder, "qmp.sock"), recorded);
    await using client = await connectQmp({ path: replay.path });
    const stopped = client.waitFor("STOP", () => true, { timeoutMs: 10_000 });
    // The order of members means nothing.
    expect(await client.execute("qom-get", { property: "x", path: "/p" })).toBe(5);
    expect((await stopped).timestampMs).toBe(1000);
    expect(await client.closed).toEqual({ kind: "peer", cutOffBytes: 0 });
    expect(replay.deviations).toEqual([]);
    // The second was recorded up to its greeting only; of a third nothing was recorded.
    await expect(connectQmp({ path: replay.path })).rejects.toMatchObject({ code: "qmp.hung-up" });
    await expect(connectQmp({ path: replay.path })).rejects.toMatchObject({ code: "qmp.hung-up" });
  });

  it("hangs up on a client that says something else, and tells what was due", async () => {
    await using replay = await startWireReplay(join(folder, "qmp.sock"), recorded);
    await using client = await connectQmp({ path: replay.path });
    const other = client.execute("qom-get", { path: "/p", property: "y" });
    await expect(other).rejects.toMatchObject({ code: "qmp.disconnected", wasSent: true });
    expect(replay.deviations).toEqual([
      'cannot replay: heard qom-get {"path":"/p","property":"y"} where the recording has ' +
        'qom-get {"path":"/p","property":"x"}',
    ]);
  });

  it("refuses a path that is taken", async () => {
    const path = join(folder, "qmp.sock");
    await using replay = await startWireReplay(path, recorded);
    expect(replay.deviations).toEqual([]);
    await expect(startWireReplay(path, recorded)).rejects.toMatchObject({ code: "EADDRINUSE" });
  });

  it("cannot be made of what is no recording", () => {
    expect(() => parseWireRecording("220 mail ready")).toThrow(SyntaxError);
    expect(parseWireRecording("")).toEqual([]);
  });
});
