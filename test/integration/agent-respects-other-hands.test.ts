/** What somebody else moved is not moved back: the guest that ejects its card, the administrator who rebinds one. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Hold } from "../../src/core/lease.js";
import { type AgentWorld, aCard, inWorld, ports } from "../support/agent-world.js";
import type { RunningAgent } from "../support/running-agent.js";

const gpu = "0000:01:00.0";
const twin = "0000:02:00.0";
const id = "pciplug-0000-01-00.0";
const build = { name: "build", ports: ports(3) };
const file = { rules: [{ name: "gpu", match: { vendor: "10de" }, vm: "build" }] };

function holdsOnDisk(world: AgentWorld): readonly Hold[] {
  return (JSON.parse(readFileSync(join(world.stateDir, "intents.json"), "utf8")) as { holds: Hold[] }).holds;
}

/** A world in which the guest has thrown its card out. */
async function afterEjection(
  story: (world: AgentWorld, agent: RunningAgent) => Promise<void>,
): Promise<void> {
  await inWorld({ cards: [aCard(gpu), aCard(twin)], vms: [build] }, async (world) => {
    const agent = await world.start(file);
    await agent.untilIn("build", [gpu, twin]);
    world.vm("build").ejectFromGuest(id);
    await agent.until("a hold", ({ holds }) => holds.length === 1);
    await agent.untilIn("build", [twin]);
    await story(world, agent);
  });
}

describe("a card that the guest has ejected", () => {
  it("is put on hold and not pushed back in, however often the agent looks", async () => {
    await afterEjection(async (world, agent) => {
      expect(await agent.untilHeld(gpu, "hold")).toContain(
        "build let go of 0000:01:00.0 without being asked",
      );
      const moves = world.movesOf("build");
      for (let round = 0; round < 3; round += 1) {
        world.advance(600_000);
        await agent.look();
      }
      expect(world.inVms()).toEqual({ build: [twin] });
      expect(world.movesOf("build")).toEqual(moves);
      expect(world.audit().filter(({ event }) => event === "hold-made")).toMatchObject([
        { address: gpu, vm: "build" },
      ]);
    });
  });

  it("is still on hold after the agent was started again, by what is in the intents file", async () => {
    await afterEjection(async (world, agent) => {
      await agent.stop();
      expect(holdsOnDisk(world)).toMatchObject([{ address: gpu, vm: "build", cause: "ejected-by-guest" }]);
      const next = await world.start(file);
      await next.untilHeld(gpu, "hold");
      await next.untilIn("build", [twin]);
      expect(next.steps()).toEqual([]);
    });
  });

  it("comes back with a new process of the VM", async () => {
    await afterEjection(async (world, agent) => {
      await world.vm("build").kill();
      await world.vm("build").start();
      await agent.untilIn("build", [gpu, twin]);
      expect(agent.world.holds).toEqual([]);
      await agent.stop();
      expect(holdsOnDisk(world)).toEqual([]);
    });
  });

  it("comes back with a new process of the VM also when the agent was away meanwhile", async () => {
    await afterEjection(async (world, agent) => {
      await agent.stop();
      await world.vm("build").kill();
      await world.vm("build").start();
      const next = await world.start(file);
      await next.untilIn("build", [gpu, twin]);
    });
  });

  it("comes back when it was taken out of the host and put in again", async () => {
    await afterEjection(async (world, agent) => {
      await world.host.restartAppearance(gpu);
      await agent.untilIn("build", [gpu, twin]);
      expect(agent.world.holds).toEqual([]);
    });
  });

  it("is given back to the host when its rule goes away", async () => {
    await afterEjection(async (world, agent) => {
      await agent.stop();
      const next = await world.start({ rules: [{ name: "twin", match: { address: twin }, vm: "build" }] });
      await next.until("one lease", ({ leases }) => leases.size === 1);
      expect(world.hostStateOf(gpu)).toEqual({ driver: "nouveau", override: null });
    });
  });

  it("stays out while the monitor of its VM is only busy for a while", async () => {
    await afterEjection(async (world, agent) => {
      world.vm("build").intercept("query-status", () => "close");
      world.vm("build").emitEvent("RESUME");
      await agent.until("the link is lost", ({ vms }) => vms.get("build")?.kind === "unreachable");
      world.vm("build").intercept("query-status", () => undefined);
      await agent.untilIn("build", [twin]);
      expect(agent.world.holds).toHaveLength(1);
    });
  });
});

describe("a card that somebody has bound to another driver while it waited for its VM", () => {
  it("is left to them until the VM has a new process", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const letThrough = world.vm("build").intercept("device_add", () => ({
        error: { class: "GenericError", desc: "vfio x: failed to open /dev/vfio/9: Device or resource busy" },
      }));
      const agent = await world.start(file);
      await agent.untilHeld(gpu, "group-busy");
      const { io } = world.host;
      await io.write(`/sys/bus/pci/devices/${gpu}/driver_override`, "\n", 1_000);
      await io.write("/sys/bus/pci/drivers/vfio-pci/unbind", `${gpu}\n`, 1_000);
      await io.write("/sys/bus/pci/drivers_probe", `${gpu}\n`, 1_000);
      expect(await agent.untilHeld(gpu, "hold")).toContain(`the driver of ${gpu} changed from vfio-pci to `);
      letThrough();
      const { writes } = world.deeds();
      world.advance(600_000);
      await agent.rest();
      expect(world.hostStateOf(gpu)).toEqual({ driver: "nouveau", override: null });
      expect(world.deeds().writes).toBe(writes);

      await world.vm("build").kill();
      await world.vm("build").start();
      await agent.untilIn("build", [gpu]);
    });
  });
});

describe("intents that were damaged", () => {
  it("keep anything new from being attached, and leave what is attached where it is", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const first = await world.start(file);
      await first.untilIn("build", [gpu]);
      await first.stop();
      writeFileSync(join(world.stateDir, "intents.json"), "{ half a");
      await world.host.plug(aCard(twin));
      const agent = await world.start(file);
      expect(await agent.untilHeld(twin, "intents-lost")).toContain("pciplug state accept-loss");
      await agent.untilIn("build", [gpu]);
      expect(world.hostStateOf(twin)).toEqual({ driver: "nouveau", override: null });
    });
  });
});
