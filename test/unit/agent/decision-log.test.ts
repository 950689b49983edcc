import { describe, expect, it } from "vitest";
import { DecisionLog } from "../../../src/agent/decision-log.js";
import { setScene } from "../../../src/core/scene.js";
import type { World } from "../../../src/core/world.js";
import { aDevice, aPolicy, aRule, aWorld, up } from "../../support/builders.js";

const gpu = aDevice("0000:65:00.0");
const policy = aPolicy([aRule("gpus", { vendor: "10de" }, "a")]);
const down = { kind: "absent", sinceMs: 0, reason: "no socket" } as const;

/** The verdicts of one log over a series of worlds. */
function told(...worlds: readonly World[]) {
  const log = new DecisionLog();
  return worlds.map((world) =>
    log
      .news(world, setScene(world))
      .map((entry) => (entry.event === "decision" ? entry.after.verdict : entry.event)),
  );
}

describe("DecisionLog", () => {
  const waiting = aWorld({ devices: [gpu], policy, vms: { a: down } });
  const ready = aWorld({ devices: [gpu], policy, vms: { a: up() } });

  it("writes down whose a device is, that it waits, and that it waits no more: each once", () => {
    expect(told(waiting, waiting, ready, ready)).toEqual([["assigned", "held"], [], ["clear"], []]);
  });

  it("says again whose a device is when another rule gives it to another VM", () => {
    const moved = { ...ready, policy: aPolicy([aRule("gpus", { vendor: "10de" }, "b")]) };
    expect(told(ready, moved)).toEqual([["assigned"], ["assigned"]]);
  });

  it("says what would be done while only observing, and nothing before the host was looked at", () => {
    expect(told({ ...ready, isHostSeen: false }, { ...ready, mode: "observe" })).toEqual([
      [],
      ["assigned", "planned"],
    ]);
  });

  it("takes a VM that was not looked at yet for no decision", () => {
    expect(told(aWorld({ devices: [gpu], policy }))).toEqual([["assigned"]]);
  });

  describe("an override", () => {
    const because = "it carries /srv through nvme0n1";
    const numberless = { ...gpu, serial: null };
    const exact = { address: gpu.address };
    const card = { vendor: "10de", device: "2204", subsystemVendor: "1458", subsystemDevice: "403b" };
    const named = aPolicy([aRule("anyway", exact, "a", { isOverride: true, expect: card })]);
    const free = aWorld({ devices: [numberless], policy: named, vms: { a: up() } });
    const needed: World = {
      ...free,
      protections: new Map([[gpu.address, { because, level: "hard", isLiftable: true }]]),
    };

    it("is written down with the protection that it went against", () => {
      expect(new DecisionLog().news(needed, setScene(needed))).toEqual([
        expect.objectContaining({
          what: `${gpu.address} belongs to a`,
          why: `rule anyway overrides its protection: ${because}`,
          after: expect.objectContaining({ verdict: "assigned", override: because }),
        }),
      ]);
    });

    it("is none where nothing protects the device, and is told when a protection comes later, but not when it goes", () => {
      const log = new DecisionLog();
      const overrides = [free, needed, free].map((world) =>
        log
          .news(world, setScene(world))
          .map((entry) => "after" in entry && "override" in (entry.after ?? {})),
      );
      expect(overrides).toEqual([[false], [true], []]);
    });
  });
});
