/** The agent is killed in the middle of a step: the ledger knows enough for the next one to finish or to undo. */
import { describe, expect, it } from "vitest";
import { type AgentWorld, aCard, inWorld, ports } from "../support/agent-world.js";

const gpu = "0000:01:00.0";
const sound = "0000:01:00.1";
const build = { name: "build", ports: ports(3) };
const file = { rules: [{ name: "gpu", match: { vendor: "10de" }, vm: "build" }] };

describe("an agent that is killed in the middle of a bind", () => {
  const cards = [
    aCard(gpu, { iommuGroup: 13 }),
    aCard(sound, { device: "1aef", class: "040300", driver: "snd_hda_intel", iommuGroup: 13 }),
  ];

  /** Kills the agent when the kernel has done so many writes: the answer to the last one never reaches it. */
  async function killAfterWrites(world: AgentWorld, made: number): Promise<void> {
    let isKilled = false;
    const kill = () => {
      isKilled = true;
      agent.crash();
    };
    const disarm = world.host.intercept(() => {
      if (!isKilled && world.host.writes.length >= made) {
        kill();
      }
      return world.host.writes.length > made ? { kind: "failed", detail: "never made" } : undefined;
    });
    const agent = await world.start(file);
    await world.until(`${made} writes`, () => isKilled);
    disarm();
  }

  const moments = [0, 1, 2, 3, 4, 5, 6];

  it.each(moments)("after %i writes is followed by one that finishes the work", async (made) => {
    await inWorld({ cards, vms: [build] }, async (world) => {
      await killAfterWrites(world, made);
      expect(world.ledger().map((lease) => lease.address)).toEqual([gpu, sound]);
      const next = await world.start(file);
      await next.untilIn("build", [gpu, sound]);
      expect(world.ledger().map(({ original }) => original)).toEqual([
        { driver: "nouveau", override: null },
        { driver: "snd_hda_intel", override: null },
      ]);
    });
  });

  it.each(moments)(
    "after %i writes is followed by one that undoes them when the rule is gone",
    async (made) => {
      await inWorld({ cards, vms: [build] }, async (world) => {
        await killAfterWrites(world, made);
        const next = await world.start({ rules: [] });
        await next.until("no lease", ({ leases }) => leases.size === 0);
        expect(world.hostStateOf(gpu)).toEqual({ driver: "nouveau", override: null });
        expect(world.hostStateOf(sound)).toEqual({ driver: "snd_hda_intel", override: null });
        expect(world.inVms()).toEqual({ build: [] });
      });
    },
  );
});

describe("an agent that is killed while it waits for QEMU's answer", () => {
  it.each([
    ["took the card", undefined],
    ["did not get the order", "close" as const],
  ])("is followed by one that finds the card in the VM, whether QEMU %s", async (_, answer) => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      let isKilled = false;
      const disarm = world.vm("build").intercept("device_add", () => {
        isKilled = true;
        agent.crash();
        return answer;
      });
      const agent = await world.start(file);
      await world.until("the order", () => isKilled);
      disarm();
      const next = await world.start(file);
      await next.untilIn("build", [gpu]);
      expect(world.ledger()).toMatchObject([
        { address: gpu, original: { driver: "nouveau", override: null } },
      ]);
    });
  });

  it("goes on with an unplug that was asked for", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const first = await world.start(file);
      await first.untilIn("build", [gpu]);
      await first.stop();
      let isKilled = false;
      const disarm = world.vm("build").intercept("device_del", () => {
        isKilled = true;
        second.crash();
        return undefined;
      });
      const second = await world.start({ rules: [] });
      await world.until("the order", () => isKilled);
      disarm();
      const third = await world.start({ rules: [] });
      await third.until("no lease", ({ leases }) => leases.size === 0);
      expect(world.hostStateOf(gpu)).toEqual({ driver: "nouveau", override: null });
      expect(world.inVms()).toEqual({ build: [] });
    });
  });
});
