import { describe, expect, it } from "vitest";
import { Workqueue } from "../../../src/agent/workqueue.js";

/** A pass that ends when the test says so. */
function gated() {
  const started: string[] = [];
  const gates: (() => void)[] = [];
  const pass = (lane: string) =>
    new Promise<void>((resolve) => {
      started.push(lane);
      gates.push(resolve);
    });
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
  const open = async () => {
    gates.shift()?.();
    await turn();
  };
  return { started, pass, open, turn };
}

const unexpected = (error: unknown) => {
  throw error;
};

describe("Workqueue", () => {
  it("never runs two passes of one lane at once and never loses a wake that comes during a pass", async () => {
    const { started, pass, open, turn } = gated();
    const queue = new Workqueue(pass, unexpected);
    queue.wake("a");
    await turn();
    queue.wake("a");
    queue.wake("a");
    await turn();
    expect(started).toEqual(["a"]);
    await open();
    expect(started).toEqual(["a", "a"]);
    await open();
    await queue.idle();
    expect(started).toEqual(["a", "a"]);
  });

  it("runs lanes side by side", async () => {
    const { started, pass, turn } = gated();
    const queue = new Workqueue(pass, unexpected);
    queue.wake("a");
    queue.wake("b");
    await turn();
    expect(started).toEqual(["a", "b"]);
  });

  it("begins no pass after stop, and is idle when the running one has ended", async () => {
    const { started, pass, open, turn } = gated();
    const queue = new Workqueue(pass, unexpected);
    queue.wake("a");
    await turn();
    queue.wake("a");
    queue.stop();
    queue.wake("b");
    await open();
    await queue.idle();
    expect(started).toEqual(["a"]);
  });

  it("hands what a pass throws to onError and keeps the lane usable", async () => {
    const errors: unknown[] = [];
    const queue = new Workqueue(
      (lane) => (lane === "bad" ? Promise.reject(new Error("bug")) : Promise.resolve()),
      (error) => errors.push(error),
    );
    queue.wake("bad");
    await queue.idle();
    queue.wake("bad");
    await queue.idle();
    expect(errors).toHaveLength(2);
  });
});
