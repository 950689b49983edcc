/** A card in a VM: what QEMU says to whom wants it, and what the kernel does with whom wants it back (facts.md 1.1, 5, 8). */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findSocketOwner, findVfioHolders } from "../../src/host/process.js";
import { hostRoot } from "../../src/host/root.js";
import { createSimulation, type Simulation, type SimVmSpec } from "../../src/sim/fleet.js";
import { classOf, descOf, type Message, SimClient, simFolder } from "../support/sim-client.js";

const CARD = "0000:01:00.0";
const SIBLING = "0000:01:00.1";
const OTHER = "0000:02:00.0";
const SOON_MS = 30;
const LATE_MS = 5_000;

let folder: ReturnType<typeof simFolder>;
let simulation: Simulation;
const clients: SimClient[] = [];

beforeEach(async () => {
  folder = simFolder();
  simulation = await createSimulation({
    dir: folder.dir,
    cards: [
      { address: CARD, vendor: "10de", device: "2684", class: "030000", driver: "nouveau", iommuGroup: 9 },
      {
        address: SIBLING,
        vendor: "10de",
        device: "22ba",
        class: "040300",
        driver: "snd_hda_intel",
        iommuGroup: 9,
      },
      { address: OTHER, vendor: "8086", device: "10d3", class: "020000", driver: "e1000e", iommuGroup: 10 },
    ],
  });
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await simulation[Symbol.asyncDispose]();
  folder.remove();
});

function at(path: string): string {
  return join(folder.dir, path);
}

async function start(spec: Partial<SimVmSpec> & { name: string }): Promise<SimClient> {
  const vm = await simulation.addVm({ ports: [{ id: "rp0" }, { id: "rp1" }, { id: "rp2" }], ...spec });
  const client = await SimClient.open(vm.socketPath);
  clients.push(client);
  return client;
}

async function write(path: string, text: string, deadlineMs = LATE_MS): Promise<string> {
  return (await simulation.host.io.write(at(path), text, deadlineMs)).kind;
}

async function bind(address: string): Promise<void> {
  await write(`sys/bus/pci/devices/${address}/driver_override`, "vfio-pci");
  await write(`sys/bus/pci/devices/${address}/driver/unbind`, address);
  await write("sys/bus/pci/drivers_probe", address);
}

function add(client: SimClient, address: string, id: string, bus: string): Promise<Message> {
  return client.run("device_add", { driver: "vfio-pci", host: address, id, bus, addr: "0" });
}

function unbind(address: string, deadlineMs: number): Promise<string> {
  return write(`sys/bus/pci/drivers/vfio-pci/unbind`, address, deadlineMs);
}

describe("device_add of a host device", () => {
  it("refuses what the host's state does not allow, in QEMU's words", async () => {
    const client = await start({ name: "a" });
    expect(descOf(await add(client, "0000:77:00.0", "h", "rp0"))).toBe(
      "vfio /sys/bus/pci/devices/0000:77:00.0: no such host device: No such file or directory",
    );
    expect(descOf(await add(client, CARD, "h", "rp0"))).toBe(
      `vfio ${CARD}: failed to open /dev/vfio/9: No such file or directory`,
    );
    await bind(CARD);
    expect(descOf(await add(client, CARD, "h", "rp0"))).toBe(`vfio ${CARD}: group 9 is not viable`);
    await write(`sys/bus/pci/devices/${SIBLING}/driver/unbind`, SIBLING);
    expect(await add(client, CARD, "h", "rp0")).toEqual({ return: {} });
    expect(descOf(await add(client, CARD, "i", "rp1"))).toBe(`vfio ${CARD}: device is already attached`);
    expect(descOf(await add(client, OTHER, "h", "rp1"))).toBe("Duplicate device ID 'h'");
    expect(descOf(await add(client, OTHER, "i", "rp0"))).toBe(
      "PCI: slot 0 function 0 not available for vfio-pci, in use by vfio-pci,id=h",
    );
  });

  it("refuses a group that another VM has, also for the sibling, until that VM is dead", async () => {
    const [a, b] = [await start({ name: "a" }), await start({ name: "b" })];
    await bind(CARD);
    await bind(SIBLING);
    await add(a, CARD, "h", "rp0");
    expect(descOf(await add(b, SIBLING, "h", "rp0"))).toBe(
      `vfio ${SIBLING}: failed to open /dev/vfio/9: Device or resource busy`,
    );
    await simulation.vm("a").kill();
    expect(await add(b, SIBLING, "h", "rp0")).toEqual({ return: {} });
  });

  it("needs the node to belong to QEMU's user, and memory that may be locked", async () => {
    const bytes = 128 * 1024 * 1024;
    const client = await start({ name: "a", uid: 4242, memoryBytes: bytes, memlockBytes: bytes });
    await bind(OTHER);
    expect(descOf(await add(client, OTHER, "h", "rp0"))).toContain("/dev/vfio/10: Permission denied");
    await simulation.host.io.chown(at("dev/vfio/10"), 4242, 4242);
    expect(descOf(await add(client, OTHER, "h", "rp0"))).toContain("-12 (Cannot allocate memory)");
    expect(classOf(await client.run("device_del", { id: "h" }))).toBe("DeviceNotFound");
  });

  it("says no iommu_group where the host has no IOMMU", async () => {
    const bare = simFolder();
    const other = await createSimulation({
      dir: bare.dir,
      hasIommu: false,
      cards: [{ address: CARD }],
      vms: [{ name: "a", ports: [{ id: "rp0" }] }],
    });
    const client = await SimClient.open(other.socketOf("a"));
    const reply = await add(client, CARD, "h", "rp0");
    await client.close();
    await other[Symbol.asyncDispose]();
    bare.remove();
    expect(descOf(reply)).toBe(`vfio ${CARD}: no iommu_group found: No such file or directory`);
  });

  it("is found in QOM by sysfsdev and in the process by its open group, with the process behind the socket", async () => {
    const client = await start({ name: "a", memlockBytes: 8_388_608 });
    await bind(OTHER);
    const sysfsdev = `/sys/bus/pci/devices/${OTHER}`;
    await client.run("device_add", { driver: "vfio-pci", sysfsdev, id: "s", bus: "rp0", addr: "0" });
    const get = (property: string) => client.get("qom-get", { path: "/machine/peripheral/s", property });
    expect([await get("sysfsdev"), await get("host")]).toEqual([sysfsdev, "ffff:ff:ff.f"]);
    const { pid, socketPath } = simulation.vm("a");
    const root = hostRoot(folder.dir);
    expect(await findSocketOwner(root, socketPath)).toMatchObject({
      pid,
      memlockBytes: 8_388_608,
      canLockAnyMemory: true,
    });
    expect(await findVfioHolders(root, 10)).toEqual([pid]);
    await simulation.vm("a").kill();
    expect(existsSync(at(`proc/${pid}`))).toBe(false);
  });
});

describe("a held card that the kernel wants back", () => {
  it("leaves by itself when the guest co-operates: an unsolicited DEVICE_DELETED, then the write returns", async () => {
    const client = await start({ name: "a" });
    await bind(OTHER);
    await add(client, OTHER, "h", "rp0");
    expect(await unbind(OTHER, LATE_MS)).toBe("done");
    await client.untilEvent("DEVICE_DELETED", { device: "h", path: "/machine/peripheral/h" });
    expect(simulation.host.driverOf(OTHER)).toBeNull();
  });

  it("blocks the writer and every reader of its override, looks driverless, and keeps its node", async () => {
    const client = await start({ name: "a", guest: { behaviour: "refuses" } });
    await bind(OTHER);
    await add(client, OTHER, "h", "rp0");
    expect(await unbind(OTHER, SOON_MS)).toBe("stuck");
    expect(existsSync(at(`sys/bus/pci/devices/${OTHER}/driver`))).toBe(false);
    expect(existsSync(at("dev/vfio/10"))).toBe(true);
    expect(await unbind(OTHER, SOON_MS)).toBe("stuck");
    const path = at(`sys/bus/pci/devices/${OTHER}/driver_override`);
    expect((await simulation.host.io.read(path, SOON_MS)).kind).toBe("stuck");
    expect(await write(`sys/bus/pci/devices/${OTHER}/driver_override`, "\n", SOON_MS)).toBe("stuck");
    const vendor = at(`sys/bus/pci/devices/${OTHER}/vendor`);
    expect((await simulation.host.io.read(vendor, SOON_MS)).kind).toBe("done");
  });

  it("is released by a reset of the VM, and the kernel then ends what it began", async () => {
    const client = await start({ name: "a", guest: { behaviour: "refuses" } });
    await bind(OTHER);
    await add(client, OTHER, "h", "rp0");
    expect(await unbind(OTHER, SOON_MS)).toBe("stuck");
    const waiting = unbind(OTHER, LATE_MS);
    await client.run("system_reset");
    expect(await waiting).toBe("done");
    expect(client.events("RESET")).toEqual([{ guest: false, reason: "host-qmp-system-reset" }]);
    expect(existsSync(at("dev/vfio/10"))).toBe(false);
  });

  it("is released by the death of the VM", async () => {
    const client = await start({ name: "a", guest: { behaviour: "not-running" } });
    await bind(OTHER);
    await add(client, OTHER, "h", "rp0");
    const waiting = unbind(OTHER, LATE_MS);
    await simulation.vm("a").kill();
    expect(await waiting).toBe("done");
  });

  it("refuses a host driver to its driverless sibling meanwhile: EBUSY", async () => {
    const client = await start({ name: "a" });
    await bind(CARD);
    await write(`sys/bus/pci/devices/${SIBLING}/driver/unbind`, SIBLING);
    await add(client, CARD, "h", "rp0");
    const result = await simulation.host.io.write(
      at("sys/bus/pci/drivers/snd_hda_intel/bind"),
      SIBLING,
      LATE_MS,
    );
    expect(result).toMatchObject({ kind: "failed", detail: expect.stringContaining("EBUSY") });
    await write("sys/bus/pci/drivers_probe", SIBLING);
    expect(simulation.host.driverOf(SIBLING)).toBeNull();
  });
});

describe("pulling a held card", () => {
  it("keeps its folder until the VM lets go, and stops all other hot-plug on the host until then", async () => {
    const client = await start({ name: "a", guest: { behaviour: "refuses" } });
    await bind(OTHER);
    await add(client, OTHER, "h", "rp0");
    const pulled = simulation.host.pull(OTHER);
    const plugged = simulation.host.plug({ address: "0000:03:00.0" });
    await write("sys/bus/pci/drivers_probe", CARD);
    const names = readdirSync(at("sys/bus/pci/devices"));
    expect([names.includes(OTHER), names.includes("0000:03:00.0")]).toEqual([true, false]);
    expect(existsSync(at(`sys/bus/pci/devices/${OTHER}/driver`))).toBe(false);
    simulation.vm("a").ejectFromGuest("h");
    await Promise.all([pulled, plugged]);
    expect(readdirSync(at("sys/bus/pci/devices"))).toEqual([CARD, SIBLING, "0000:03:00.0"]);
    await client.untilEvent("DEVICE_DELETED", { device: "h", path: "/machine/peripheral/h" });
  });
});

describe("a restart of the VM", () => {
  it("brings back what stands on its command line and nothing else", async () => {
    await bind(OTHER);
    const vm = await simulation.addVm({
      name: "a",
      ports: [{ id: "rp0" }, { id: "rp1" }],
      coldDevices: [{ driver: "vfio-pci", id: "cold", host: OTHER, bus: "rp0" }],
    });
    const client = await SimClient.open(vm.socketPath);
    clients.push(client);
    await client.run("device_add", { driver: "e1000e", id: "hot", bus: "rp1", addr: "0" });
    expect(vm.deviceIds()).toEqual(["rp0", "rp1", "cold", "hot"]);
    await vm.kill();
    expect(vm.attached()).toEqual([]);
    await vm.start();
    expect(vm.deviceIds()).toEqual(["rp0", "rp1", "cold"]);
    expect(vm.attached()).toEqual([OTHER]);
  });

  it("does not start when a device of its command line cannot be had", async () => {
    const vm = {
      name: "a",
      ports: [{ id: "rp0" }],
      coldDevices: [{ driver: "vfio-pci", host: OTHER, bus: "rp0" }],
    };
    await expect(simulation.addVm(vm)).rejects.toThrow(/cannot start QEMU: .*\/dev\/vfio\/10/);
  });
});
