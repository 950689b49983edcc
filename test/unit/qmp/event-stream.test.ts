import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventStream, type QmpEventsOptions } from "../../../src/qmp/event-stream.js";

/** A stream with its source in hand. */
function openStream(options: QmpEventsOptions = {}, hasEnded = false) {
  const source = { hear: (_event: number): void => undefined, end: (): void => undefined, subscriptions: 0 };
  const stream = new EventStream<number>(options, {}).open((hear, end) => {
    Object.assign(source, { hear, end, subscriptions: source.subscriptions + 1 });
    return () => {
      source.subscriptions -= 1;
    };
  }, hasEnded);
  return { source, stream };
}

async function rest(stream: EventStream<number>): Promise<(number | string)[]> {
  const seen: (number | string)[] = [];
  try {
    for await (const event of stream) {
      seen.push(event);
    }
  } catch (error) {
    seen.push((error as { code: string }).code);
  }
  return seen;
}

describe("a stream of events", () => {
  it("hears from the moment it is made and ends with the link, after what was buffered", async () => {
    const { source, stream } = openStream();
    source.hear(1);
    source.hear(2);
    source.end();
    source.hear(3);
    expect(await rest(stream)).toEqual([1, 2]);
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    expect(source.subscriptions).toBe(0);
  });

  it("serves readers who wait, in their order, and lets them go at the end", async () => {
    const { source, stream } = openStream();
    const waiting = [stream.next(), stream.next(), stream.next()];
    source.hear(1);
    source.hear(2);
    source.end();
    expect(await Promise.all(waiting)).toEqual([
      { done: false, value: 1 },
      { done: false, value: 2 },
      { done: true, value: undefined },
    ]);
  });

  it("stops listening when the reader leaves its loop", async () => {
    const { source, stream } = openStream();
    source.hear(1);
    source.hear(2);
    for await (const event of stream) {
      expect(event).toBe(1);
      break;
    }
    expect(source.subscriptions).toBe(0);
    expect(await rest(stream)).toEqual([]);
  });

  it("stops listening when disposed, and lets a waiting reader go", async () => {
    const { source, stream } = openStream();
    const waiting = stream.next();
    await stream[Symbol.asyncDispose]();
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(source.subscriptions).toBe(0);
  });

  it("tells a slow reader that events were lost, after those that were kept", async () => {
    const { source, stream } = openStream({ bufferSize: 2 });
    [1, 2, 3, 4].forEach((event) => {
      source.hear(event);
    });
    expect(source.subscriptions).toBe(0);
    expect(await rest(stream)).toEqual([1, 2, "qmp.events-lost"]);
    expect(await rest(stream)).toEqual([]);
  });

  it("gives up by signal, waiting, buffering or before it began, and tells the reader once", async () => {
    const abort = new AbortController();
    const waiting = openStream({ signal: abort.signal });
    const buffering = openStream({ signal: abort.signal });
    buffering.source.hear(1);
    const next = waiting.stream.next();
    abort.abort(new Error("enough"));
    await expect(next).rejects.toMatchObject({ code: "qmp.aborted", cause: { message: "enough" } });
    expect(await rest(waiting.stream)).toEqual([]);
    expect(await rest(buffering.stream)).toEqual(["qmp.aborted"]);
    const late = openStream({ signal: abort.signal });
    expect(await rest(late.stream)).toEqual(["qmp.aborted"]);
    expect([waiting, buffering, late].map(({ source }) => source.subscriptions)).toEqual([0, 0, 0]);
  });

  it("is at its end when the link has ended before", async () => {
    const { source, stream } = openStream({}, true);
    expect(await rest(stream)).toEqual([]);
    expect(source.subscriptions).toBe(0);
  });

  it("gives out each event once and in order, however reading and hearing alternate", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 60 }), async (steps) => {
        const { source, stream } = openStream({ bufferSize: 100 });
        const reads: Promise<IteratorResult<number, undefined>>[] = [];
        let heard = 0;
        for (const isHearing of steps) {
          if (isHearing) {
            heard += 1;
            source.hear(heard);
          } else {
            reads.push(stream.next());
          }
        }
        source.end();
        const read = (await Promise.all(reads)).flatMap((result) => (result.done ? [] : [result.value]));
        expect([...read, ...(await rest(stream))]).toEqual(Array.from({ length: heard }, (_, i) => i + 1));
      }),
    );
  });
});
