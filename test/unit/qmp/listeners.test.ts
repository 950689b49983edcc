import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { captureOrigin, QmpInterruptedError, QmpTimeoutError } from "../../../src/qmp/errors.js";
import { isQmpEvent, type QmpEvent, type RawQmpEvent } from "../../../src/qmp/events.js";
import { EventListeners } from "../../../src/qmp/listeners.js";

const deleted = (device: string, timestampMs = 1): QmpEvent => ({
  name: "DEVICE_DELETED",
  data: { device, path: `/machine/peripheral/${device}` },
  timestampMs,
});
const stopped: QmpEvent = { name: "STOP", data: {}, timestampMs: 1 };
const strange: RawQmpEvent = { name: "NEVER_HEARD_OF", data: { n: 1 }, timestampMs: 1 };

/** As the session hands on what it read. */
function tell(listeners: EventListeners, event: QmpEvent): void {
  listeners.dispatch(event as RawQmpEvent, event);
}

function waitFor(
  listeners: EventListeners,
  name: string,
  predicate: (event: QmpEvent) => boolean,
  signal?: AbortSignal,
) {
  const pick = (_raw: RawQmpEvent, known: QmpEvent | undefined): QmpEvent | undefined =>
    known?.name === name && predicate(known) ? known : undefined;
  return listeners.waitFor({ name, pick, timeoutMs: 50, signal, origin: captureOrigin(waitFor) });
}

function waitForDeleted(listeners: EventListeners, device: string, signal?: AbortSignal) {
  const isIt = (event: QmpEvent): boolean =>
    isQmpEvent(event, "DEVICE_DELETED") && event.data.device === device;
  return waitFor(listeners, "DEVICE_DELETED", isIt, signal);
}

describe("the listeners of a link", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  it("hears events in order until it is removed, once per time it was added", () => {
    const listeners = new EventListeners();
    const heard: string[] = [];
    const listen = (event: QmpEvent): void => void heard.push(event.name);
    const removeFirst = listeners.add(listen);
    const removeSecond = listeners.add(listen);
    tell(listeners, stopped);
    removeFirst();
    removeFirst();
    tell(listeners, deleted("a"));
    removeSecond();
    tell(listeners, stopped);
    expect(heard).toEqual(["STOP", "STOP", "DEVICE_DELETED"]);
  });

  it("waits for the first event that has the name and satisfies the predicate", async () => {
    const listeners = new EventListeners();
    tell(listeners, deleted("b"));
    const waiting = waitForDeleted(listeners, "b");
    tell(listeners, stopped);
    tell(listeners, deleted("a"));
    tell(listeners, deleted("b", 2));
    tell(listeners, deleted("b"));
    expect((await waiting).timestampMs).toBe(2);
  });

  it("rejects a waiter at its deadline, at its signal and at the end of the link", async () => {
    const listeners = new EventListeners();
    const late = waitForDeleted(listeners, "a");
    await vi.advanceTimersByTimeAsync(50);
    await expect(late).rejects.toBeInstanceOf(QmpTimeoutError);

    const abort = new AbortController();
    const aborted = waitForDeleted(listeners, "a", abort.signal);
    abort.abort();
    await expect(aborted).rejects.toMatchObject({ code: "qmp.aborted" });
    await expect(waitForDeleted(listeners, "a", abort.signal)).rejects.toMatchObject({ code: "qmp.aborted" });

    const cut = waitForDeleted(listeners, "a");
    listeners.interruptAll("QEMU closed the link", undefined);
    const error: unknown = await cut.catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(QmpInterruptedError);
    expect((error as Error).message).toBe("cannot wait for DEVICE_DELETED any longer: QEMU closed the link");
    expect((error as Error).stack?.split("\n")[1]).toContain("listeners.test.ts");
  });

  it("rejects the waiter whose predicate throws, and serves the others", async () => {
    const listeners = new EventListeners();
    const broken = waitFor(listeners, "STOP", () => {
      throw new RangeError("my own bug");
    });
    const sound = waitFor(listeners, "STOP", () => true);
    tell(listeners, stopped);
    await expect(broken).rejects.toBeInstanceOf(RangeError);
    await expect(sound).resolves.toEqual(stopped);
  });

  it("gives an event of an unknown name to those who hear the raw wire, and to nobody else", async () => {
    const listeners = new EventListeners();
    const heard: string[] = [];
    listeners.add((event) => heard.push(`known ${event.name}`));
    const remove = listeners.addRaw((event) => heard.push(`raw ${event.name}`));
    const waiting = listeners.waitFor({
      name: strange.name,
      pick: (raw) => (raw.name === strange.name ? raw : undefined),
      timeoutMs: 50,
      origin: {},
    });
    tell(listeners, stopped);
    listeners.dispatch(strange, undefined);
    remove();
    listeners.dispatch(strange, undefined);
    expect(heard).toEqual(["raw STOP", "known STOP", "raw NEVER_HEARD_OF"]);
    await expect(waiting).resolves.toBe(strange);
  });

  it("tells its listeners of the end of the link once, and not those who left before", () => {
    const listeners = new EventListeners();
    const ended: string[] = [];
    listeners.add(
      () => undefined,
      () => ended.push("known"),
    );
    listeners.addRaw(
      () => undefined,
      () => ended.push("raw"),
    );
    listeners.add(
      () => undefined,
      () => ended.push("left before"),
    )();
    listeners.interruptAll("QEMU closed the link", undefined);
    listeners.interruptAll("QEMU closed the link", undefined);
    expect(ended).toEqual(["known", "raw"]);
  });
});
