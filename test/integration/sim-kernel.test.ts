/** The simulated kernel as the host room meets it: a folder to scan, files to write, answers as facts.md 5, 8, 9 and 10. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hostRoot } from "../../src/host/root.js";
import { scanOnce } from "../../src/host/scan.js";
import { createSimHost, type SimHost } from "../../src/sim/host.js";
import { simFolder } from "../support/sim-client.js";

const NIC = "0000:01:00.0";
const SIBLING = "0000:01:00.1";
const DEADLINE_MS = 5_000;

let folder: ReturnType<typeof simFolder>;
let host: SimHost;

beforeEach(async () => {
  folder = simFolder();
  host = await createSimHost({ dir: folder.dir });
  await host.plug({
    address: "0000:00:01.0",
    vendor: "8086",
    device: "1901",
    class: "060400",
    driver: "pcieport",
    iommuGroup: 2,
  });
  await host.plug({
    address: NIC,
    parent: "0000:00:01.0",
    vendor: "8086",
    device: "10d3",
    subsystemVendor: "8086",
    subsystemDevice: "0000",
    class: "020000",
    revision: "00",
    numaNode: 1,
    driver: "e1000e",
    iommuGroup: 9,
    network: { name: "eth0", hasDefaultRoute: true },
  });
});

afterEach(async () => {
  await host[Symbol.asyncDispose]();
  folder.remove();
});

function at(path: string): string {
  return join(folder.dir, path);
}

/** `done`, or the errno of the refusal. */
async function write(path: string, text: string): Promise<string> {
  const result = await host.io.write(at(path), text, DEADLINE_MS);
  return result.kind === "failed" ? (/E[A-Z]+/.exec(result.detail)?.[0] ?? result.detail) : result.kind;
}

async function override(address = NIC): Promise<string> {
  const result = await host.io.read(at(`sys/bus/pci/devices/${address}/driver_override`), DEADLINE_MS);
  return result.kind === "done" ? result.text : result.kind;
}

async function toVfio(address = NIC): Promise<void> {
  await write(`sys/bus/pci/devices/${address}/driver_override`, "vfio-pci");
  if (host.driverOf(address) !== null) {
    await write(`sys/bus/pci/devices/${address}/driver/unbind`, address);
  }
  await write("sys/bus/pci/drivers_probe", address);
}

describe("a plugged card", () => {
  it("is found by the inventory with everything that it was given", async () => {
    const [, nic] = await scanOnce(hostRoot(folder.dir));
    expect(nic).toMatchObject({
      address: NIC,
      vendor: "8086",
      device: "10d3",
      subsystemVendor: "8086",
      subsystemDevice: "0000",
      class: "020000",
      revision: "00",
      numaNode: 1,
      driver: "e1000e",
      iommuGroup: 9,
      parent: "0000:00:01.0",
      rootBus: "0000:00",
    });
  });

  it("gets a record in the udev database, which goes with it", async () => {
    expect(readdirSync(at("run/udev/data"))).toContain(`+pci:${NIC}`);
    await host.pull(NIC);
    expect(readdirSync(at("run/udev/data"))).toEqual(["+pci:0000:00:01.0"]);
  });

  it("leaves nothing behind when it is pulled, and takes what is below it along", async () => {
    await host.pull("0000:00:01.0");
    expect(await scanOnce(hostRoot(folder.dir))).toEqual([]);
    expect(readdirSync(at("sys/kernel/iommu_groups"))).toEqual([]);
    expect(readdirSync(at("sys/class/net"))).toEqual([]);
    expect(readFileSync(at("proc/1/net/route"), "utf8")).not.toContain("eth0");
  });

  it("has another folder inode each time it appears, and no override", async () => {
    const seen = new Set<string>();
    for (let round = 0; round < 3; round += 1) {
      await write(`sys/bus/pci/devices/${NIC}/driver_override`, "vfio-pci");
      seen.add((await scanOnce(hostRoot(folder.dir)))[1]?.appearance ?? "");
      await host.restartAppearance(NIC);
      expect(await override()).toBe("(null)\n");
    }
    expect(seen.size).toBe(3);
  });
});

describe("driver files", () => {
  it("clear the override by a newline; the write of nothing is refused and leaves it", async () => {
    const path = `sys/bus/pci/devices/${NIC}/driver_override`;
    expect(await override()).toBe("(null)\n");
    await write(path, "vfio-pci");
    await write(path, "");
    expect(await override()).toBe("vfio-pci\n");
    await write(path, "\n");
    expect(await override()).toBe("(null)\n");
  });

  it("take a card from its host driver to vfio-pci and back, its interface and group node with it", async () => {
    await toVfio();
    expect(readlinkSync(at(`sys/bus/pci/devices/${NIC}/driver`))).toMatch(/\/drivers\/vfio-pci$/);
    expect(readdirSync(at("dev/vfio"))).toContain("9");
    expect(readdirSync(at("sys/class/net"))).toEqual([]);
    await write(`sys/bus/pci/devices/${NIC}/driver_override`, "\n");
    await write(`sys/bus/pci/devices/${NIC}/driver/unbind`, NIC);
    expect(readdirSync(at("dev/vfio"))).toEqual(["vfio"]);
    await write("sys/bus/pci/drivers_probe", NIC);
    expect(readlinkSync(at(`sys/bus/pci/devices/${NIC}/driver`))).toMatch(/\/drivers\/e1000e$/);
    expect(readdirSync(at("sys/class/net"))).toEqual(["eth0"]);
  });

  it("report success from drivers_probe although nothing was bound", async () => {
    await write(`sys/bus/pci/devices/${NIC}/driver_override`, "nosuchdrv");
    await write(`sys/bus/pci/devices/${NIC}/driver/unbind`, NIC);
    expect(await write("sys/bus/pci/drivers_probe", NIC)).toBe("done");
    expect(host.driverOf(NIC)).toBeNull();
  });

  it.each([
    ["sys/bus/pci/drivers/vfio-pci/bind", NIC, "ENODEV"],
    ["sys/bus/pci/drivers/vfio-pci/unbind", NIC, "ENODEV"],
    ["sys/bus/pci/drivers/e1000e/unbind", "01:00.0", "ENODEV"],
    ["sys/bus/pci/drivers_probe", "0000:77:00.0", "ENODEV"],
    ["sys/bus/pci/drivers/nosuchdrv/bind", NIC, "ENOENT"],
    ["sys/bus/pci/devices/0000:77:00.0/driver_override", "vfio-pci", "ENOENT"],
  ])("%s refuses %s with %s", async (path, text, errno) => {
    expect(await write(path, text)).toBe(errno);
  });

  it("refuse to unbind a driverless card by its own link: there is none", async () => {
    await write(`sys/bus/pci/devices/${NIC}/driver/unbind`, NIC);
    expect(await write(`sys/bus/pci/devices/${NIC}/driver/unbind`, NIC)).toBe("ENOENT");
  });

  it("remove a card and find it again by a rescan, its override lost", async () => {
    await write(`sys/bus/pci/devices/${NIC}/driver_override`, "vfio-pci");
    await write(`sys/bus/pci/devices/${NIC}/remove`, "1");
    expect(readdirSync(at("sys/bus/pci/devices"))).toEqual(["0000:00:01.0"]);
    await write("sys/bus/pci/rescan", "1");
    expect([host.driverOf(NIC), host.overrideOf(NIC)]).toEqual(["e1000e", null]);
  });
});

describe("a group node", () => {
  it("vanishes only with the last member on vfio-pci, and comes back as root's", async () => {
    await host.plug({
      address: SIBLING,
      parent: "0000:00:01.0",
      vendor: "8086",
      device: "10d3",
      iommuGroup: 9,
    });
    await toVfio();
    await toVfio(SIBLING);
    const user = { pid: 1, uid: 4242, requestRelease: () => {}, powerOff: () => {} };
    const address = (await scanOnce(hostRoot(folder.dir)))[1]?.address ?? expect.fail("no card");
    expect(host.vfio.open(address, user)).toMatchObject({ why: "no-access" });
    await host.io.chown(at("dev/vfio/9"), 4242, 4242);
    await write(`sys/bus/pci/devices/${NIC}/driver/unbind`, NIC);
    expect(readdirSync(at("dev/vfio"))).toContain("9");
    await toVfio();
    expect(host.vfio.open(address, user)).toMatchObject({ kind: "open" });
    host.vfio.close(address);
    await write(`sys/bus/pci/devices/${NIC}/driver/unbind`, NIC);
    await write(`sys/bus/pci/devices/${SIBLING}/driver/unbind`, SIBLING);
    await toVfio();
    expect(host.vfio.open(address, user)).toMatchObject({ why: "no-access" });
  });
});

describe("another boot", () => {
  it("has another boot id, other IOMMU group numbers, other folders and the cards on their host drivers", async () => {
    await toVfio();
    const before = await scanOnce(hostRoot(folder.dir));
    const bootId = readFileSync(at("proc/sys/kernel/random/boot_id"), "utf8");
    await host.reboot();
    const after = await scanOnce(hostRoot(folder.dir));
    expect(readFileSync(at("proc/sys/kernel/random/boot_id"), "utf8")).not.toBe(bootId);
    expect(after[1]).toMatchObject({ address: NIC, driver: "e1000e" });
    expect(after[1]?.iommuGroup).not.toBe(before[1]?.iommuGroup);
    expect(after[1]?.appearance).not.toBe(before[1]?.appearance);
    expect(readdirSync(at("dev/vfio"))).toEqual(["vfio"]);
  });
});

describe("for tests", () => {
  it("records every write with the host's own path and lets a test answer instead", async () => {
    const path = `/sys/bus/pci/devices/${NIC}/driver_override`;
    const restore = host.intercept((to) => (to === path ? { kind: "failed", detail: "EIO" } : undefined));
    expect(await write(path, "vfio-pci")).toBe("EIO");
    restore();
    expect(await write(path, "vfio-pci")).toBe("done");
    expect(host.writes).toEqual([
      { path, text: "vfio-pci" },
      { path, text: "vfio-pci" },
    ]);
  });

  it("lets a write hang until its deadline", async () => {
    host.intercept(() => "stuck");
    expect(await host.io.write(at("sys/bus/pci/drivers_probe"), NIC, 10)).toMatchObject({ kind: "stuck" });
    expect(host.driverOf(NIC)).toBe("e1000e");
  });
});
