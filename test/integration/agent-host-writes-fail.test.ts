/** The kernel refuses a write, or never answers: all or nothing, no spinning, and nobody else has to wait. */
import { describe, expect, it } from "vitest";
import { type AgentWorld, aCard, inWorld, ports } from "../support/agent-world.js";
import type { RunningAgent } from "../support/running-agent.js";

const gpu = "0000:01:00.0";
const sound = "0000:01:00.1";
const idle = "0000:01:00.2";
const nic = "0000:02:00.0";
const cards = [
  aCard(gpu, { iommuGroup: 13 }),
  aCard(sound, { device: "1aef", class: "040300", driver: "snd_hda_intel", iommuGroup: 13 }),
  aCard(idle, { vendor: "1912", device: "0014", driver: "idle_hcd", iommuGroup: 13, isTaken: false }),
];
const vms = [
  { name: "build", ports: ports(3) },
  { name: "other", ports: ports(3) },
];
const file = {
  rules: [
    { name: "card", match: { vendor: "10de" }, vm: "build" },
    { name: "nic", match: { class: "ethernet" }, vm: "other" },
  ],
};
const aNic = aCard(nic, { vendor: "8086", device: "1533", class: "020000", driver: "igb" });
const before = [
  { driver: "nouveau", override: null },
  { driver: "snd_hda_intel", override: null },
  { driver: null, override: null },
];

function hostState(world: AgentWorld): unknown[] {
  return [gpu, sound, idle].map((address) => world.hostStateOf(address));
}

function attempts(agent: RunningAgent): number {
  return agent.entries.filter(
    (entry) => entry.event === "step-ended" && entry.step.kind === "bind" && entry.vm === "build",
  ).length;
}

describe("a bind of two functions and a driverless neighbour", () => {
  // Companion: override. Each function: override, unbind, probe.
  it.each([0, 1, 2, 3, 4, 5, 6])(
    "that fails at write %i is undone whole, rests, and is tried again",
    async (at) => {
      await inWorld({ cards, vms }, async (world) => {
        const disarm = world.host.intercept(() => {
          if (world.host.writes.length <= at) {
            return undefined;
          }
          disarm();
          return { kind: "failed", detail: "write: EIO: Input/output error" };
        });
        const agent = await world.start(file);
        expect(await agent.untilHeld(gpu, "backing-off")).toContain("Input/output error");
        expect(hostState(world)).toEqual(before);
        expect(world.ledger()).toEqual([]);
        await agent.look();
        expect(attempts(agent)).toBe(1);

        world.advance(1_000);
        await agent.untilIn("build", [gpu, sound]);
        expect(world.hostStateOf(idle)).toEqual({ driver: null, override: "vfio-pci" });
      });
    },
  );

  it("that never succeeds is tried less and less often, while the other VM gets its card", async () => {
    await inWorld({ cards, vms }, async (world) => {
      world.host.intercept((path, text) =>
        path.endsWith("/driver_override") && path.includes(sound) && text === "vfio-pci\n"
          ? { kind: "failed", detail: "write: EIO: Input/output error" }
          : undefined,
      );
      const agent = await world.start(file);
      await agent.untilHeld(gpu, "backing-off");
      await world.host.plug(aNic);
      await agent.untilIn("other", [nic]);
      for (let second = 0; second < 50; second += 1) {
        world.advance(1_000);
        await agent.agent.settled();
      }
      await agent.look();
      // At once, then after 1, 2, 4, 8 and 16 seconds of rest, and not yet after 32.
      expect(attempts(agent)).toBe(6);
      expect(hostState(world)).toEqual(before);
      expect(world.inVms()).toEqual({ build: [], other: [nic] });
    });
  });

  it("starts anew at once when the card went away and came back", async () => {
    await inWorld({ cards: [aCard(gpu)], vms }, async (world) => {
      const disarm = world.host.intercept(() => ({
        kind: "failed",
        detail: "write: EIO: Input/output error",
      }));
      const agent = await world.start(file);
      await agent.untilHeld(gpu, "backing-off");
      disarm();
      await world.host.restartAppearance(gpu);
      await agent.untilIn("build", [gpu]);
    });
  });
});

describe("a release that fails", () => {
  it("keeps the lease and is repeated until the card is back as it was", async () => {
    await inWorld({ cards: [aCard(gpu)], vms }, async (world) => {
      const first = await world.start(file);
      await first.untilIn("build", [gpu]);
      await first.stop();
      const disarm = world.host.intercept((path) =>
        path.endsWith("/unbind") ? { kind: "failed", detail: "write: EIO: Input/output error" } : undefined,
      );
      const agent = await world.start({ rules: [] });
      await agent.untilHeld(gpu, "backing-off");
      expect(world.ledger()).toMatchObject([{ address: gpu }]);
      disarm();
      world.advance(1_000);
      await agent.until("no lease", ({ leases }) => leases.size === 0);
      expect(world.hostStateOf(gpu)).toEqual({ driver: "nouveau", override: null });
    });
  });
});

describe("a write that never comes back", () => {
  it("costs its own VM only, is left to the ledger, and is repeated after its deadline", async () => {
    await inWorld({ cards: [aCard(gpu)], vms }, async (world) => {
      const disarm = world.host.intercept((path) => (path.endsWith("/nouveau/unbind") ? "stuck" : undefined));
      const agent = await world.start(file, { writeDeadlineMs: 300 });
      await world.until("the write", () =>
        world.host.writes.some(({ path }) => path.endsWith("/nouveau/unbind")),
      );
      await world.host.plug(aNic);
      await agent.untilIn("other", [nic]);
      const reason = await agent.untilHeld(gpu, "backing-off");
      expect(reason).toContain("no answer");
      expect(world.ledger().map((lease) => lease.address)).toContain(gpu);
      // While one write to a device hangs, every other one would: nothing is undone.
      expect(world.hostStateOf(gpu)).toEqual({ driver: "nouveau", override: "vfio-pci" });

      disarm();
      world.advance(1_000);
      await agent.untilIn("build", [gpu]);
      expect(world.ledger().find((lease) => lease.address === gpu)?.original).toEqual({
        driver: "nouveau",
        override: null,
      });
    });
  });
});
