/** Where cards go inside a VM: whole cards in one port, the port they had before, and ports with room for them. */
import { describe, expect, it } from "vitest";
import type { AuditEntry } from "../../src/audit/record.js";
import { type AgentWorld, aCard, inWorld, ports } from "../support/agent-world.js";

const gpu = "0000:01:00.0";
const sound = "0000:01:00.1";
const nic = "0000:02:00.0";
const MIB = 1024 ** 2;
const aGpu = aCard(gpu, { iommuGroup: 13 });
const aSound = aCard(sound, { device: "1aef", class: "040300", driver: "snd_hda_intel", iommuGroup: 13 });
const aNic = aCard(nic, { vendor: "8086", device: "1533", class: "020000", driver: "igb" });
const whole = { name: "card", match: { vendor: "10de" }, vm: "a", unit: "card", plug: "card" };

/** Every place that QEMU was asked to put a device into. */
function addsOf(world: AgentWorld, vm = "a"): unknown[] {
  return world
    .vm(vm)
    .commands.filter(({ name }) => name === "device_add")
    .map(({ arguments: { id, bus, addr, multifunction } }) =>
      [id, bus, addr, ...(multifunction === undefined ? [] : ["multifunction"])].join(" "),
    );
}

function remarks(entries: readonly AuditEntry[]): readonly string[] {
  return entries.flatMap((entry) => (entry.event === "vm-remark" ? [entry.after.kind] : []));
}

describe.each(["acpi", "native"] as const)("a card with two functions, by %s hot-plug,", (mode) => {
  const a = { name: "a", mode, ports: ports(2) };

  it("goes into one port with function 0 last, and leaves it whole by one request", async () => {
    await inWorld({ cards: [aGpu, aSound], vms: [a] }, async (world) => {
      const agent = await world.start({ rules: [whole] });
      await agent.untilIn("a", [gpu, sound]);
      expect(addsOf(world)).toEqual([
        "pciplug-0000-01-00.1 rp0 0.1",
        "pciplug-0000-01-00.0 rp0 0.0 multifunction",
      ]);
      await agent.stop();
      const next = await world.start({ rules: [], limits: { detachPerChange: "2" } });
      await next.until("no lease", ({ leases }) => leases.size === 0);
      expect(world.inVms()).toEqual({ a: [] });
      expect(next.world.holds).toEqual([]);
      expect(world.hostStateOf(sound)).toEqual({ driver: "snd_hda_intel", override: null });
    });
  });

  it("comes back out when function 0 is refused, and goes in whole at the next attempt", async () => {
    await inWorld({ cards: [aGpu, aSound], vms: [a] }, async (world) => {
      const letThrough = world.vm("a").intercept("device_add", (args) =>
        args["addr"] === "0.0"
          ? {
              error: {
                class: "GenericError",
                desc: "vfio: failed to open /dev/vfio/13: Device or resource busy",
              },
            }
          : undefined,
      );
      const agent = await world.start({ rules: [whole] });
      await agent.untilHeld(gpu, "group-busy");
      await agent.until("nothing in the VM", ({ unplugs }) => unplugs.size === 0);
      await world.until("the VM is empty", () => world.vm("a").attached().length === 0);
      letThrough();
      world.advance(10_000);
      await agent.untilIn("a", [gpu, sound]);
      expect(agent.world.holds).toEqual([]);
      expect(addsOf(world).slice(-2)).toEqual([
        "pciplug-0000-01-00.1 rp0 0.1",
        "pciplug-0000-01-00.0 rp0 0.0 multifunction",
      ]);
    });
  });
});

describe("a port", () => {
  it("is the same one after the VM, the agent and the card have come and gone", async () => {
    const a = { name: "a", ports: ports(3) };
    const rules = [{ name: "all", match: { class: ["display", "ethernet"] }, vm: "a" }];
    await inWorld({ cards: [aCard(gpu), aNic], vms: [a] }, async (world) => {
      const agent = await world.start({ rules });
      await agent.untilIn("a", [gpu, nic]);
      expect(agent.world.intents.ports.map(({ address, bus }) => `${address} ${bus}`)).toEqual([
        `${gpu} rp0`,
        `${nic} rp1`,
      ]);
      await agent.stop();
      await world.host.pull(gpu);
      await world.vm("a").terminate();
      await world.vm("a").start();
      const next = await world.start({ rules });
      await next.untilIn("a", [nic]);
      expect(addsOf(world).at(-1)).toBe("pciplug-0000-02-00.0 rp1 0");
      await world.host.plug(aCard(gpu));
      await next.untilIn("a", [gpu, nic]);
      expect(addsOf(world).at(-1)).toBe("pciplug-0000-01-00.0 rp0 0");
    });
  });

  it("without room for the BARs is not used, and what it would need is said", async () => {
    const big = aCard(gpu, { memory: 80 * MIB, prefetchable: 64 * MIB });
    const a = { name: "a", ports: [{ id: "rp0" }, { id: "rp1", "pref64-reserve": 32 * MIB }] };
    const rules = [{ name: "gpu", match: { class: "display" }, vm: "a" }];
    await inWorld({ cards: [big], vms: [a] }, async (world) => {
      const agent = await world.start({ rules });
      expect(await agent.untilHeld(gpu, "no-room")).toContain(
        "start the VM with mem-reserve=16M,pref64-reserve=64M at port rp1",
      );
      await agent.rest();
      expect(world.host.writes).toEqual([]);
      expect(world.movesOf("a")).toEqual([]);
    });
  });

  it("with room is chosen before all others, and the guest gives every BAR its place", async () => {
    const big = aCard(gpu, { memory: 80 * MIB, prefetchable: 64 * MIB });
    const roomy = { id: "rp1", "mem-reserve": 16 * MIB, "pref64-reserve": 64 * MIB };
    const a = { name: "a", ports: [{ id: "rp0" }, roomy] };
    const rules = [{ name: "gpu", match: { class: "display" }, vm: "a" }];
    await inWorld({ cards: [big], vms: [a] }, async (world) => {
      const agent = await world.start({ rules });
      await agent.untilIn("a", [gpu]);
      expect(addsOf(world)).toEqual(["pciplug-0000-01-00.0 rp1 0"]);
      expect(remarks(agent.entries)).toEqual([]);
    });
  });

  it("that was taken without room shows afterwards, by the BAR that the guest could not place", async () => {
    const big = aCard(gpu, { memory: 65 * MIB, prefetchable: 64 * MIB });
    const rules = [{ name: "gpu", match: { class: "display" }, vm: "a", acceptNoRoom: "true" }];
    await inWorld({ cards: [big], vms: [{ name: "a", ports: ports(1) }] }, async (world) => {
      const agent = await world.start({ rules });
      await agent.untilIn("a", [gpu]);
      const entry = await agent.untilEntry("a remark", ({ event }) => event === "vm-remark");
      expect(entry).toMatchObject({
        what: `the guest of a found no room for BAR 2 of ${gpu} at port rp0: start the VM with a larger mem-reserve or pref64-reserve there`,
        address: gpu,
      });
      const [vm] = (await world.status()).vms;
      expect(vm?.remarks).toMatchObject([{ kind: "bar-unassigned", address: gpu }]);
    });
  });
});

describe("a microvm", () => {
  it("is told about before its first card, once for each process", async () => {
    const a = { name: "a", machine: "microvm" as const, ports: ports(1) };
    const rules = [{ name: "gpu", match: { class: "display" }, vm: "a" }];
    await inWorld({ cards: [aCard(gpu)], vms: [a] }, async (world) => {
      const agent = await world.start({ rules });
      await agent.untilIn("a", [gpu]);
      const told = agent.entries.findIndex(({ event }) => event === "vm-remark");
      const plugged = agent.entries.findIndex(
        (entry) => entry.event === "step-started" && entry.what === "attach",
      );
      expect(told).toBeGreaterThan(-1);
      expect(told).toBeLessThan(plugged);
      expect(agent.entries[told]?.what).toContain("pcie_ports=native");
      expect(remarks(agent.entries)).toEqual(["guest-needs-native-ports"]);
      await world.vm("a").terminate();
      await world.vm("a").start();
      await agent.untilIn("a", [gpu]);
      expect(remarks(agent.entries)).toEqual(["guest-needs-native-ports", "guest-needs-native-ports"]);
      const [vm] = (await world.status()).vms;
      expect(vm?.remarks?.map(({ kind }) => kind)).toEqual(["guest-needs-native-ports"]);
    });
  });
});
