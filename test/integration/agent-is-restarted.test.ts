/** The agent stops or is killed: the next one finds what is there, and disturbs nothing. */
import { rmSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type AgentWorld, aCard, inWorld, ports } from "../support/agent-world.js";
import type { RunningAgent } from "../support/running-agent.js";

const gpu = "0000:01:00.0";
const cold = "0000:03:00.0";
const build = { name: "build", ports: ports(3) };
const file = { rules: [{ name: "gpu", match: { vendor: "10de" }, vm: "build" }] };
const id = "pciplug-0000-01-00.0";

describe("an agent that is started again", () => {
  it.each([
    ["was stopped", (agent: RunningAgent) => agent.stop()],
    ["was killed", (agent: RunningAgent) => Promise.resolve(agent.crash())],
  ])(
    "after it %s keeps the attached card without one write or order, and a later unplug works",
    async (_, end) => {
      await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
        const first = await world.start(file);
        await first.untilIn("build", [gpu]);
        await end(first);
        const { writes } = world.deeds();
        const moves = world.movesOf("build");

        const second = await world.start(file);
        await second.untilIn("build", [gpu]);
        expect(world.deeds().writes).toBe(writes);
        expect(world.movesOf("build")).toEqual(moves);
        expect(second.steps()).toEqual([]);
        expect(second.world.leases.size).toBe(1);

        await world.host.pull(gpu);
        await second.until("no lease", ({ leases }) => leases.size === 0);
        await second.untilIn("build", []);
      });
    },
  );

  it("leaves the VMs and the devices as they are when it stops", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu]);
      const { writes } = world.deeds();
      await agent.stop();
      expect(world.inVms()).toEqual({ build: [gpu] });
      expect(world.deeds().writes).toBe(writes);
      expect(world.audit().at(-1)?.event).toBe("agent-stopping");
      expect(world.audit().map(({ seq }) => seq)).toEqual(world.audit().map((_, index) => index + 1));
    });
  });

  it("takes a card of ours that the lost ledger does not know into the ledger, and can give it back", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const first = await world.start(file);
      await first.untilIn("build", [gpu]);
      await first.stop();
      rmSync(`${world.stateDir}/ledger.json`);
      const { writes } = world.deeds();

      const second = await world.start(file);
      await second.until("it is adopted", ({ leases }) => leases.size === 1);
      await second.rest();
      expect(second.steps()).toEqual(["adopt done"]);
      expect(world.ledger()).toMatchObject([{ address: gpu, vm: "build", rule: "gpu", original: null }]);
      expect(world.deeds().writes).toBe(writes);

      await second.stop();
      const third = await world.start({ rules: [] });
      await third.until("no lease", ({ leases }) => leases.size === 0);
      // What it was is not known any more: the kernel chooses.
      expect(world.hostStateOf(gpu)).toEqual({ driver: "nouveau", override: null });
    });
  });

  it("catches up with what happened meanwhile", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const first = await world.start(file);
      await first.untilIn("build", [gpu]);
      await first.stop();
      await world.vm("build").kill();
      await world.host.pull(gpu);
      await world.host.plug(aCard(cold));
      await world.vm("build").start();
      const second = await world.start(file);
      await second.untilIn("build", [cold]);
      expect(world.ledger().map((lease) => lease.address)).toEqual([cold]);
    });
  });
});

describe("a card on the VM's own command line", () => {
  const coldDevices = [{ driver: "vfio-pci", id: "hostdev0", bus: "rp2", addr: "0", host: cold }];

  async function withForeignCard(story: (world: AgentWorld) => Promise<void>): Promise<void> {
    await inWorld({ cards: [aCard(gpu), aCard(cold)] }, async (world) => {
      const { io } = world.host;
      await io.write(`/sys/bus/pci/devices/${cold}/driver_override`, "vfio-pci\n", 1_000);
      await io.write("/sys/bus/pci/drivers/nouveau/unbind", `${cold}\n`, 1_000);
      await io.write("/sys/bus/pci/drivers_probe", `${cold}\n`, 1_000);
      await world.sim.addVm({ ...build, coldDevices });
      await story(world);
    });
  }

  it("is shown as foreign and never ejected, whether a rule names it or not", async () => {
    await withForeignCard(async (world) => {
      const vms = [{ name: "build", qmp: world.sim.socketOf("build") }];
      const attached = () => world.vm("build").attached().sort();
      const first = await world.start({ ...file, vms });
      await world.until("ours beside it", () => attached().length === 2);
      expect(await first.untilHeld(cold, "foreign")).toBe(
        "build has it already as hostdev0, not by us: left alone",
      );
      await first.rest();
      await first.stop();

      const second = await world.start({ vms, rules: [], limits: { detachPerChange: "10" } });
      await second.until("ours is given back", ({ leases }) => leases.size === 0);
      await second.rest();
      expect(attached()).toEqual([cold]);
      expect(world.hostStateOf(cold)).toEqual({ driver: "vfio-pci", override: "vfio-pci" });
      expect(world.movesOf("build")).toEqual([`device_add ${id}`, `device_del ${id}`]);
    });
  });
});
