import { describe, expect, it } from "vitest";
import { HostEye } from "../../../src/agent/host-eye.js";

function eyeWith() {
  const log: string[] = [];
  const gates: (() => void)[] = [];
  const eye = new HostEye({
    scan: () => {
      log.push("begin");
      return new Promise((resolve) => {
        gates.push(() => {
          log.push("end");
          resolve([]);
        });
      });
    },
    protections: () => Promise.resolve(new Map()),
    dma: () => ({ weaknesses: [] }),
    now: () => 0,
  });
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
  const open = async () => {
    gates.shift()?.();
    await turn();
  };
  return { eye, log, open, turn };
}

describe("HostEye", () => {
  it("begins a new look for a call that comes while one is under way, and never overlaps two", async () => {
    const { eye, log, open, turn } = eyeWith();
    const first = eye.look("udevadm");
    await turn();
    const second = eye.look("step");
    await turn();
    expect(log).toEqual(["begin"]);
    await open();
    expect(log).toEqual(["begin", "end", "begin"]);
    await open();
    expect([(await first).source, (await second).source]).toEqual(["udevadm", "step"]);
  });

  it("lets calls that wait for the same look share it, under the name of the first", async () => {
    const { eye, log, open, turn } = eyeWith();
    const running = eye.look("start");
    await turn();
    const waiting = [eye.look("udev-database"), eye.look("rescan")];
    await open();
    await running;
    await turn();
    await open();
    const looks = await Promise.all(waiting);
    expect(looks.map((look) => look.source)).toEqual(["udev-database", "udev-database"]);
    expect(log.filter((line) => line === "begin")).toHaveLength(2);
  });

  it("goes on looking after a look that failed", async () => {
    let fails = true;
    const eye = new HostEye({
      scan: () => (fails ? Promise.reject(new Error("gone")) : Promise.resolve([])),
      protections: () => Promise.resolve(new Map()),
      dma: () => ({ weaknesses: [] }),
      now: () => 7,
    });
    await expect(eye.look("start")).rejects.toThrow("gone");
    fails = false;
    await expect(eye.look("rescan")).resolves.toMatchObject({ kind: "host-seen", atMs: 7 });
  });
});
