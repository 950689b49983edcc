/** After everything has come to rest the agent looks, and does nothing else: no order to a VM, no write to the host. */
import { utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type AgentWorld, aCard, inWorld, ports } from "../support/agent-world.js";
import type { RunningAgent } from "../support/running-agent.js";

const gpu = "0000:01:00.0";
const idle = "0000:01:00.1";
const held = "0000:02:00.0";
const cards = [
  aCard(gpu, { iommuGroup: 13 }),
  aCard(idle, { device: "1aef", class: "040300", driver: "snd_hda_intel", iommuGroup: 13, isTaken: false }),
  aCard(held, { vendor: "8086", device: "1533", class: "020000", driver: "igb" }),
];
const vms = [{ name: "build", ports: ports(3) }, { name: "full" }];
const file = {
  rules: [
    { name: "gpu", match: { class: "display" }, vm: "build" },
    { name: "nic", match: { class: "ethernet" }, vm: "full" },
  ],
  rescanMs: 50,
};

/** Waits for so many whole looks that the agent makes by itself. */
async function rescans(agent: RunningAgent, count: number): Promise<void> {
  const looks = agent.countLooks();
  await agent.until(`${count} rescans`, () => looks() >= count);
}

/** Resolves once nothing was done to anybody over four rescans: longer than events are gathered for. */
async function calm(world: AgentWorld, agent: RunningAgent): Promise<void> {
  for (let before = ""; before !== JSON.stringify(world.deeds()); ) {
    before = JSON.stringify(world.deeds());
    await rescans(agent, 4);
  }
}

describe("an agent that has nothing left to do", () => {
  it("sends no command and writes nothing over many rescans, also after an hour has passed", async () => {
    await inWorld({ cards, vms }, async (world) => {
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu]);
      await agent.untilHeld(held, "no-free-port");
      await calm(world, agent);
      const { length } = agent.entries;
      const before = world.deeds();
      await rescans(agent, 10);
      world.advance(3_600_000);
      await rescans(agent, 10);
      expect(world.deeds()).toEqual(before);
      expect(agent.entries.slice(length)).toEqual([]);
      expect(agent.steps()).toEqual(["bind done", "attach done"]);
    });
  });

  it("stays so with a card on hold, a refused one, and a VM that is down", async () => {
    await inWorld({ cards, vms }, async (world) => {
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu]);
      world.vm("build").ejectFromGuest("pciplug-0000-01-00.0");
      await agent.untilHeld(gpu, "hold");
      await world.vm("full").kill();
      await agent.untilHeld(held, "vm-down");
      await calm(world, agent);
      const before = world.deeds();
      const { length } = agent.entries;
      await rescans(agent, 20);
      expect(world.deeds()).toEqual(before);
      expect(agent.entries.slice(length)).toEqual([]);
    });
  });

  it("stays so after it was started again and has adopted what is there", async () => {
    await inWorld({ cards, vms }, async (world) => {
      const first = await world.start(file);
      await first.untilIn("build", [gpu]);
      await first.stop();
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu]);
      await calm(world, agent);
      const before = world.deeds();
      await rescans(agent, 10);
      expect(world.deeds()).toEqual(before);
      expect(agent.steps()).toEqual([]);
    });
  });
});

describe("events", () => {
  it("of one burst are one look, and nothing is done about what has not changed", async () => {
    await inWorld({ cards, vms }, async (world) => {
      const agent = await world.start({ ...file, rescanMs: 3_600_000 });
      await agent.untilIn("build", [gpu]);
      await agent.until("the udev database", ({ sources }) => sources.get("udev-database")?.kind === "up");
      await agent.rest();
      const before = world.deeds();
      const looks = agent.countLooks();
      const record = join(world.host.dir, `run/udev/data/+pci:${gpu}`);
      for (let event = 0; event < 50; event += 1) {
        writeFileSync(record, `I:${event}\nV:1\n`);
        utimesSync(record, event, event);
      }
      await agent.until("a look", () => looks() > 0);
      await agent.look();
      // One for the burst, perhaps one for its tail, and the two that were asked for just now.
      expect(looks()).toBeLessThanOrEqual(4);
      expect(world.deeds()).toEqual(before);
    });
  });

  it("that the agent's own bind and unbind cause do not make it look for ever", async () => {
    await inWorld({ vms }, async (world) => {
      const agent = await world.start({ ...file, rescanMs: 3_600_000 });
      await agent.until("the udev database", ({ sources }) => sources.get("udev-database")?.kind === "up");
      await agent.rest();
      const looks = agent.countLooks();
      await world.host.plug(aCard(gpu));
      await agent.untilIn("build", [gpu]);
      // The kernel spoke of add, bind, unbind and bind: the agent looks before and after its two steps, and for them.
      expect(world.host.uevents.filter(({ address }) => address === gpu)).toHaveLength(4);
      expect(looks()).toBeLessThanOrEqual(12);
      await agent.rest();
      const settled = looks();
      await agent.look();
      expect(looks()).toBeLessThanOrEqual(settled + 3);
    });
  });
});
