/** QEMU's own words against a device_add: what is tried again, what is given up, and what happens to the rest of a unit. */
import { readlinkSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, it } from "vitest";
import { type AgentWorld, aCard, inWorld, ports } from "../support/agent-world.js";

const gpu = "0000:01:00.0";
const sound = "0000:01:00.1";
const build = { name: "build", ports: ports(3) };
const file = { rules: [{ name: "gpu", match: { vendor: "10de" }, vm: "build" }] };
const untouched = { driver: "nouveau", override: null };
const taken = { driver: "vfio-pci", override: "vfio-pci" };

function groupOf(world: AgentWorld): number {
  return Number(basename(readlinkSync(join(world.host.dir, "sys/bus/pci/devices", gpu, "iommu_group"))));
}

function refusal(desc: string) {
  return () => ({ error: { class: "GenericError", desc } });
}

const memlock =
  `vfio ${gpu}: failed to setup container for group 13: memory listener initialization failed: Region pc.ram: ` +
  "vfio_dma_map(0x55e033c45a00, 0x100000, 0x7f00000, 0x7f4307f00000) = -12 (Cannot allocate memory)";

describe("a refusal that may pass", () => {
  it.each([
    ["group-busy", "group-busy", `vfio ${gpu}: failed to open /dev/vfio/13: Device or resource busy`],
    ["container-access", "backing-off", `vfio ${gpu}: failed to open /dev/vfio/vfio: Permission denied`],
    ["unknown", "backing-off", "something that QEMU has never said before"],
  ] as const)("(%s) keeps the card bound and is repeated by time only", async (reason, kind, desc) => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const letThrough = world.vm("build").intercept("device_add", refusal(desc));
      const agent = await world.start(file);
      expect(await agent.untilHeld(gpu, kind)).toContain(desc);
      await agent.look();
      expect(world.movesOf("build")).toHaveLength(1);
      expect(world.hostStateOf(gpu)).toEqual(taken);
      const ended = await agent.untilEntry(
        "the refusal",
        (entry) => entry.event === "step-ended" && entry.after.kind === "refused",
      );
      expect(ended).toMatchObject({ step: { kind: "attach" }, after: { reason, at: gpu } });

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

  it("(group-busy) is held in the name of the process and the VM that have it open", async () => {
    const other = { name: "other", ports: ports(1) };
    await inWorld({ cards: [aCard(gpu)], vms: [build, other] }, async (world) => {
      const desc = `vfio ${gpu}: failed to open /dev/vfio/1: Device or resource busy`;
      world.vm("build").intercept("device_add", () => {
        world.host.proc.showGroups(world.vm("other").pid, [groupOf(world)]);
        return refusal(desc)();
      });
      const agent = await world.start(file);
      expect(await agent.untilHeld(gpu, "group-busy")).toContain(
        `${desc}; open in process ${world.vm("other").pid} (VM other)`,
      );
    });
  });
});

describe("a refusal for a port's sake", () => {
  const atPort = (bus: string, desc: string) => (args: Readonly<Record<string, unknown>>) =>
    args["bus"] === bus ? refusal(desc)() : undefined;

  it.each([
    ["port-unusable", "Bus 'rp0' does not support hotplugging"],
    ["port-occupied", "PCI: slot 0 function 0 not available for vfio-pci, in use by vfio-pci,id=h0"],
  ])("(%s) is followed by the next port at once", async (_, desc) => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      world.vm("build").intercept("device_add", atPort("rp0", desc));
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu]);
      const buses = world
        .vm("build")
        .commands.filter(({ name }) => name === "device_add")
        .map(({ arguments: args }) => args["bus"]);
      expect(buses).toEqual(["rp0", "rp1"]);
      expect(agent.world.backoffs.size).toBe(0);
      const { vms } = await world.status();
      expect(vms[0]?.ports).toEqual({ free: 1, plugged: 1, unusable: 1 });
    });
  });

  it("leaves the card waiting for a free port when all are refused, until another process is there", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const letThrough = world.vm("build").intercept("device_add", refusal("Bus 'x' not found"));
      const agent = await world.start(file);
      expect(await agent.untilHeld(gpu, "no-free-port")).toContain("3 unusable");
      expect(world.movesOf("build")).toHaveLength(3);
      letThrough();
      world.advance(3_600_000);
      await agent.rest();
      expect(world.movesOf("build")).toHaveLength(3);
      await world.vm("build").kill();
      await world.vm("build").start();
      await agent.untilIn("build", [gpu]);
    });
  });
});

describe("a refusal that the step itself mends", () => {
  const poor = { ...build, uid: 4242, gid: 4242 };

  it("binds the device once more where QEMU found no node, and says so", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const desc = `vfio ${gpu}: failed to open /dev/vfio/1: No such file or directory`;
      const letThrough = world.vm("build").intercept("device_add", () => {
        letThrough();
        return refusal(desc)();
      });
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu]);
      expect(world.movesOf("build")).toHaveLength(2);
      const ended = await agent.untilEntry(
        "the attach",
        (entry) => entry.event === "step-ended" && entry.step.kind === "attach",
      );
      expect(ended).toMatchObject({
        after: { kind: "done", detail: `at the second attempt; the first was refused: ${desc}` },
      });
      expect(agent.world.backoffs.size).toBe(0);
    });
  });

  it("gives the node to QEMU's user once more, then holds with user and node named", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [poor] }, async (world) => {
      const desc = `vfio ${gpu}: failed to open /dev/vfio/1: Permission denied`;
      const letThrough = world.vm("build").intercept("device_add", refusal(desc));
      const agent = await world.start(file);
      const why = await agent.untilHeld(gpu, "node-access");
      expect(why).toContain("(user 4242)");
      expect(why).toContain(`/dev/vfio/${groupOf(world)}`);
      expect(world.movesOf("build")).toHaveLength(2);
      expect(world.hostStateOf(gpu)).toEqual(taken);
      letThrough();
      world.advance(1_000);
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
      await agent.untilHeld(sound, "group-busy");
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

  it("is noticed to have a larger memory limit, raised from outside while it runs", async () => {
    const poor = { ...build, uid: 1000, gid: 1000, memlockBytes: 8 * 1024 * 1024 };
    await inWorld({ cards: [aCard(gpu)], vms: [poor] }, async (world) => {
      const agent = await world.start(file);
      await agent.untilHeld(gpu, "memlock");
      const { commands } = world.deeds();
      world.advance(3_600_000);
      await agent.rest();
      expect(world.deeds().commands).toBe(commands);
      world.host.proc.limitMemlock(world.vm("build").pid, 64 * 1024 ** 3);
      world.advance(3_600_000);
      await agent.untilIn("build", [gpu]);
    });
  });

  it("gets a larger memory limit where its entry says raiseMemlock, before any driver is touched", async () => {
    const poor = { ...build, uid: 1000, gid: 1000, memlockBytes: 8 * 1024 * 1024 };
    await inWorld({ cards: [aCard(gpu)], vms: [poor] }, async (world) => {
      const vms = [{ name: "build", qmp: world.sim.socketOf("build"), raiseMemlock: "true" }];
      const agent = await world.start({ ...file, vms });
      await agent.untilIn("build", [gpu]);
      expect(agent.steps()).toEqual(["raise-memlock done", "bind done", "attach done"]);
      const { pid } = world.vm("build");
      const at = agent.entries.findIndex((entry) => entry.event === "host-write");
      expect(agent.entries.slice(0, at).some(({ event }) => event === "step-started")).toBe(true);
      expect(agent.entries[at]).toMatchObject({
        after: {
          path: join(world.host.dir, `proc/${pid}/limits`),
          text: `Max locked memory ${world.host.proc.memlockOf(pid)}`,
        },
      });
    });
  });

  it("is backed off from when the limit cannot be raised", async () => {
    const poor = { ...build, uid: 1000, gid: 1000, memlockBytes: 8 * 1024 * 1024 };
    await inWorld({ cards: [aCard(gpu)], vms: [poor] }, async (world) => {
      world.host.intercept((path) =>
        path.endsWith("/limits") ? { kind: "failed", detail: "Operation not permitted" } : undefined,
      );
      const vms = [{ name: "build", qmp: world.sim.socketOf("build"), raiseMemlock: "true" }];
      const agent = await world.start({ ...file, vms });
      expect(await agent.untilHeld(gpu, "backing-off")).toContain("Operation not permitted");
      expect(world.hostStateOf(gpu)).toEqual(untouched);
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
