import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { captureOrigin, QmpInterruptedError, QmpTimeoutError } from "../../../src/qmp/errors.js";
import type { QmpEvent } from "../../../src/qmp/events.js";
import { EventListeners } from "../../../src/qmp/listeners.js";

const deleted = (device: string): QmpEvent => ({
  name: "DEVICE_DELETED",
  data: { device, path: `/machine/peripheral/${device}` },
  timestampMs: 1,
});
const stopped: QmpEvent = { name: "STOP", data: {}, timestampMs: 1 };

function waitForDeleted(listeners: EventListeners, device: string, signal?: AbortSignal) {
  const limits = { timeoutMs: 50, signal };
  const isIt = (data: { device?: string | undefined }): boolean => data.device === device;
  return listeners.waitFor("DEVICE_DELETED", isIt, limits, captureOrigin(waitForDeleted));
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
    listeners.dispatch(stopped);
    removeFirst();
    removeFirst();
    listeners.dispatch(deleted("a"));
    removeSecond();
    listeners.dispatch(stopped);
    expect(heard).toEqual(["STOP", "STOP", "DEVICE_DELETED"]);
  });

  it("waits for the first event that has the name and satisfies the predicate", async () => {
    const listeners = new EventListeners();
    listeners.dispatch(deleted("b"));
    const waiting = waitForDeleted(listeners, "b");
    listeners.dispatch(stopped);
    listeners.dispatch(deleted("a"));
    listeners.dispatch({ ...deleted("b"), timestampMs: 2 } as QmpEvent);
    listeners.dispatch(deleted("b"));
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
    const broken = listeners.waitFor(
      "STOP",
      () => {
        throw new RangeError("my own bug");
      },
      { timeoutMs: 50 },
      {},
    );
    const sound = listeners.waitFor("STOP", () => true, { timeoutMs: 50 }, {});
    listeners.dispatch(stopped);
    await expect(broken).rejects.toBeInstanceOf(RangeError);
    await expect(sound).resolves.toEqual(stopped);
  });
});
