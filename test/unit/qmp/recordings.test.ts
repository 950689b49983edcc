/**
 * The wire types are proved by what QEMU really said: every recorded message is understood, and every member a
 * guard reads occurs in some recording.
 */
import { describe, expect, it } from "vitest";
import { QMP_COMMANDS, type QmpCommandName } from "../../../src/qmp/commands.js";
import { QmpProtocolError } from "../../../src/qmp/errors.js";
import { QMP_EVENTS, recognizeEvent } from "../../../src/qmp/events.js";
import { FrameSplitter } from "../../../src/qmp/framing.js";
import { formatJson, type JsonValue } from "../../../src/qmp/json.js";
import { parseMessage, type QmpMessage } from "../../../src/qmp/protocol.js";
import type { RecordedMessage } from "../../../src/qmp/replay.js";
import { isObject, loadRawExchanges, loadRecordings } from "../../support/qmp-recordings.js";

const recordings = loadRecordings();
const connections = recordings.flatMap((recording) => recording.connections);

function understand(message: RecordedMessage): QmpMessage {
  return parseMessage(formatJson(message.msg as JsonValue));
}

/** Each recorded answer with the command it belongs to. */
function answersOf(connection: readonly RecordedMessage[]): { command: string; answer: QmpMessage }[] {
  const asked = new Map<unknown, string>();
  const answers: { command: string; answer: QmpMessage }[] = [];
  for (const message of connection) {
    if (!isObject(message.msg)) {
      continue;
    }
    if (message.dir === "client") {
      asked.set(message.msg["id"], String(message.msg["execute"]));
      continue;
    }
    const answer = understand(message);
    if (answer.kind === "reply" || answer.kind === "error") {
      answers.push({ command: asked.get(answer.id) ?? "?", answer });
    }
  }
  return answers;
}

const answers = connections.flatMap(answersOf);

function isKnown(command: string): command is QmpCommandName {
  return Object.hasOwn(QMP_COMMANDS, command);
}

/** Remembers which members are looked at, and at what path. */
function watched<T>(value: T, place: string, seen: Set<string>): T {
  if (typeof value !== "object" || value === null) {
    return value;
  }
  return new Proxy(value, {
    getOwnPropertyDescriptor(target, name) {
      const descriptor = Reflect.getOwnPropertyDescriptor(target, name);
      // Object.hasOwn is how a guard looks for a member; list indices are not names of the wire.
      if (typeof name === "string" && !Array.isArray(target)) {
        seen.add(`${unnested(place)}.${name}${descriptor === undefined ? " absent" : " present"}`);
      }
      return descriptor;
    },
    get(target, name, receiver) {
      const member: unknown = Reflect.get(target, name, receiver);
      const isIndex = Array.isArray(target) && typeof name === "string" && /^\d+$/.test(name);
      return isIndex
        ? watched(member, `${place}[]`, seen)
        : watched(member, `${place}.${String(name)}`, seen);
    },
  });
}

/** A bridge below a bridge goes through the same guard as the first one. */
function unnested(place: string): string {
  return place.replaceAll(".pci_bridge.devices[]", "");
}

/** Members that were looked for and never found. */
function neverFound(seen: ReadonlySet<string>): string[] {
  return [...seen]
    .filter((entry) => entry.endsWith(" absent") && !seen.has(entry.replace(/ absent$/, " present")))
    .map((entry) => entry.replace(/ absent$/, ""));
}

describe("the recordings of QEMU 7.2", () => {
  it("are there, each with at least one connection", () => {
    expect(recordings.length).toBeGreaterThan(90);
    expect(recordings.filter((recording) => recording.connections.length === 0)).toEqual([]);
    expect(answers.length).toBeGreaterThan(800);
  });

  it("begin with a greeting and answer only what was asked", () => {
    const first = connections
      .map((connection) => connection[0])
      .flatMap((m) => (m ? [understand(m).kind] : []));
    expect(new Set(first)).toEqual(new Set(["greeting"]));
    expect(answers.filter((entry) => entry.command === "?")).toEqual([]);
  });

  it("hold a good reply to every command this program sends, and the guards understand each", () => {
    const proved = new Set<string>();
    for (const { command, answer } of answers) {
      if (isKnown(command) && answer.kind === "reply") {
        QMP_COMMANDS[command].reply(answer.value, command);
        proved.add(command);
      }
    }
    expect(Object.keys(QMP_COMMANDS).filter((command) => !proved.has(command))).toEqual([]);
  });

  it("hold every member of a reply that a guard reads", () => {
    const seen = new Set<string>();
    for (const { command, answer } of answers) {
      if (isKnown(command) && answer.kind === "reply") {
        QMP_COMMANDS[command].reply(watched(answer.value, command, seen), command);
      }
    }
    expect(seen.size).toBeGreaterThan(30);
    expect(neverFound(seen)).toEqual([]);
  });

  it("hold only events this program understands, with every member its guards read", () => {
    const seen = new Set<string>();
    const names = new Set<string>();
    const messages = connections
      .flat()
      .filter((m) => m.dir === "server" && isObject(m.msg) && "event" in m.msg);
    for (const message of messages.map(understand)) {
      if (message.kind === "event") {
        const { event } = message;
        expect(recognizeEvent({ ...event, data: watched(event.data, event.name, seen) })?.name).toBe(
          event.name,
        );
        names.add(event.name);
      }
    }
    expect(neverFound(seen)).toEqual([]);
    // Never met on x86 in any experiment; the qemu tests look them up in QEMU's own schema.
    const unmet = ["DEVICE_UNPLUG_GUEST_ERROR", "GUEST_PANICKED", "SUSPEND", "WAKEUP"];
    expect(
      Object.keys(QMP_EVENTS)
        .filter((name) => !names.has(name))
        .sort(),
    ).toEqual(unmet);
  });

  it("keep 2^64-1 exact", () => {
    const values = answers.flatMap(({ answer }) => (answer.kind === "reply" ? [answer.value] : []));
    expect(values).toContain(2n ** 64n - 1n);
  });
});

/** What becomes of the raw bytes of one exchange. */
function hearRaw(bytes: string): string[] {
  const splitter = new FrameSplitter();
  try {
    return [...splitter.push(Buffer.from(bytes))].map((line) => parseMessage(line).kind);
  } catch (error) {
    if (error instanceof QmpProtocolError) {
      return [error.code];
    }
    throw error;
  }
}

describe("the raw bytes of a QMP socket", () => {
  const exchanges = loadRawExchanges();

  it.each(exchanges.filter((e) => e.note.startsWith("pretty")))("name the cure for $note", (exchange) => {
    expect(hearRaw(exchange.server)).toEqual(["qmp.pretty"]);
  });

  it.each(exchanges.filter((e) => !e.note.startsWith("pretty") && e.server !== ""))(
    "are understood: $note",
    (exchange) => {
      const kinds = hearRaw(exchange.server);
      // "<EOF>" and "<[Errno 104] ...>" are the recorder's own words, without a line end.
      expect(kinds.length).toBe(exchange.server.split("\r\n").length - 1);
      expect(kinds.filter((kind) => kind.startsWith("qmp."))).toEqual([]);
    },
  );
});
