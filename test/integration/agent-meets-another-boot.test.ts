/** The machine was rebooted, and a ledger of the boot before is in the state folder: nothing is done on its word. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type AgentWorld, aCard, inWorld, ports } from "../support/agent-world.js";

const gpu = "0000:01:00.0";
const build = { name: "build", ports: ports(3) };
const file = { rules: [{ name: "gpu", match: { vendor: "10de" }, vm: "build" }] };

function archive(world: AgentWorld): { address: string; bootId: string }[] {
  const text = readFileSync(join(world.stateDir, "ledger-archive.jsonl"), "utf8");
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { address: string; bootId: string });
}

describe("after a reboot", () => {
  it("with another card at the same address nothing is written, and the ledger's entry is archived", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const before = await world.start(file);
      await before.untilIn("build", [gpu]);
      const { bootId } = before.world;
      await before.stop();
      await world.host.reboot();
      await world.host.pull(gpu);
      await world.host.plug(aCard(gpu, { vendor: "1002", device: "73bf", driver: "amdgpu" }));
      await world.vm("build").start();

      const { writes } = world.deeds();
      const after = await world.start(file);
      await after.until("the VM is up", ({ vms }) => vms.get("build")?.kind === "up");
      await after.rest();
      expect(after.world.bootId).not.toBe(bootId);
      expect(world.deeds().writes).toBe(writes);
      expect(after.steps()).toEqual([]);
      expect(world.hostStateOf(gpu)).toEqual({ driver: "amdgpu", override: null });
      expect(world.ledger()).toEqual([]);
      expect(archive(world)).toMatchObject([{ address: gpu, bootId }]);
      expect(world.audit().filter(({ event }) => event === "lease-archived")).toMatchObject([
        { address: gpu, vm: "build", before: { bootId } },
      ]);
    });
  });

  it("the same card is taken anew, with what it is now as what it goes back to", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const before = await world.start(file);
      await before.untilIn("build", [gpu]);
      await before.stop();
      await world.host.reboot();
      await world.vm("build").start();
      const after = await world.start(file);
      await after.untilIn("build", [gpu]);
      expect(world.ledger()).toMatchObject([{ bootId: after.world.bootId, original: { driver: "nouveau" } }]);
      expect(after.steps()).toEqual(["bind done", "attach done"]);
    });
  });
});

describe("in the same boot", () => {
  it("another card in the place of a leased one is not written to on the lease's word", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const before = await world.start(file);
      await before.untilIn("build", [gpu]);
      await before.stop();
      await world.vm("build").kill();
      await world.host.pull(gpu);
      await world.host.plug(aCard(gpu, { vendor: "1002", device: "73bf", driver: "amdgpu" }));
      const { writes } = world.deeds();

      const after = await world.start(file);
      await after.until("the lease is closed", ({ leases }) => leases.size === 0);
      await after.rest();
      expect(after.steps()).toEqual(["forget done"]);
      expect(world.deeds().writes).toBe(writes);
      expect(world.hostStateOf(gpu)).toEqual({ driver: "amdgpu", override: null });
      expect(
        world.audit().some((line) => line.event === "step-started" && line.why === "the card is gone"),
      ).toBe(true);
    });
  });

  it("a card that went and came back is a new one: leased again, from what it is now", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu]);
      const [old] = world.ledger();
      await world.host.restartAppearance(gpu);
      await agent.until("another lease", ({ leases }) => {
        const [lease] = leases.values();
        return lease !== undefined && lease.appearance !== old?.appearance;
      });
      await agent.untilIn("build", [gpu]);
      expect(world.ledger()).toMatchObject([{ original: { driver: "nouveau", override: null } }]);
    });
  });
});
