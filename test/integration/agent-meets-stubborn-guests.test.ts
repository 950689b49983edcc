/** Guests that do not let go: the agent asks again by time only, never spins, and takes a late answer for an answer. */
import { describe, expect, it } from "vitest";
import { type AgentWorld, aCard, inWorld, ports } from "../support/agent-world.js";
import type { RunningAgent } from "../support/running-agent.js";

const gpu = "0000:01:00.0";
const twin = "0000:02:00.0";
const id = "pciplug-0000-01-00.0";
const file = { rules: [{ name: "gpu", match: { vendor: "10de" }, vm: "build" }] };
const untouched = { driver: "nouveau", override: null };

/** A world whose VM has the card but refuses to let go of it, and an agent whose file does not name it any more. */
async function withPendingUnplug(
  mode: "acpi" | "native",
  story: (world: AgentWorld, agent: RunningAgent) => Promise<void>,
): Promise<void> {
  await inWorld({ cards: [aCard(gpu)], vms: [{ name: "build", ports: ports(3), mode }] }, async (world) => {
    const first = await world.start(file);
    await first.untilIn("build", [gpu]);
    await first.stop();
    world.vm("build").setGuest({ behaviour: "refuses" });
    const agent = await world.start({ rules: [] });
    await agent.until("a pending unplug", ({ unplugs }) => unplugs.size === 1);
    await story(world, agent);
  });
}

function requests(world: AgentWorld): number {
  return world.movesOf("build").filter((move) => move === `device_del ${id}`).length;
}

// Side by side: each of them waits two seconds for an answer that does not come.
describe.concurrent("a guest that refuses to let go", () => {
  it("is reported as pending and asked again when it is time, not because the agent looks again", async () => {
    await withPendingUnplug("acpi", async (world, agent) => {
      expect(await agent.untilHeld(gpu, "unplug-pending")).toBe(
        "build was asked 1 time to let go and has not yet",
      );
      const { commands } = world.deeds();
      for (let round = 0; round < 5; round += 1) {
        world.advance(1_000);
        await agent.look();
      }
      expect(requests(world)).toBe(1);
      expect(world.deeds().commands).toBe(commands);

      world.advance(4_000);
      await agent.until("a second request", ({ unplugs }) =>
        [...unplugs.values()].some(({ times }) => times === 2),
      );
      expect(requests(world)).toBe(2);
      expect(world.hostStateOf(gpu).driver).toBe("vfio-pci");
      expect(agent.steps()).toEqual(["detach pending", "detach pending"]);
    });
  });

  it("may let go late: the event is enough, the card goes back, and nothing is on hold", async () => {
    await withPendingUnplug("acpi", async (world, agent) => {
      world.vm("build").ejectFromGuest(id);
      await agent.until("no lease", ({ leases }) => leases.size === 0);
      expect(requests(world)).toBe(1);
      expect(world.hostStateOf(gpu)).toEqual(untouched);
      expect(agent.world.unplugs.size).toBe(0);
      expect(agent.world.holds).toEqual([]);
    });
  });

  it("lets go at a later request once it has changed its mind", async () => {
    await withPendingUnplug("native", async (world, agent) => {
      world.vm("build").setGuest({ behaviour: "co-operative" });
      await agent.look();
      expect(requests(world)).toBe(1);
      world.advance(10_000);
      await agent.until("no lease", ({ leases }) => leases.size === 0);
      expect(world.hostStateOf(gpu)).toEqual(untouched);
    });
  });

  it("loses nothing by the death of its VM: the card goes back to the host", async () => {
    await withPendingUnplug("acpi", async (world, agent) => {
      await world.vm("build").kill();
      await agent.until("no lease", ({ leases }) => leases.size === 0);
      expect(world.hostStateOf(gpu)).toEqual(untouched);
      expect(agent.world.unplugs.size).toBe(0);
    });
  });

  it("does not keep the agent from giving the VM another card meanwhile", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [{ name: "build", ports: ports(3) }] }, async (world) => {
      const first = await world.start(file);
      await first.untilIn("build", [gpu]);
      await first.stop();
      world.vm("build").setGuest({ behaviour: "refuses" });
      const agent = await world.start({ rules: [{ name: "twin", match: { address: twin }, vm: "build" }] });
      await agent.until("a pending unplug", ({ unplugs }) => unplugs.size === 1);
      await world.host.plug(aCard(twin));
      await agent.untilIn("build", [gpu, twin]);
      expect(requests(world)).toBe(1);
    });
  });

  it("keeps its card when the operator takes the rule back in before it has let go", async () => {
    await withPendingUnplug("acpi", async (world, pending) => {
      await pending.stop();
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu]);
      expect(agent.steps()).toEqual([]);
      expect(requests(world)).toBe(1);
    });
  });
});

describe.concurrent("a card that is pulled out of the host while the guest refuses to let go", () => {
  it("is waited for, and its lease is closed when the VM has let go at last", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [{ name: "build", ports: ports(3) }] }, async (world) => {
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu]);
      world.vm("build").setGuest({ behaviour: "refuses" });
      const pulled = world.host.pull(gpu);
      await agent.look();
      const { writes } = world.deeds();
      expect(world.ledger()).toHaveLength(1);

      world.vm("build").ejectFromGuest(id);
      await pulled;
      await agent.until("no lease", ({ leases, devices }) => leases.size === 0 && devices.size === 0);
      await agent.untilIn("build", []);
      expect(world.deeds().writes).toBe(writes);
    });
  });
});
