import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  captureOrigin,
  QmpCommandError,
  QmpInterruptedError,
  QmpProtocolError,
  QmpTimeoutError,
} from "../../../src/qmp/errors.js";
import { PendingCalls } from "../../../src/qmp/pending.js";
import { pciInfos, type StatusInfo, statusInfo } from "../../../src/qmp/results.js";

const STATUS = { status: "running", running: true, singlestep: false };

/** The stack of a test stands for the stack of a caller. */
function askForStatus(calls: PendingCalls, limits: { timeoutMs?: number; signal?: AbortSignal } = {}) {
  const id = calls.nextId();
  const promise: Promise<StatusInfo> = calls.open({
    id,
    command: "query-status",
    reply: statusInfo,
    origin: captureOrigin(askForStatus),
    timeoutMs: limits.timeoutMs ?? 1000,
    signal: limits.signal,
  });
  return { id, promise };
}

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => "no failure",
    (error: unknown) => error,
  );
}

const written = (): boolean => false;
const unwritten = (): boolean => true;

describe("the calls that wait for an answer", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  it("numbers calls from 1 and gives each answer to its call, in any order", async () => {
    const calls = new PendingCalls(written);
    const first = askForStatus(calls);
    const second = askForStatus(calls);
    expect([first.id, second.id, calls.commands]).toEqual([1, 2, ["query-status", "query-status"]]);
    expect(calls.settle({ kind: "reply", id: 2, value: { ...STATUS, status: "paused" } })).toEqual({
      kind: "settled",
    });
    expect(calls.settle({ kind: "reply", id: 1, value: STATUS })).toEqual({ kind: "settled" });
    expect([(await first.promise).status, (await second.promise).status]).toEqual(["running", "paused"]);
    expect(calls.commands).toEqual([]);
  });

  it("turns an error reply into a QmpCommandError with class, text and the caller's stack", async () => {
    const calls = new PendingCalls(written);
    const { id, promise } = askForStatus(calls);
    calls.settle({ kind: "error", id, qmpClass: "GenericError", desc: "Bus 'x' not found" });
    const error = await failureOf(promise);
    expect(error).toBeInstanceOf(QmpCommandError);
    expect(error).toMatchObject({
      code: "qmp.command-failed",
      command: "query-status",
      qmpClass: "GenericError",
      desc: "Bus 'x' not found",
      message: "cannot execute query-status: Bus 'x' not found (GenericError)",
    });
    expect((error as Error).stack?.split("\n")[1]).toContain("pending.test.ts");
  });

  it("fails only the call whose reply has another shape, and says where", async () => {
    const calls = new PendingCalls(written);
    const { id, promise } = askForStatus(calls);
    calls.settle({ kind: "reply", id, value: { running: "yes", status: "running" } });
    const error = await failureOf(promise);
    expect(error).toBeInstanceOf(QmpProtocolError);
    expect(error).toMatchObject({
      code: "qmp.unexpected-reply",
      message: "cannot understand the reply to query-status: reply.running is not a boolean",
    });
  });

  it("survives a reply nested deeper than the stack", async () => {
    const calls = new PendingCalls(written);
    let bridge: object = { bus: { secondary: 1 } };
    for (let depth = 0; depth < 50_000; depth += 1) {
      const id = { vendor: 1, device: 1 };
      const device = { bus: 0, slot: 0, function: 0, qdev_id: "", class_info: { class: 1 }, id, regions: [] };
      bridge = { bus: { secondary: 1 }, devices: [{ ...device, pci_bridge: bridge }] };
    }
    const id = calls.nextId();
    const origin = captureOrigin(askForStatus);
    const promise = calls.open({ id, command: "query-pci", reply: pciInfos, origin, timeoutMs: 1000 });
    calls.settle({ kind: "reply", id, value: [{ bus: 0, devices: Reflect.get(bridge, "devices") }] });
    expect(await failureOf(promise)).toMatchObject({ code: "qmp.unexpected-reply" });
  });

  it("calls a timeout an unknown outcome, and recognises the answer that comes late, once", async () => {
    const calls = new PendingCalls(written);
    const { id, promise } = askForStatus(calls, { timeoutMs: 50 });
    await vi.advanceTimersByTimeAsync(50);
    const error = await failureOf(promise);
    expect(error).toBeInstanceOf(QmpTimeoutError);
    expect(error).toMatchObject({
      code: "qmp.timeout",
      wasSent: true,
      message: "cannot execute query-status: no answer within 50 ms; its outcome is unknown",
    });
    const late = { kind: "reply", id, value: STATUS } as const;
    expect(calls.settle(late)).toEqual({ kind: "late", command: "query-status" });
    expect(calls.settle(late)).toEqual({ kind: "unknown" });
  });

  it("knows that a command which was taken back before it was written was not executed", async () => {
    const calls = new PendingCalls(unwritten);
    const { promise } = askForStatus(calls, { timeoutMs: 50 });
    await vi.advanceTimersByTimeAsync(50);
    expect(await failureOf(promise)).toMatchObject({
      wasSent: false,
      message: expect.stringMatching(/never sent$/),
    });
  });

  it("lets the caller give up by signal, with the reason as cause", async () => {
    const calls = new PendingCalls(written);
    const abort = new AbortController();
    const { promise } = askForStatus(calls, { signal: abort.signal });
    abort.abort(new Error("shutting down"));
    const error = await failureOf(promise);
    expect(error).toBeInstanceOf(QmpInterruptedError);
    expect(error).toMatchObject({ code: "qmp.aborted", wasSent: true, cause: { message: "shutting down" } });
  });

  it("rejects every call when the link ends, and forgets the late ones", async () => {
    const calls = new PendingCalls((id) => id === 2);
    const cause = new Error("read ECONNRESET");
    const [first, second] = [askForStatus(calls), askForStatus(calls)];
    calls.interruptAll("QEMU closed the link", cause);
    const [one, two] = [await failureOf(first.promise), await failureOf(second.promise)];
    expect(one).toBeInstanceOf(QmpInterruptedError);
    expect(one).toMatchObject({ code: "qmp.disconnected", wasSent: true, cause });
    expect((one as Error).stack).toContain("pending.test.ts");
    expect(two).toMatchObject({ code: "qmp.disconnected", wasSent: false });
    expect(calls.settle({ kind: "reply", id: 1, value: STATUS })).toEqual({ kind: "unknown" });
  });

  it.each([[7], [undefined], ["1"], [null], [12345678901234567890n], [{ a: 1 }]])(
    "passes over a reply with the unknown id %s",
    (id) => {
      expect(new PendingCalls(written).settle({ kind: "reply", id, value: {} })).toEqual({ kind: "unknown" });
    },
  );

  it("refuses to go on after an error without id", () => {
    const answer = {
      kind: "error",
      id: undefined,
      qmpClass: "GenericError",
      desc: "JSON parse error",
    } as const;
    expect(() => new PendingCalls(written).settle(answer)).toThrow(QmpProtocolError);
  });
});
