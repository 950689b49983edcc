/** Several VMs, several rules, IOMMU groups of several devices: who gets what, and who is told why not. */
import { describe, expect, it } from "vitest";
import { aCard, inWorld, ports } from "../support/agent-world.js";

const gpu = "0000:01:00.0";
const sound = "0000:01:00.1";
const nic = "0000:02:00.0";
const a = { name: "a", ports: ports(3) };
const b = { name: "b", ports: ports(3) };
const aNic = aCard(nic, { vendor: "8086", device: "1533", class: "020000", driver: "igb" });
const aGpu = aCard(gpu, { iommuGroup: 13 });
const aSound = aCard(sound, { device: "1aef", class: "040300", driver: "snd_hda_intel", iommuGroup: 13 });

describe("two VMs", () => {
  it("with a rule each get each their card", async () => {
    await inWorld({ cards: [aCard(gpu), aNic], vms: [a, b] }, async (world) => {
      const agent = await world.start({
        rules: [
          { name: "gpu", match: { class: "display" }, vm: "a" },
          { name: "nic", match: { vendor: "8086" }, vm: "b" },
        ],
      });
      await agent.untilIn("a", [gpu]);
      await agent.untilIn("b", [nic]);
    });
  });

  it("whose rules both want a card get it neither, and the card is not touched", async () => {
    await inWorld({ cards: [aCard(gpu), aNic], vms: [a, b] }, async (world) => {
      const agent = await world.start({
        rules: [
          { name: "mine", match: { vendor: "10de" }, vm: "a" },
          { name: "ours", match: { class: "display" }, vm: "b" },
          { name: "nic", match: { class: "ethernet" }, vm: "b" },
        ],
      });
      await agent.untilIn("b", [nic]);
      expect(await agent.untilHeld(gpu, "conflict")).toBe(
        "conflict: rules mine and ours want it for a and b; nobody gets it",
      );
      expect(world.inVms()).toEqual({ a: [], b: [nic] });
      expect(world.hostStateOf(gpu)).toEqual({ driver: "nouveau", override: null });
      expect(world.host.writes.filter(({ path, text }) => `${path} ${text}`.includes(gpu))).toEqual([]);
    });
  });

  it("cannot split an IOMMU group between them", async () => {
    await inWorld({ cards: [aGpu, aSound], vms: [a, b] }, async (world) => {
      const agent = await world.start({
        rules: [
          { name: "gpu", match: { class: "display" }, vm: "a" },
          { name: "sound", match: { class: "audio" }, vm: "b" },
        ],
      });
      expect(await agent.untilHeld(gpu, "iommu-group-blocked")).toBe(
        `IOMMU group 13 is blocked by ${gpu} (claimed for a), ${sound} (claimed for b)`,
      );
      await agent.rest();
      expect(world.inVms()).toEqual({ a: [], b: [] });
      expect(world.host.writes).toEqual([]);
    });
  });
});

describe("an IOMMU group of two functions", () => {
  it("goes to its VM whole when both are claimed, and is given back whole", async () => {
    await inWorld({ cards: [aGpu, aSound], vms: [a] }, async (world) => {
      const rules = [{ name: "card", match: { vendor: "10de" }, vm: "a" }];
      const agent = await world.start({ rules });
      await agent.untilIn("a", [gpu, sound]);
      await agent.stop();
      const second = await world.start({ rules: [], limits: { detachPerChange: "2" } });
      await second.until("no lease", ({ leases }) => leases.size === 0);
      expect(world.hostStateOf(gpu)).toEqual({ driver: "nouveau", override: null });
      expect(world.hostStateOf(sound)).toEqual({ driver: "snd_hda_intel", override: null });
      expect(world.inVms()).toEqual({ a: [] });
    });
  });

  it("is not taken when the other one is on a host driver that no rule names, and the other one is named", async () => {
    await inWorld({ cards: [aGpu, aSound], vms: [a] }, async (world) => {
      const agent = await world.start({ rules: [{ name: "gpu", match: { class: "display" }, vm: "a" }] });
      expect(await agent.untilHeld(gpu, "iommu-group-blocked")).toBe(
        `IOMMU group 13 is blocked by ${sound} (on driver snd_hda_intel, no rule names it)`,
      );
      await agent.rest();
      expect(world.inVms()).toEqual({ a: [] });
      expect(world.host.writes).toEqual([]);
      expect(world.movesOf("a")).toEqual([]);
    });
  });

  it("is taken as soon as the other one has left its host driver, and never before", async () => {
    await inWorld({ cards: [aGpu, aSound], vms: [a] }, async (world) => {
      const agent = await world.start({ rules: [{ name: "gpu", match: { class: "display" }, vm: "a" }] });
      await agent.untilHeld(gpu, "iommu-group-blocked");
      await world.host.io.write("/sys/bus/pci/drivers/snd_hda_intel/unbind", `${sound}\n`, 1_000);
      await agent.untilIn("a", [gpu]);
      expect(world.hostStateOf(sound)).toEqual({ driver: null, override: "vfio-pci" });
    });
  });
});

describe("a driverless neighbour in the IOMMU group", () => {
  const idle = { ...aSound, isTaken: false };

  it("is kept from host drivers while the group is in use, and gets its override back when the card leaves", async () => {
    await inWorld({ cards: [aGpu, idle], vms: [a] }, async (world) => {
      const agent = await world.start({ rules: [{ name: "gpu", match: { class: "display" }, vm: "a" }] });
      await agent.untilIn("a", [gpu]);
      expect(world.hostStateOf(sound)).toEqual({ driver: null, override: "vfio-pci" });
      expect(world.ledger().map((lease) => [lease.address, lease.role])).toEqual([
        [sound, "companion"],
        [gpu, "claimed"],
      ]);
      await agent.stop();
      const second = await world.start({ rules: [] });
      await second.until("no lease", ({ leases }) => leases.size === 0);
      expect(world.hostStateOf(gpu)).toEqual({ driver: "nouveau", override: null });
      expect(world.hostStateOf(sound)).toEqual({ driver: null, override: null });
    });
  });

  it("gets its override back also when the card is pulled out", async () => {
    await inWorld({ cards: [aGpu, idle], vms: [a] }, async (world) => {
      const agent = await world.start({ rules: [{ name: "gpu", match: { class: "display" }, vm: "a" }] });
      await agent.untilIn("a", [gpu]);
      await world.host.pull(gpu);
      await agent.until("no lease", ({ leases, devices }) => leases.size === 0 && devices.size === 1);
      expect(world.hostStateOf(sound)).toEqual({ driver: null, override: null });
    });
  });
});
