/** What nobody announced is seen all the same: the host is looked at once more, just before the first write. */
import { appendFileSync, cpSync, realpathSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type AgentWorld, aCard, inWorld, ports } from "../support/agent-world.js";
import { anAddress } from "../support/builders.js";
import type { RunningAgent } from "../support/running-agent.js";

const disk = "0000:01:00.0";
const aDisk = aCard(disk, {
  vendor: "144d",
  device: "a808",
  class: "010802",
  driver: "nvme",
  disk: { name: "nvme0n1" },
});
const build = { name: "build", ports: ports(2) };
const file = { rules: [{ name: "disks", match: { vendor: "144d" }, vm: "build" }] };

/** An agent that has seen the disk free, and only waits for its VM. */
async function waiting(story: (world: AgentWorld, agent: RunningAgent) => Promise<void>): Promise<void> {
  await inWorld({ cards: [aDisk], vms: [build] }, async (world) => {
    await world.vm("build").kill();
    const agent = await world.start(file);
    await agent.untilHeld(disk, "vm-down");
    await story(world, agent);
    expect(world.host.writes).toEqual([]);
    expect(world.inVms()).toEqual({ build: [] });
    expect(world.hostStateOf(disk)).toEqual({ driver: "nvme", override: null });
    expect(agent.errors).toEqual([]);
  });
}

describe("the last look before the first write", () => {
  it("sees that the disk was mounted meanwhile", async () => {
    await waiting(async (world, agent) => {
      appendFileSync(
        join(world.host.dir, "proc/1/mountinfo"),
        "31 21 259:0 / /srv rw,relatime shared:2 - ext4 /dev/nvme0n1 rw\n",
      );
      expect(agent.world.protections.has(anAddress(disk))).toBe(false);
      await world.vm("build").start();
      expect(await agent.untilHeld(disk, "protected")).toContain("it carries /srv through nvme0n1");
    });
  });

  it("sees that another card stands at the address", async () => {
    await waiting(async (world, agent) => {
      const folder = realpathSync(join(world.host.dir, "sys/bus/pci/devices", disk));
      cpSync(folder, join(world.dir, "other"), { recursive: true, verbatimSymlinks: true });
      renameSync(folder, join(world.dir, "gone"));
      renameSync(join(world.dir, "other"), folder);
      writeFileSync(join(folder, "vendor"), "0x8086\n");
      expect(agent.world.devices.get(anAddress(disk))?.vendor).toBe("144d");
      await world.vm("build").start();
      await agent.until("the other card", ({ devices }) => devices.get(anAddress(disk))?.vendor === "8086");
      await agent.until("the VM", ({ vms }) => vms.get("build")?.kind === "up");
      await agent.rest();
    });
  });
});
