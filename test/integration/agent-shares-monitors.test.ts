/** The whole agent on monitors that others use: it visits, never stays, and learns what it needs all the same. */
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { type AgentWorld, aCard, type FileFacts, inWorld, ports } from "../support/agent-world.js";
import { SimClient } from "../support/sim-client.js";

const gpu = "0000:01:00.0";
const audio = "0000:01:00.1";
const build = { name: "build", ports: ports(3) };
const rules = [{ name: "gpu", match: { class: "display" }, vm: "build" }];

function file(world: AgentWorld, facts: Partial<FileFacts> = {}): FileFacts {
  const vms = [{ name: "build", qmp: world.sim.socketOf("build"), monitor: "shared" }];
  return { vms, rules, ...facts };
}

describe("a VM whose monitor is shared", () => {
  it("gets its card, and its monitor is free while nothing is to be done: zero visits", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const agent = await world.start(file(world));
      await agent.untilIn("build", [gpu]);
      const visits = world.vm("build").connections;
      const client = await SimClient.open(world.vm("build").socketPath);
      await delay(500);
      expect(world.vm("build").connections).toBe(visits + 1);
      await client.close();
      expect((await world.status()).vms).toMatchObject([
        { name: "build", state: "up", monitor: "shared", process: { pid: world.vm("build").pid } },
      ]);
    });
  });

  it("is asked for its card, left, and looked at until the guest has let go", async () => {
    await inWorld(
      { cards: [aCard(gpu)], vms: [{ ...build, guest: { behaviour: "refuses" } }] },
      async (world) => {
        const agent = await world.startOnFile(file(world));
        await agent.untilIn("build", [gpu]);
        world.write(world.text(file(world, { rules: [] })));
        await agent.untilHeld(gpu, "unplug-pending");
        const client = await SimClient.open(world.vm("build").socketPath);
        await client.close();
        world.vm("build").ejectFromGuest("pciplug-0000-01-00.0");
        await agent.until("it is given back", ({ leases }) => leases.size === 0);
        expect(world.hostStateOf(gpu)).toEqual({ driver: "nouveau", override: null });
        expect(agent.world.holds).toEqual([]);
      },
    );
  });

  it("that another client has is waited for, and told of", async () => {
    await inWorld({ cards: [], vms: [build] }, async (world) => {
      const agent = await world.start(file(world));
      await agent.until("it is up", ({ vms }) => vms.get("build")?.kind === "up");
      const client = await SimClient.open(world.vm("build").socketPath);
      await world.host.plug(aCard(gpu));
      expect(await agent.untilHeld(gpu, "vm-unreachable")).toBe(
        "build cannot be spoken to: busy: another client has the monitor",
      );
      expect(world.hostStateOf(gpu)).toEqual({ driver: "nouveau", override: null });
      await client.close();
      await agent.untilIn("build", [gpu]);
      expect((await world.status()).vms[0]).toMatchObject({
        state: "up",
        lastError: { at: expect.any(String), message: "busy: another client has the monitor" },
      });
    });
  });

  it("holds a card that its guest has thrown out, once that is seen", async () => {
    const cards = [aCard(gpu)];
    await inWorld({ cards, vms: [build] }, async (world) => {
      const agent = await world.start(
        file(world, { rules: [{ name: "r", match: { vendor: "10de" }, vm: "build" }] }),
      );
      await agent.untilIn("build", [gpu]);
      world.vm("build").ejectFromGuest("pciplug-0000-01-00.0");
      // Another card is a reason for a visit.
      await world.host.plug(aCard(audio, { class: "040300", device: "1aef" }));
      await agent.untilHeld(gpu, "hold");
      await agent.untilIn("build", [audio]);
    });
  });

  it("that is killed is noticed without a connection", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const agent = await world.start(file(world));
      await agent.untilIn("build", [gpu]);
      await world.vm("build").kill();
      await agent.until("it is absent", ({ vms }) => vms.get("build")?.kind === "absent");
      await world.vm("build").start();
      await agent.untilIn("build", [gpu]);
    });
  });
});
