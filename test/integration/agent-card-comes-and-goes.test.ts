/** The main job: a card that is plugged into the host reaches its VM, and leaves it again without a trace. */
import { describe, expect, it } from "vitest";
import { aCard, inWorld, ports } from "../support/agent-world.js";

const gpu = "0000:01:00.0";
const twin = "0000:02:00.0";
const toBuild = { rules: [{ name: "gpu", match: { vendor: "10de" }, vm: "build" }] };
const build = { name: "build", ports: ports(3) };

describe("a card that is plugged into the host", () => {
  it("reaches the running VM, and when it is pulled leaves nothing leased, bound or pending", async () => {
    await inWorld({ vms: [build] }, async (world) => {
      const agent = await world.start(toBuild);
      await world.host.plug(aCard(gpu));
      await agent.untilIn("build", [gpu]);
      expect(world.hostStateOf(gpu)).toEqual({ driver: "vfio-pci", override: "vfio-pci" });
      expect(world.ledger().map((lease) => [lease.address, lease.vm, lease.original])).toEqual([
        [gpu, "build", { driver: "nouveau", override: null }],
      ]);

      await world.host.pull(gpu);
      await agent.until("no lease", ({ leases, devices }) => leases.size === 0 && devices.size === 0);
      await agent.untilIn("build", []);
      expect(world.ledger()).toEqual([]);
      expect([...agent.world.unplugs.keys(), ...agent.world.backoffs.keys()]).toEqual([]);
      expect(agent.world.holds).toEqual([]);
    });
  });

  it("is in the ledger, and its step and its write are in the audit, on disk before the first host write", async () => {
    await inWorld({ vms: [build] }, async (world) => {
      const atFirstWrite: unknown[] = [];
      const stopWatching = world.host.intercept((path, text) => {
        const [lease] = world.ledger();
        const lines = world.audit().map((line) => (line.event === "host-write" ? line.after : line.event));
        atFirstWrite.push([
          lease?.address,
          lease?.vm,
          lines.at(-1),
          lines.includes("step-started"),
          path,
          text,
        ]);
        stopWatching();
        return undefined;
      });
      const agent = await world.start(toBuild);
      await world.host.plug(aCard(gpu));
      await agent.untilIn("build", [gpu]);
      const path = `/sys/bus/pci/devices/${gpu}/driver_override`;
      const text = "vfio-pci\n";
      expect(atFirstWrite).toHaveLength(1);
      expect(atFirstWrite).toEqual([
        [
          gpu,
          "build",
          { path: expect.stringContaining(path), text },
          true,
          expect.stringContaining(gpu),
          text,
        ],
      ]);
    });
  });

  it("has every one of its host writes in the audit before that is made, also on the way back", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const unannounced: string[] = [];
      world.host.intercept((path, text) => {
        const last = world
          .audit()
          .filter((line) => line.event === "host-write")
          .at(-1);
        const isAnnounced = last?.after.text === text && last.after.path.endsWith(path);
        unannounced.push(...(isAnnounced ? [] : [`${path} ${text}`]));
        return undefined;
      });
      const agent = await world.start(toBuild);
      await agent.untilIn("build", [gpu]);
      await agent.stop();
      const second = await world.start({ rules: [] });
      await second.until("the card is back", ({ leases }) => leases.size === 0);
      expect(world.hostStateOf(gpu)).toEqual({ driver: "nouveau", override: null });
      expect(unannounced).toEqual([]);
      expect(world.host.writes.length).toBeGreaterThanOrEqual(6);
    });
  });

  it("is found again by the name of the source that saw it first", async () => {
    await inWorld({ vms: [build] }, async (world) => {
      const agent = await world.start(toBuild);
      await agent.until(
        "the udev database is watched",
        ({ sources }) => sources.get("udev-database")?.kind === "up",
      );
      await world.host.plug(aCard(gpu));
      const seen = await agent.untilEntry("the card", (entry) => entry.event === "device-appeared");
      expect(seen).toMatchObject({ address: gpu, source: "udev-database", after: { driver: "nouveau" } });
    });
  });
});

describe("two identical cards", () => {
  it("both reach the VM, and pulling one leaves the other where it is", async () => {
    await inWorld({ cards: [aCard(gpu), aCard(twin)], vms: [build] }, async (world) => {
      const agent = await world.start(toBuild);
      await agent.untilIn("build", [gpu, twin]);
      await world.host.pull(gpu);
      await agent.untilIn("build", [twin]);
      await agent.until("one lease", ({ leases }) => leases.size === 1);
      expect(world.ledger().map((lease) => lease.address)).toEqual([twin]);
      expect(world.movesOf("build").filter((move) => move.endsWith("02-00.0"))).toEqual([
        "device_add pciplug-0000-02-00.0",
      ]);
    });
  });

  it("come and go many times without a port or a lease being lost", async () => {
    await inWorld({ vms: [{ name: "build", ports: ports(2) }] }, async (world) => {
      const agent = await world.start(toBuild);
      for (let round = 0; round < 4; round += 1) {
        await Promise.all([world.host.plug(aCard(gpu)), world.host.plug(aCard(twin))]);
        await agent.untilIn("build", [gpu, twin]);
        await Promise.all([world.host.pull(gpu), world.host.pull(twin)]);
        await agent.until("no lease", ({ leases }) => leases.size === 0);
        await agent.untilIn("build", []);
      }
      expect(agent.steps().filter((step) => !step.endsWith("done"))).toEqual([]);
    });
  });
});
