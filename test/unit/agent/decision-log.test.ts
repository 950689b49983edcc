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
});
