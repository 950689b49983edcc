/** A whole simulated world: recorded machines, many random changes, and nothing left when it is over. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { isVfioDriver } from "../../src/core/device.js";
import { readProtections } from "../../src/host/protection-facts.js";
import { hostRoot } from "../../src/host/root.js";
import { scanOnce } from "../../src/host/scan.js";
import type { MachineRecording } from "../../src/sim/card.js";
import { createSimulation, type Simulation } from "../../src/sim/fleet.js";
import { SimClient, simFolder } from "../support/sim-client.js";

const DEADLINE_MS = 5_000;

afterEach(() => {
  vi.useRealTimers();
});

function recordedMachine(name: string): MachineRecording {
  const path = join(import.meta.dirname, `../../fixtures/hosts/${name}.json`);
  return JSON.parse(readFileSync(path, "utf8")) as MachineRecording;
}

async function inWorld<T>(
  options: Omit<Parameters<typeof createSimulation>[0], "dir">,
  use: (world: Simulation, dir: string) => Promise<T>,
): Promise<T> {
  const { dir, remove } = simFolder();
  const world = await createSimulation({ ...options, dir });
  try {
    return await use(world, dir);
  } finally {
    await world[Symbol.asyncDispose]();
    remove();
  }
}

describe("a recorded machine", () => {
  it("is found again by the inventory with the facts that were recorded", async () => {
    const machine = recordedMachine("vfio-msi-b450m-mortar");
    const seen = await inWorld({ machine }, (_world, dir) => scanOnce(hostRoot(dir)));
    const facts = machine.devices.map((device) => [
      device["address"],
      device["vendor"],
      device["device"],
      device["iommuGroup"],
    ]);
    const found = seen.map((device) => [device.address, device.vendor, device.device, device.iommuGroup]);
    expect(found.sort()).toEqual(facts.sort());
  });

  it("keeps its tree of bridges", async () => {
    const machine = recordedMachine("ghw-i7-1270p-laptop");
    const seen = await inWorld({ machine }, (_world, dir) => scanOnce(hostRoot(dir)));
    const withParent = machine.devices.filter((device) => typeof device["parent"] === "string");
    expect(withParent.length).toBeGreaterThan(0);
    for (const device of withParent) {
      expect(seen.find((found) => found.address === device["address"])?.parent).toBe(device["parent"]);
    }
  });

  it("is refused when it is another kind of file", async () => {
    const machine = { schema: "pci-machine/9", devices: [] };
    await expect(inWorld({ machine }, async () => {})).rejects.toThrow(/cannot load machine/);
  });
});

describe("a disk and a network card", () => {
  it("lead from mounts and routes of PID 1 to their PCI functions while their host driver has them", async () => {
    const cards = [
      {
        address: "0000:01:00.0",
        class: "010802",
        driver: "nvme",
        disk: { name: "nvme0n1", mountPoint: "/srv" },
      },
      {
        address: "0000:02:00.0",
        class: "020000",
        driver: "e1000e",
        network: { name: "eth0", hasDefaultRoute: true },
      },
    ];
    await inWorld({ cards }, async (world, dir) => {
      const protections = async () => readProtections(hostRoot(dir), await scanOnce(hostRoot(dir)));
      expect([...(await protections()).values()].map(({ because }) => because)).toEqual([
        "it carries /srv through nvme0n1",
        "it carries the default route through eth0",
      ]);
      const mounts = () => readFileSync(join(dir, "proc/1/mountinfo"), "utf8");
      const [, , number] =
        mounts()
          .split("\n")
          .find((line) => line.includes(" /srv "))
          ?.split(" ") ?? [];
      expect(existsSync(join(dir, `sys/dev/block/${number}/device/driver`))).toBe(true);
      expect(existsSync(join(dir, "sys/class/net/eth0/device/driver"))).toBe(true);
      await world.host.io.write("/sys/bus/pci/drivers/nvme/unbind", "0000:01:00.0", DEADLINE_MS);
      await world.host.pull("0000:02:00.0");
      expect(mounts()).not.toContain("/srv");
      expect([...(await protections()).keys()]).toEqual([]);
      expect(readdirSync(join(dir, "sys/class/net"))).toEqual([]);
    });
  });
});

describe("after any sequence of changes", () => {
  const address = fc.constantFrom("0000:01:00.0", "0000:01:00.1", "0000:02:00.0");
  const change = fc.oneof(
    fc.record({ kind: fc.constantFrom("plug", "pull", "unbind", "probe"), address }),
    fc.record({ kind: fc.constant("override"), address, text: fc.constantFrom("vfio-pci", "e1000e", "\n") }),
  );

  it("the folder shows exactly what the kernel holds", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 15 }), (changes) =>
        inWorld({}, async (world, dir) => {
          for (const step of changes) {
            await apply(world, step);
          }
          const seen = await scanOnce(hostRoot(dir));
          for (const device of seen) {
            expect(device.driver).toBe(world.host.driverOf(device.address));
          }
          const onVfio = seen.filter((device) => isVfioDriver(device.driver ?? null));
          const nodes = new Set(onVfio.map((device) => String(device.iommuGroup)));
          expect(new Set(readdirSync(join(dir, "dev/vfio")))).toEqual(new Set([...nodes, "vfio"]));
          const groups = new Set(seen.map((device) => String(device.iommuGroup)));
          expect(new Set(readdirSync(join(dir, "sys/kernel/iommu_groups")))).toEqual(groups);
        }),
      ),
      { numRuns: 25 },
    );
  });

  async function apply(
    { host }: Simulation,
    step: { kind: string; address: string; text?: string },
  ): Promise<void> {
    const write = (path: string, text: string) => host.io.write(`/sys/bus/pci/${path}`, text, DEADLINE_MS);
    switch (step.kind) {
      case "plug":
        await host
          .plug({
            address: step.address,
            driver: "e1000e",
            iommuGroup: step.address.startsWith("0000:01") ? 1 : 2,
          })
          .catch(() => undefined);
        return;
      case "pull":
        return host.pull(step.address);
      case "probe":
        await write("drivers_probe", step.address);
        return;
      case "unbind":
        await write(`devices/${step.address}/driver/unbind`, step.address);
        return;
      default:
        await write(`devices/${step.address}/driver_override`, step.text ?? "\n");
    }
  }
});

describe("the end of a world", () => {
  it("leaves no socket, no process entry and no timer behind, whatever was under way", async () => {
    // Nothing below needs a timer to fire: what is counted at the end is what was left behind.
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    await inWorld(
      {
        udevDelayMs: 60_000,
        cards: [{ address: "0000:01:00.0", driver: "e1000e" }],
        vms: [{ name: "a", ports: [{ id: "rp0" }], guest: { behaviour: "slow", delayMs: 10_000_000 } }],
      },
      async (world, dir) => {
        const client = await SimClient.open(world.socketOf("a"));
        await world.host.io.write(
          "/sys/bus/pci/devices/0000:01:00.0/driver_override",
          "vfio-pci",
          DEADLINE_MS,
        );
        await world.host.io.write("/sys/bus/pci/drivers/e1000e/unbind", "0000:01:00.0", DEADLINE_MS);
        await world.host.io.write("/sys/bus/pci/drivers_probe", "0000:01:00.0", DEADLINE_MS);
        await client.run("device_add", {
          driver: "vfio-pci",
          host: "0000:01:00.0",
          id: "h",
          bus: "rp0",
          addr: "0",
        });
        await client.run("device_del", { id: "h" });
        const hanging = world.host.io.write("/sys/bus/pci/drivers/vfio-pci/unbind", "0000:01:00.0", 60_000);
        world.vm("a").hang();
        await world[Symbol.asyncDispose]();
        expect(["stuck", "done"]).toContain((await hanging).kind);
        await client.until(() => client.isClosed, "the end of the connection");
        expect(readdirSync(join(dir, "run"))).toEqual(["udev"]);
        expect(readdirSync(join(dir, "proc")).filter((name) => Number(name) > 1)).toEqual([]);
      },
    );
    expect(vi.getTimerCount()).toBe(0);
  });
});
