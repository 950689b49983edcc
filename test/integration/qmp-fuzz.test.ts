/**
 * A monitor gone mad: lines cut anywhere, garbage between them, replies out of order, lines of 16 MB, an end at any byte.
 * The client must come to what the model says, never hang, and never leave a rejection unhandled.
 *
 * The seed is printed; FUZZ_SEED repeats another one, FUZZ_RUNS makes it longer.
 */
import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  connectQmp,
  type QmpClient,
  QmpCommandError,
  QmpConnectError,
  QmpInterruptedError,
  QmpProtocolError,
  QmpTimeoutError,
} from "../../src/qmp/index.js";
import { GREETING, type HeardCommand, type ScriptedPeer, startQmpServer } from "../support/qmp-server.js";

const SEED = Number(process.env["FUZZ_SEED"] ?? 20_261_124);
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 250);
const HANG_GUARD_MS = 10_000;
/** A deadline that is never reached: whoever waits for it hangs. */
const NEVER_MS = 60_000;
const SILENCE_MS = 150;
const SOON_MS = 20;
const HUGE = 16_000_000;

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

/** One thing the server says. `call` is the place of a command among those it heard. */
type Item =
  | { readonly kind: "reply" | "refusal" | "misshapen" | "huge"; readonly call: number }
  | { readonly kind: "harmless" | "fatal"; readonly bytes: Uint8Array }
  | { readonly kind: "event"; readonly name: string };
type End = "fin" | "cut-line" | "reset" | "silence" | "client-closes";

interface Plan {
  readonly calls: number;
  readonly items: readonly Item[];
  readonly end: End;
  /** How many bytes go out in one write, over and over. */
  readonly chunks: readonly number[];
  readonly isCapRaised: boolean;
}

const line = (text: string): Uint8Array => Buffer.from(`${text}\r\n`);
const wire = (message: unknown): Uint8Array => line(JSON.stringify(message));
const timestamp = { seconds: 1, microseconds: 2 };

/** QEMU would never say it, and nobody is harmed. */
const harmless = fc.oneof(
  fc.constantFrom("", " ", "\t").map(line),
  fc.integer({ min: 100, max: 2 ** 40 }).map((id) => wire({ return: {}, id })),
  fc.json().map((id) => line(`{"return": {}, "id": [${id}]}`)),
  fc.constant(wire({ return: {} })),
  fc.constant(wire({ error: { class: "GenericError", desc: "x" }, id: 4711 })),
  fc
    .json()
    .map((data) =>
      line(
        `{"event": "NEVER_HEARD_OF", "data": {"x": ${data}}, "timestamp": {"seconds": 1, "microseconds": 2}}`,
      ),
    ),
  fc.constant(wire({ event: "DEVICE_DELETED", data: { path: 7 }, timestamp })),
);

/** The link cannot be trusted after this. */
const fatal = fc.oneof(
  fc
    .uint8Array({ maxLength: 40 })
    .map((bytes) =>
      Buffer.concat([Buffer.from("x"), bytes.map((byte) => (byte === 10 ? 11 : byte)), Buffer.from("\n")]),
    ),
  fc
    .constantFrom("{", "}", "[]", "null", '"text"', "18446744073709551615", '{"return": {}', '{"id": 1}')
    .map(line),
  fc.constant(line("220 mail ready")),
  fc.constant(wire(GREETING)),
  fc.constant(wire({ error: { class: "GenericError", desc: "JSON parse error" } })),
  fc.constant(wire({ event: "STOP" })),
  fc.constant(wire({ error: "bad", id: 2 })),
);

const item: fc.Arbitrary<Item> = fc.oneof(
  { weight: 8, arbitrary: fc.nat(9).map((call): Item => ({ kind: "reply", call })) },
  { weight: 2, arbitrary: fc.nat(9).map((call): Item => ({ kind: "refusal", call })) },
  { weight: 1, arbitrary: fc.nat(9).map((call): Item => ({ kind: "misshapen", call })) },
  {
    weight: 3,
    arbitrary: fc.constantFrom("STOP", "RESUME", "WAKEUP").map((name): Item => ({ kind: "event", name })),
  },
  { weight: 4, arbitrary: harmless.map((bytes): Item => ({ kind: "harmless", bytes })) },
);

const plan: fc.Arbitrary<Plan> = fc.record({
  calls: fc.integer({ min: 1, max: 8 }),
  items: fc.oneof(
    { weight: 6, arbitrary: fc.array(item, { maxLength: 25 }) },
    {
      weight: 4,
      arbitrary: fc
        .tuple(fc.array(item, { maxLength: 15 }), fatal, fc.array(item, { maxLength: 5 }))
        .map(([before, bytes, after]): Item[] => [...before, { kind: "fatal", bytes }, ...after]),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.array(item, { maxLength: 5 }), fc.nat(9), fc.array(item, { maxLength: 5 }))
        .map(([before, call, after]): Item[] => [...before, { kind: "huge", call }, ...after]),
    },
  ),
  end: fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom<End>("fin", "cut-line") },
    { weight: 2, arbitrary: fc.constantFrom<End>("reset", "client-closes") },
    { weight: 1, arbitrary: fc.constant<End>("silence") },
  ),
  chunks: fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 5000 })), {
    minLength: 1,
    maxLength: 12,
  }),
  isCapRaised: fc.boolean(),
});

/** What the calls and the reader must come to, if nothing is lost on the way. */
function foresee({ calls, items, isCapRaised }: Plan): { outcomes: string[]; events: string[] } {
  const outcomes = Array.from({ length: calls }, () => "unanswered");
  const events: string[] = [];
  for (const each of items) {
    if (each.kind === "fatal" || (each.kind === "huge" && !isCapRaised)) {
      break;
    }
    if (each.kind === "event") {
      events.push(each.name);
    } else if ("call" in each && outcomes[each.call % calls] === "unanswered") {
      outcomes[each.call % calls] = each.kind;
    }
  }
  return { outcomes, events };
}

function bytesOf(each: Item, heard: readonly HeardCommand[]): Uint8Array {
  switch (each.kind) {
    case "event":
      return wire({ event: each.name, timestamp });
    case "harmless":
    case "fatal":
      return each.bytes;
    default: {
      const id = heard[each.call % heard.length]?.id;
      if (each.kind === "refusal") {
        return wire({ error: { class: "GenericError", desc: "no" }, id });
      }
      const status = each.kind === "misshapen" ? 5 : each.kind === "huge" ? "x".repeat(HUGE) : "reply";
      return wire({ return: { status, running: true }, id });
    }
  }
}

/** The server's part: hears all commands, then says its piece in the plan's chunks. */
async function perform(peer: ScriptedPeer, { calls, items, end, chunks }: Plan): Promise<void> {
  await peer.negotiate();
  const heard: HeardCommand[] = [];
  while (heard.length < calls) {
    heard.push(await peer.hear());
  }
  const cut = end === "cut-line" ? [Buffer.from('{"return": {"sta')] : [];
  const all = Buffer.concat([...items.map((each) => bytesOf(each, heard)), ...cut]);
  for (let start = 0, turn = 0; start < all.length; turn += 1) {
    // Megabytes in single bytes would only be slow.
    const size = Math.max(chunks[turn % chunks.length] ?? 1, all.length > 1_000_000 ? 65_537 : 1);
    peer.sayRaw(all.subarray(start, start + size));
    start += size;
    if (turn < 300) {
      await new Promise(setImmediate);
    }
  }
  if (end === "fin" || end === "cut-line") {
    peer.endWriting();
  } else if (end === "reset") {
    peer.hangUp();
  }
}

function nameOf(outcome: unknown): string {
  if (outcome instanceof QmpCommandError) {
    return "refusal";
  }
  if (outcome instanceof QmpProtocolError && outcome.code === "qmp.unexpected-reply") {
    return "misshapen";
  }
  if (outcome instanceof QmpInterruptedError) {
    return "unanswered";
  }
  if (outcome instanceof QmpTimeoutError) {
    return "timed out";
  }
  const { status } = outcome as { status: string };
  return status.length === HUGE ? "huge" : status;
}

/** The client's part; nothing in it may wait for ever. */
async function converse(client: QmpClient, { calls, end }: Plan) {
  const timeoutMs = end === "silence" ? SILENCE_MS : NEVER_MS;
  const events = client.events();
  const waiting = client.waitFor("SUSPEND", () => true, { timeoutMs });
  void client.waitFor("SUSPEND", () => true, { timeoutMs });
  const asked = Array.from({ length: calls }, () => client.execute("query-status", {}, { timeoutMs }));
  void client.execute("query-status", {}, { signal: AbortSignal.abort() });
  if (end === "client-closes") {
    // Somewhere in the middle: at the first answer, or soon when there is none.
    await Promise.race([...asked, client.closed, delay(SOON_MS)]).catch(() => undefined);
    await client.close();
  }
  const outcomes = await Promise.all(asked.map((call) => call.catch((error: unknown) => error)));
  const waited: unknown = await waiting.catch((error: unknown) => error);
  await client.close();
  const read: string[] = [];
  for await (const event of events) {
    read.push(event.name);
  }
  return { outcomes: outcomes.map(nameOf), waited, read, reason: await client.closed };
}

/** Fails instead of waiting for ever. */
async function guarded<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const hang = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error("it hangs")), HANG_GUARD_MS);
  });
  return await Promise.race([promise, hang]).finally(() => clearTimeout(timer));
}

describe("a session with a monitor gone mad", () => {
  it(`comes to what the model says [FUZZ_SEED=${SEED}]`, { timeout: 10 * 60_000 }, async () => {
    console.log(`qmp fuzz: seed ${SEED}, ${RUNS} sessions`);
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(plan, async (its) => {
        await using server = await startQmpServer((peer) => perform(peer, its));
        const states: string[] = [];
        const client = await connectQmp({
          path: server.path,
          ...(its.isCapRaised && { maxFrameBytes: 2 * HUGE }),
          onState: (state) => states.push(state),
        });
        const { outcomes, waited, read, reason } = await guarded(converse(client, its));
        const expected = foresee(its);
        if (its.end === "fin" || its.end === "cut-line") {
          expect(outcomes).toEqual(expected.outcomes);
          expect(read).toEqual(expected.events);
        } else {
          // What was said last may be lost with the link, or come too late; nothing else may come.
          outcomes.forEach((outcome, call) => {
            const lost = its.end === "silence" ? "timed out" : "unanswered";
            expect([expected.outcomes[call], lost]).toContain(outcome);
          });
          expect(expected.events.slice(0, read.length)).toEqual(read);
        }
        // With silence either may come first: a fatal line or the deadline.
        const isLate = its.end === "silence" && waited instanceof QmpTimeoutError;
        expect(isLate || waited instanceof QmpInterruptedError).toBe(true);
        expect(states).toEqual(["connecting", "negotiating", "running", "closed"]);
        expect(client.pendingCommands).toEqual([]);
        for (const sight of [...outcomes, `closed: ${reason.kind}`]) {
          seen.add(sight);
        }
      }),
      { seed: SEED, numRuns: RUNS, endOnFailure: true },
    );
    // A fuzz that no longer reaches these would prove nothing.
    expect([...seen]).toEqual(
      expect.arrayContaining([
        "reply",
        "refusal",
        "misshapen",
        "huge",
        "unanswered",
        "closed: protocol",
        "closed: peer",
      ]),
    );
  });
});

describe("a greeting gone mad", () => {
  it(`is refused in one sentence, or taken when it is whole [FUZZ_SEED=${SEED}]`, async () => {
    const whole = wire(GREETING);
    const opening = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.nat(whole.length).map((length) => whole.subarray(0, length)),
      fatal,
      harmless,
      fc.tuple(harmless, fc.constant(whole)).map((parts) => Buffer.concat(parts)),
    );
    await fc.assert(
      fc.asyncProperty(opening, fc.boolean(), async (bytes, isEnding) => {
        await using server = await startQmpServer((peer) => {
          peer.sayRaw(bytes);
          if (isEnding) {
            peer.endWriting();
          }
        });
        const options = { path: server.path, greetingTimeoutMs: 40, signal: AbortSignal.timeout(80) };
        const error = await guarded(connectQmp(options).catch((caught: unknown) => caught));
        expect(error instanceof QmpConnectError || error instanceof QmpProtocolError).toBe(true);
        expect((error as Error).message).not.toMatch(/\p{Cc}/u);
      }),
      { seed: SEED, numRuns: Math.ceil(RUNS / 2), endOnFailure: true },
    );
  });
});
