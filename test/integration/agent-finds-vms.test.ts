/** VMs that have no entry of their own: found by where their sockets are, if the right process listens there. */
import { mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { type AgentWorld, aCard, inWorld, ports } from "../support/agent-world.js";
import { anAddress } from "../support/builders.js";

const gpu = "0000:01:00.0";
const nic = "0000:02:00.0";
const cards = [aCard(gpu), aCard(nic, { vendor: "8086", device: "1533", class: "020000", driver: "igb" })];
const rules = [
  { name: "gpu", match: { class: "display" }, vm: "build" },
  { name: "nic", match: { class: "ethernet" }, vm: "net" },
];
const me = String(process.getuid?.() ?? 0);

const patternIn = (world: AgentWorld): string => join(world.dir, "vms", "{vm}", "hotplug.sock");

async function startVm(world: AgentWorld, name: string): Promise<void> {
  const socketPath = patternIn(world).replace("{vm}", name);
  mkdirSync(dirname(socketPath), { recursive: true });
  await world.sim.addVm({ name, socketPath, ports: ports(2) });
}

describe("VMs found by the places of their sockets", () => {
  it("come and go at any time, folders and all, and get the cards that rules name them for", async () => {
    await inWorld({ cards }, async (world) => {
      const vms = [{ qmp: patternIn(world), user: me }];
      const agent = await world.start({ vms, rules, limits: { keepAfterVmGone: "0s" } });
      expect(await agent.untilHeld(gpu, "vm-down")).toContain("build is not running");
      await startVm(world, "build");
      await agent.untilIn("build", [gpu]);
      await startVm(world, "net");
      await agent.untilIn("net", [nic]);

      await world.vm("build").terminate();
      await agent.until("the card is given back", ({ leases }) => !leases.has(anAddress(gpu)));
      expect(world.hostStateOf(gpu)).toEqual({ driver: "nouveau", override: null });
      rmSync(join(world.dir, "vms", "build"), { recursive: true });
      await agent.untilHeld(gpu, "vm-down");
      mkdirSync(join(world.dir, "vms", "build"));
      await world.vm("build").start();
      await agent.untilIn("build", [gpu]);
      expect(agent.inVm("net")).toEqual([nic]);
    });
  });

  it("are shown also where no rule names them, and forgotten when they go", async () => {
    await inWorld({ cards }, async (world) => {
      await startVm(world, "guest");
      const agent = await world.start({ vms: [{ qmp: patternIn(world), user: me }], rules: [] });
      await agent.until("it is up", ({ vms }) => vms.get("guest")?.kind === "up");
      expect((await world.status()).vms).toMatchObject([
        { name: "guest", state: "up", pattern: patternIn(world), socket: world.vm("guest").socketPath },
      ]);
      await world.vm("guest").terminate();
      await agent.until("it is forgotten", ({ policy }) => policy?.vms.length === 0);
      expect((await world.status()).vms).toEqual([]);
    });
  });

  it("stay known over a new file, with what they have", async () => {
    await inWorld({ cards }, async (world) => {
      await startVm(world, "build");
      await startVm(world, "guest");
      const vms = [{ qmp: patternIn(world), user: me }];
      const agent = await world.startOnFile({ vms, rules });
      await agent.untilIn("build", [gpu]);
      await agent.until("guest is up", (seen) => seen.vms.get("guest")?.kind === "up");
      const connections = world.vm("guest").connections;
      world.write(world.text({ vms, rules: rules.slice(0, 1) }));
      await agent.until("the new file", ({ policy }) => policy?.rules.length === 1);
      expect(agent.world.vms.get("guest")?.kind).toBe("up");
      expect(world.vm("guest").connections).toBe(connections);
      await agent.untilIn("build", [gpu]);
    });
  });

  it("are not spoken to where another user or program listens, and why is told", async () => {
    await inWorld({ cards }, async (world) => {
      await startVm(world, "build");
      const vms = [{ qmp: patternIn(world), user: me, executable: "/opt/qemu/bin/*" }];
      const agent = await world.start({ vms, rules });
      expect(await agent.untilHeld(gpu, "vm-unreachable")).toMatch(
        /nothing is said to it: process \d+ of user \d+, \/usr\/bin\/qemu-system-x86_64, listens on its socket; expected user \d+ and \/opt\/qemu/,
      );
      expect(world.vm("build").commands).toEqual([]);
      expect(world.hostStateOf(gpu)).toEqual({ driver: "nouveau", override: null });
      const [build] = (await world.status()).vms;
      expect(build).toMatchObject({ state: "unreachable", lastError: { message: build?.reason } });
    });
  });

  it("may be of a user of this host only", async () => {
    await inWorld({ cards }, async (world) => {
      await startVm(world, "build");
      const agent = await world.start({ vms: [{ qmp: patternIn(world), user: "nobody-here" }], rules });
      expect(await agent.untilHeld(gpu, "vm-unreachable")).toContain("this host has no user nobody-here");
      expect(world.vm("build").commands).toEqual([]);
    });
  });
});
