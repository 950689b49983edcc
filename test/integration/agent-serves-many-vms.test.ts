/** Sixty-four VMs at once, each in a lane of its own: one that hangs delays no other. */
import { describe, expect, it } from "vitest";
import { type AgentWorld, aCard, inWorld, ports } from "../support/agent-world.js";
import type { RunningAgent } from "../support/running-agent.js";

const COUNT = 64;
const HUNG = 17;
const numbers = Array.from({ length: COUNT }, (_, index) => index);
const nameOf = (index: number): string => `vm${String(index).padStart(2, "0")}`;
const addressOf = (index: number): string => `0000:${(index + 16).toString(16)}:00.0`;
const cards = numbers.map((index) => aCard(addressOf(index)));
const vms = numbers.map((index) => ({ name: nameOf(index), ports: ports(1) }));
const rules = numbers.map((index) => ({
  name: `r${index}`,
  match: { address: addressOf(index) },
  vm: nameOf(index),
}));
const others = numbers.filter((index) => index !== HUNG);
const hung = nameOf(HUNG);

async function othersHaveTheirs(world: AgentWorld, agent: RunningAgent): Promise<void> {
  await agent.until("the cards of all others", ({ vms: seen }) =>
    others.every((index) => {
      const status = seen.get(nameOf(index));
      return status?.kind === "up" && status.view.attached.length === 1;
    }),
  );
  for (const index of others) {
    expect(world.vm(nameOf(index)).attached()).toEqual([addressOf(index)]);
  }
}

describe("64 VMs, one of which hangs", () => {
  it("from the start: all others get their cards before it is even known to hang", async () => {
    await inWorld({ cards, vms }, async (world) => {
      world.vm(hung).hang();
      const agent = await world.start({ rules });
      await othersHaveTheirs(world, agent);
      expect(await agent.untilHeld(addressOf(HUNG), "vm-unreachable")).toContain(
        `${hung} cannot be spoken to`,
      );
      const status = (await world.status()).vms;
      expect(status).toHaveLength(COUNT);
      expect(status[HUNG]).toMatchObject({
        name: hung,
        state: "unreachable",
        lastError: { at: expect.any(String) },
      });
      expect(status.filter(({ lastError }) => lastError !== null)).toHaveLength(1);
      world.vm(hung).wake();
      await agent.untilIn(hung, [addressOf(HUNG)]);
    });
  });

  it("in the middle of a command: all others get their cards, and it gets its own when it wakes", async () => {
    await inWorld({ cards, vms }, async (world) => {
      world.vm(hung).intercept("device_add", () => {
        world.vm(hung).hang();
        return undefined;
      });
      const agent = await world.start({ rules });
      await othersHaveTheirs(world, agent);
      await agent.untilEntry(
        "its attach",
        (entry) => entry.event === "step-started" && entry.what === "attach" && entry.vm === hung,
      );
      expect(agent.inVm(hung)).toEqual([]);
      expect(agent.world.running.has(hung)).toBe(true);
      world.vm(hung).wake();
      await agent.untilIn(hung, [addressOf(HUNG)]);
    });
  });

  it("on shared monitors found by one path: the same", async () => {
    await inWorld({ cards, vms }, async (world) => {
      world.vm(hung).hang();
      const user = String(process.getuid?.() ?? 0);
      const qmp = world.sim.socketOf("{vm}");
      const agent = await world.start({ rules, vms: [{ qmp, user, monitor: "shared" }] });
      await othersHaveTheirs(world, agent);
      await agent.untilHeld(addressOf(HUNG), "vm-unreachable");
      world.vm(hung).wake();
      await agent.untilIn(hung, [addressOf(HUNG)]);
    });
  });
});
