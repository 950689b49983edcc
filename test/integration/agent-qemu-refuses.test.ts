/** QEMU's own words against a device_add: what is tried again, what is given up, and what happens to the rest of a unit. */
import { describe, expect, it } from "vitest";
import { aCard, inWorld, ports } from "../support/agent-world.js";

const gpu = "0000:01:00.0";
const sound = "0000:01:00.1";
const build = { name: "build", ports: ports(3) };
const file = { rules: [{ name: "gpu", match: { vendor: "10de" }, vm: "build" }] };
const untouched = { driver: "nouveau", override: null };
const taken = { driver: "vfio-pci", override: "vfio-pci" };

function refusal(desc: string) {
  return () => ({ error: { class: "GenericError", desc } });
}

const memlock =
  `vfio ${gpu}: failed to setup container for group 13: memory listener initialization failed: Region pc.ram: ` +
  "vfio_dma_map(0x55e033c45a00, 0x100000, 0x7f00000, 0x7f4307f00000) = -12 (Cannot allocate memory)";

describe("a refusal that may pass", () => {
  it.each([
    ["group-busy", `vfio ${gpu}: failed to open /dev/vfio/13: Device or resource busy`],
    ["group-not-viable", `vfio ${gpu}: group 13 is not viable`],
    ["node-access", `vfio ${gpu}: failed to open /dev/vfio/13: Permission denied`],
    ["port-occupied", "PCI: slot 0 function 0 not available for vfio-pci, in use by vfio-pci,id=h0"],
    ["unknown", "something that QEMU has never said before"],
  ])("(%s) keeps the card bound and is repeated by time only", async (reason, desc) => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const letThrough = world.vm("build").intercept("device_add", refusal(desc));
      const agent = await world.start(file);
      expect(await agent.untilHeld(gpu, "backing-off")).toContain(desc);
      await agent.look();
      expect(world.movesOf("build")).toHaveLength(1);
      expect(world.hostStateOf(gpu)).toEqual(taken);
      const ended = await agent.untilEntry(
        "the refusal",
        (entry) => entry.event === "step-ended" && entry.after.kind === "refused",
      );
      expect(ended).toMatchObject({ step: { kind: "attach" }, after: { reason, isWorthRetrying: true } });

      world.advance(1_000);
      await agent.until("a second refusal", ({ backoffs }) =>
        [...backoffs.values()].some((e) => e.failures === 2),
      );
      letThrough();
      world.advance(1_500);
      await agent.look();
      expect(world.inVms()).toEqual({ build: [] });
      world.advance(500);
      await agent.untilIn("build", [gpu]);
    });
  });
});

describe("a refusal for good", () => {
  it.each([
    ["memlock", memlock],
    ["no-iommu", `vfio ${gpu}: no iommu_group found: No such file or directory`],
  ])("(%s) gives the card back to the host and waits for a change, not for time", async (_, desc) => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const letThrough = world.vm("build").intercept("device_add", refusal(desc));
      const agent = await world.start(file);
      await agent.until(
        "the card is given back",
        ({ leases, backoffs }) => leases.size === 0 && backoffs.size > 0,
      );
      expect(await agent.untilHeld(gpu, "refused")).toContain("waiting for a change");
      expect(world.hostStateOf(gpu)).toEqual(untouched);
      letThrough();
      const { writes } = world.deeds();
      for (let hour = 0; hour < 3; hour += 1) {
        world.advance(3_600_000);
        await agent.rest();
      }
      expect(world.movesOf("build")).toHaveLength(1);
      expect(world.deeds().writes).toBe(writes);

      await world.vm("build").kill();
      await world.vm("build").start();
      await agent.untilIn("build", [gpu]);
    });
  });
});

describe("a unit of two functions", () => {
  const cards = [
    aCard(gpu, { iommuGroup: 13 }),
    aCard(sound, { device: "1aef", class: "040300", driver: "snd_hda_intel", iommuGroup: 13 }),
  ];
  const refuseSecond = (desc: string) => (args: Readonly<Record<string, unknown>>) =>
    String(args["host"]) === sound ? refusal(desc)() : undefined;

  it("whose second one is refused leaves the VM again whole, and comes whole later", async () => {
    await inWorld({ cards, vms: [build] }, async (world) => {
      const busy = `vfio ${sound}: failed to open /dev/vfio/13: Device or resource busy`;
      const letThrough = world.vm("build").intercept("device_add", refuseSecond(busy));
      const agent = await world.start(file);
      await agent.untilHeld(sound, "backing-off");
      await agent.untilIn("build", []);
      expect(world.movesOf("build")).toEqual([
        "device_add pciplug-0000-01-00.0",
        "device_add pciplug-0000-01-00.1",
        "device_del pciplug-0000-01-00.0",
      ]);
      expect(agent.world.holds).toEqual([]);
      letThrough();
      world.advance(1_000);
      await agent.untilIn("build", [gpu, sound]);
    });
  });

  it("whose second one is refused for good is given back whole", async () => {
    await inWorld({ cards, vms: [build] }, async (world) => {
      world.vm("build").intercept("device_add", refuseSecond(memlock));
      const agent = await world.start(file);
      await agent.until("no lease", ({ leases, backoffs }) => leases.size === 0 && backoffs.size > 0);
      await agent.untilIn("build", []);
      expect(world.hostStateOf(gpu)).toEqual(untouched);
      expect(world.hostStateOf(sound)).toEqual({ driver: "snd_hda_intel", override: null });
      expect(agent.world.holds).toEqual([]);
    });
  });

  it("comes whole at last also when the guest did not let go of the first one at once", async () => {
    const stubborn = { ...build, guest: { behaviour: "refuses" as const } };
    await inWorld({ cards, vms: [stubborn] }, async (world) => {
      const busy = `vfio ${sound}: failed to open /dev/vfio/13: Device or resource busy`;
      const letThrough = world.vm("build").intercept("device_add", refuseSecond(busy));
      const agent = await world.start(file);
      await agent.until("a pending unplug", ({ unplugs }) => unplugs.size === 1);
      letThrough();
      world.vm("build").setGuest({ behaviour: "co-operative" });
      world.vm("build").ejectFromGuest("pciplug-0000-01-00.0");
      world.advance(10_000);
      await agent.untilIn("build", [gpu, sound]);
      expect(agent.world.holds).toEqual([]);
      expect(agent.world.unplugs.size).toBe(0);
    });
  });
});

describe("a VM that is plainly not ready", () => {
  it("without a free port is not asked, and the card is not touched", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [{ name: "build" }] }, async (world) => {
      const agent = await world.start(file);
      expect(await agent.untilHeld(gpu, "no-free-port")).toBe(
        "no free hot-plug port in build: 1 needed, it has no ports at all",
      );
      await agent.rest();
      expect(world.movesOf("build")).toEqual([]);
      expect(world.host.writes).toEqual([]);
    });
  });

  it("with too small a memory limit is not asked, and the card is not touched", async () => {
    const poor = { ...build, uid: 1000, gid: 1000, memlockBytes: 8 * 1024 * 1024 };
    await inWorld({ cards: [aCard(gpu)], vms: [poor] }, async (world) => {
      const agent = await world.start(file);
      expect(await agent.untilHeld(gpu, "memlock")).toContain("raise LimitMEMLOCK");
      await agent.rest();
      expect(world.movesOf("build")).toEqual([]);
      expect(world.host.writes).toEqual([]);
    });
  });

  it("without room for all of a unit gets none of it", async () => {
    const cards = [aCard(gpu, { iommuGroup: 13 }), aCard(sound, { iommuGroup: 13 })];
    await inWorld({ cards, vms: [{ name: "build", ports: ports(1) }] }, async (world) => {
      const agent = await world.start(file);
      await agent.untilHeld(gpu, "no-free-port");
      await agent.untilHeld(sound, "no-free-port");
      await agent.rest();
      expect(world.host.writes).toEqual([]);
    });
  });
});
