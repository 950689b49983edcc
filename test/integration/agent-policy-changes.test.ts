/** The agent starts with another file: what it may take from VMs on its word, and what stays until somebody means it. */
import { describe, expect, it } from "vitest";
import { type AgentWorld, aCard, type FileFacts, inWorld, ports } from "../support/agent-world.js";
import type { StartOptions } from "../support/running-agent.js";

const cards = ["0000:01:00.0", "0000:02:00.0", "0000:03:00.0"];
const [first = "", second = "", third = ""] = cards;
const build = { name: "build", ports: ports(4) };
const other = { name: "other", ports: ports(4) };
const all: FileFacts = { rules: [{ name: "all", match: { vendor: "10de" }, vm: "build" }] };
const untouched = { driver: "nouveau", override: null };
const taken = { driver: "vfio-pci", override: "vfio-pci" };

/** A world in which the VM has the cards by the first file, and an agent that was then started with another. */
async function afterChange(
  file: FileFacts,
  options: StartOptions,
  story: (world: AgentWorld, agent: Awaited<ReturnType<AgentWorld["start"]>>) => Promise<void>,
  before: FileFacts = all,
): Promise<void> {
  await inWorld({ cards: cards.map((address) => aCard(address)), vms: [build, other] }, async (world) => {
    const agent = await world.start(before);
    await agent.untilIn("build", cards);
    await agent.stop();
    await story(world, await world.start(file, options));
  });
}

describe("a rule that is taken away", () => {
  it("takes its one device from the VM: the driver and the override are what they were", async () => {
    const fewer = { rules: [{ name: "all", match: { address: "*:0[12]:00.0" }, vm: "build" }] };
    await afterChange(fewer, {}, async (world, agent) => {
      await agent.untilIn("build", [first, second]);
      await agent.until("its lease has ended", ({ leases }) => leases.size === 2);
      expect(world.hostStateOf(third)).toEqual(untouched);
      const kinds = world.audit().flatMap((line) => (line.event === "step-started" ? [line.step.kind] : []));
      expect(kinds.slice(-2)).toEqual(["detach", "release"]);
    });
  });

  it("takes nothing while it would cost more than the limit, and says how many it would be", async () => {
    await afterChange({ rules: [] }, {}, async (world, agent) => {
      const { writes } = world.deeds();
      expect(await agent.untilHeld(third, "detach-limit")).toBe(
        "policy change would detach 3 devices (limit 1): run `pciplug reload --confirm` to mean it",
      );
      await agent.untilIn("build", cards);
      expect(agent.steps()).toEqual([]);
      expect(world.deeds().writes).toBe(writes);
      expect(world.movesOf("build").filter((move) => move.startsWith("device_del"))).toEqual([]);
    });
  });

  it("takes nothing either when the VMs and cards then go one by one", async () => {
    await afterChange({ rules: [] }, {}, async (world, agent) => {
      await agent.untilHeld(third, "detach-limit");
      await world.host.pull(first);
      await world.host.pull(second);
      await agent.until("two are gone", ({ devices }) => devices.size === 1);
      await agent.untilHeld(third, "detach-limit");
      await agent.untilIn("build", [third]);
    });
  });

  it("takes all of them when that was confirmed", async () => {
    await afterChange({ rules: [] }, { isDetachConfirmed: true }, async (world, agent) => {
      await agent.until("no lease", ({ leases }) => leases.size === 0);
      expect(world.inVms()).toEqual({ build: [], other: [] });
      expect(cards.map((address) => world.hostStateOf(address))).toEqual([untouched, untouched, untouched]);
    });
  });

  it("takes as many as the file's own limit allows", async () => {
    await afterChange({ rules: [], limits: { detachPerChange: "3" } }, {}, async (world, agent) => {
      await agent.until("no lease", ({ leases }) => leases.size === 0);
      expect(world.inVms()).toEqual({ build: [], other: [] });
    });
  });
});

describe("a rule that names another VM", () => {
  it("moves its device there, and only after the first VM has let go", async () => {
    const rules = [
      { name: "moved", match: { address: third }, vm: "other" },
      { name: "rest", match: { address: "*:0[12]:00.0" }, vm: "build" },
    ];
    await afterChange({ rules }, {}, async (world, agent) => {
      await agent.untilIn("other", [third]);
      await agent.untilIn("build", [first, second]);
      expect(world.ledger().find((lease) => lease.address === third)).toMatchObject({
        vm: "other",
        rule: "moved",
        original: untouched,
      });
    });
  });
});

describe("a VM that is missing from the file", () => {
  const without = (world: AgentWorld) => [{ name: "other", qmp: world.sim.socketOf("other") }];

  it("keeps its devices: orphaned, named, untouched, and nothing else is detached either", async () => {
    await afterChange({ rules: [] }, {}, async (world, held) => {
      await held.stop();
      const { writes } = world.deeds();
      const agent = await world.start({ rules: [], vms: without(world) }, { isDetachConfirmed: true });
      expect(await agent.untilHeld(first, "vm-missing")).toBe("orphaned: build is not in the file any more");
      await agent.rest();
      expect(agent.steps()).toEqual([]);
      expect(world.inVms()).toEqual({ build: cards, other: [] });
      expect(cards.map((address) => world.hostStateOf(address))).toEqual([taken, taken, taken]);
      expect(world.deeds().writes).toBe(writes);
    });
  });

  it("gives its cards to no other VM, not even when a rule says so", async () => {
    await afterChange({ rules: [] }, {}, async (world, held) => {
      await held.stop();
      const rules = [{ name: "all", match: { vendor: "10de" }, vm: "other" }];
      const agent = await world.start({ rules, vms: without(world) });
      expect(await agent.untilHeld(second, "leased-elsewhere")).toBe("waiting for build to give it back");
      await agent.rest();
      expect(world.inVms()).toEqual({ build: cards, other: [] });
    });
  });
});

describe("a rule that keeps only one function of an IOMMU group", () => {
  const gpu = "0000:01:00.0";
  const sound = "0000:01:00.1";
  const group = [
    aCard(gpu, { iommuGroup: 13 }),
    aCard(sound, { device: "1aef", class: "040300", driver: "snd_hda_intel", iommuGroup: 13 }),
  ];

  it("takes the other one from the VM, but gives it to the host only when the VM has none of them", async () => {
    await inWorld({ cards: group, vms: [build] }, async (world) => {
      const before = await world.start(all);
      await before.untilIn("build", [gpu, sound]);
      await before.stop();

      const half = await world.start({ rules: [{ name: "gpu", match: { class: "display" }, vm: "build" }] });
      await half.untilIn("build", [gpu]);
      expect(await half.untilHeld(sound, "iommu-group-in-vm")).toMatch(/ of its IOMMU group is in build$/);
      expect(world.hostStateOf(sound)).toEqual(taken);
      expect(half.steps()).toEqual(["detach done"]);
      await half.stop();

      const none = await world.start({ rules: [] });
      await none.until("no lease", ({ leases }) => leases.size === 0);
      expect(world.hostStateOf(gpu)).toEqual(untouched);
      expect(world.hostStateOf(sound)).toEqual({ driver: "snd_hda_intel", override: null });
    });
  });
});
