import { describe, expect, it } from "vitest";
import { InvariantError } from "../../../src/base/error.js";
import {
  continueStatus,
  DEFAULT_TIMING,
  type DownStatus,
  downStatusOf,
  greetingMs,
  isSameNews,
  nextWaitMs,
  waitMs,
} from "../../../src/qemu/dialling.js";
import { type QmpConnectCode, QmpConnectError } from "../../../src/qmp/errors.js";

const status = (code: QmpConnectCode): DownStatus => downStatusOf(new QmpConnectError(code, "/s", "why"), 5);

describe("what a failed attempt says of a VM", () => {
  it.each(["qmp.absent", "qmp.refused"] as const)("%s: no process, so nothing is held any more", (code) => {
    expect(status(code)).toEqual({
      kind: "absent",
      sinceMs: 5,
      reason: "cannot connect to QMP socket /s: why",
    });
  });

  it.each([
    "qmp.busy-or-silent",
    "qmp.backlog-full",
    "qmp.not-permitted",
    "qmp.path-too-long",
    "qmp.not-qmp",
    "qmp.hung-up",
    "qmp.negotiation-failed",
    "qmp.connect-failed",
  ] as const)("%s: something may be there, so nothing is known to be free", (code) => {
    expect(status(code)).toMatchObject({ kind: "unreachable", code });
  });

  it("is not made from a bug", () => {
    const bug = new InvariantError("bug");
    expect(() => downStatusOf(bug, 0)).toThrow(bug);
  });
});

describe("the status of a VM that stays down", () => {
  it("keeps the moment at which it was first seen absent, and is no news", () => {
    const before = status("qmp.absent");
    const later = { ...before, sinceMs: 99 } as DownStatus;
    expect(continueStatus(before, later)).toEqual(before);
    expect(isSameNews(before, later)).toBe(true);
  });

  it("starts anew when something was there in between", () => {
    const later = { ...status("qmp.absent"), sinceMs: 99 } as DownStatus;
    expect(continueStatus(status("qmp.hung-up"), later)).toEqual(later);
    expect(isSameNews(status("qmp.hung-up"), later)).toBe(false);
  });
});

describe("the waits of a link", () => {
  it("double up to half a minute", () => {
    let ms = DEFAULT_TIMING.retryMs;
    const waits = Array.from({ length: 7 }, () => {
      const wait = ms;
      ms = nextWaitMs(ms, DEFAULT_TIMING);
      return wait;
    });
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  });

  it("are the longest at once where others queue for the monitor already", () => {
    expect(waitMs(status("qmp.backlog-full"), 25, DEFAULT_TIMING)).toBe(DEFAULT_TIMING.longestRetryMs);
    expect(waitMs(status("qmp.absent"), 25, DEFAULT_TIMING)).toBe(25);
  });

  it("stay in the queue of a monitor that was silent before, instead of leaving dead places in it", () => {
    expect(greetingMs({ kind: "unknown" }, DEFAULT_TIMING)).toBe(DEFAULT_TIMING.greetingMs);
    expect(greetingMs(status("qmp.busy-or-silent"), DEFAULT_TIMING)).toBe(DEFAULT_TIMING.patienceMs);
  });
});
