/** The inventory on recorded trees and on small made-up ones. */
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { hostRoot } from "../../src/host/root.js";
import { createScanner, hasIommu, scanOnce } from "../../src/host/scan.js";
import { aFolder, aSysfs } from "../support/sysfs.js";

const recorded = resolve(import.meta.dirname, "../../fixtures/sysfs");

function sysfs(): ReturnType<typeof aSysfs> {
  return aSysfs(aFolder(onTestFinished));
}

describe("the inventory", () => {
  it("reads the laptop that ghw recorded, whose IOMMU groups are only links", async () => {
    const devices = await scanOnce(hostRoot(join(recorded, "ghw-i7-1270p")));
    expect(devices.map((device) => device.address).slice(0, 3)).toEqual([
      "0000:00:00.0",
      "0000:00:02.0",
      "0000:00:04.0",
    ]);
    expect(devices).toHaveLength(23);
    expect(devices[1]).toMatchObject({
      vendor: "8086",
      device: "46a6",
      class: "030000",
      revision: "0c",
      numaNode: -1,
      iommuGroup: 0,
      driver: "i915",
      parent: null,
      physfn: null,
      rootBus: "0000:00",
    });
    expect(devices.at(-1)).toMatchObject({ address: "0000:04:00.0", parent: "0000:00:06.0" });
  });

  it("reads the guest that hwloc recorded, with a domain of five digits, in numeric order", async () => {
    const devices = await scanOnce(hostRoot(join(recorded, "hwloc-2pa-pcidomain32bits")));
    expect(devices.map((device) => device.address)).toEqual([
      ...["0000:00:00.0", "0000:00:01.0", "0000:00:01.1", "0000:00:01.2", "0000:00:01.3", "0000:00:02.0"],
      ...["0000:00:03.0", "10000:00:00.0", "10000:00:04.0"],
    ]);
    expect(devices.at(-1)).toMatchObject({ rootBus: "10000:00", parent: null, iommuGroup: null });
    expect(devices.find((device) => device.bootVga === true)?.address).toBe("0000:00:02.0");
    expect(hasIommu(hostRoot(join(recorded, "hwloc-2pa-pcidomain32bits")))).toBe(false);
  });

  it("never opens an attribute that can block", async () => {
    const tree = sysfs().device({ address: "0000:01:00.0", driver: "nvme" });
    // Reading a folder as a file fails loudly: whoever touches one of these names is found out.
    for (const name of ["uevent", "driver_override", "config"]) {
      const path = join(tree.root.device(tree.address("0000:01:00.0")), name);
      rmSync(path, { force: true });
      mkdirSync(path);
    }
    expect(await scanOnce(tree.root)).toHaveLength(1);
    const text = ["scan", "device-facts", "sysfs-link"].map((name) =>
      readFileSync(resolve(import.meta.dirname, `../../src/host/${name}.ts`), "utf8"),
    );
    expect(text.join("").match(/"(uevent|driver_override|config)"|driverOverride\(/g)).toBeNull();
  });

  it("says null for no driver and no group, and leaves out what the kernel does not show", async () => {
    const tree = sysfs().device({ address: "0000:00:02.0", iommuGroup: null });
    const [device] = await scanOnce(tree.root);
    expect(device).toMatchObject({ driver: null, iommuGroup: null, parent: null, physfn: null });
    expect(device).not.toHaveProperty("bootVga");
  });

  it("does not take vfio's stand-in for an IOMMU group", async () => {
    const tree = sysfs()
      .file("sys/kernel/iommu_groups/3/name", "vfio-noiommu\n")
      .device({ address: "0000:00:02.0", iommuGroup: 3 });
    expect((await scanOnce(tree.root))[0]?.iommuGroup).toBeNull();
    expect(hasIommu(tree.root)).toBe(false);
    tree.device({ address: "0000:00:03.0", iommuGroup: 4 });
    expect(hasIommu(tree.root)).toBe(true);
  });

  it("finds the bridge above and the physical function", async () => {
    const tree = sysfs()
      .device({ address: "0000:00:01.0", class: "060400", driver: "pcieport" })
      .device({ address: "0000:01:00.0", parent: "0000:00:01.0" })
      .device({ address: "0000:01:00.1", parent: "0000:00:01.0", physfn: "0000:01:00.0" });
    const devices = await scanOnce(tree.root);
    expect(devices.map(({ parent, physfn }) => [parent, physfn])).toEqual([
      [null, null],
      ["0000:00:01.0", null],
      ["0000:00:01.0", "0000:01:00.0"],
    ]);
  });

  it("tells where a device hangs, in which slot, what its firmware calls it and how much memory it has", async () => {
    const bar = "0x00000000f6000000 0x00000000f6ffffff 0x0000000000040200";
    const tree = sysfs()
      .file("sys/bus/pci/slots/7/address", "0000:01:00\n")
      .file("sys/bus/pci/slots/7-1/address", "0000:01:00\n")
      .file("sys/bus/pci/slots/backplane/address", "0000:05\n")
      .device({ address: "0000:00:1c.0", class: "060400" })
      .device({
        address: "0000:01:00.0",
        parent: "0000:00:1c.0",
        attributes: { label: "Onboard LAN", resource: bar },
      })
      .device({ address: "0000:05:02.0" });
    expect(await scanOnce(tree.root)).toMatchObject([
      { address: "0000:00:1c.0", path: "0000:00/1c.0", root: null, slot: null, label: null },
      {
        address: "0000:01:00.0",
        path: "0000:00/1c.0/00.0",
        root: "0000:00:1c.0",
        slot: "7",
        label: "Onboard LAN",
        memory: 2 ** 24,
      },
      { address: "0000:05:02.0", path: "0000:05/02.0", slot: "backplane" },
    ]);
  });

  it("does not know slots where sysfs shows none, and sees their names come with their driver", async () => {
    const tree = sysfs().device({ address: "0000:01:00.0" });
    const scanner = createScanner(tree.root);
    expect((await scanner.scan())[0]).not.toHaveProperty("slot");
    tree.file("sys/bus/pci/slots/3/address", "0000:01:00\n");
    expect((await scanner.scan())[0]?.slot).toBe("3");
  });

  it("sees another driver and another card at the next look", async () => {
    const tree = sysfs().device({ address: "0000:01:00.0", driver: "e1000e" });
    const scanner = createScanner(tree.root);
    const [first] = await scanner.scan();
    tree.driver("vfio-pci").bind("0000:01:00.0", "vfio-pci");
    const [second] = await scanner.scan();
    expect(second).toEqual({ ...first, driver: "vfio-pci" });
    tree.unplug("0000:01:00.0").device({ address: "0000:01:00.0", device: "1533" });
    const [third] = await scanner.scan();
    expect(third?.device).toBe("1533");
    expect(third?.appearance).not.toBe(first?.appearance);
  });

  it("leaves out a device whose folder is gone while its link still stands", async () => {
    const tree = sysfs()
      .device({ address: "0000:01:00.0" })
      .link("sys/bus/pci/devices/0000:02:00.0", "sys/none");
    expect((await scanOnce(tree.root)).map((device) => device.address)).toEqual(["0000:01:00.0"]);
  });

  it("refuses a root without a PCI bus in one sentence", async () => {
    const dir = aFolder(onTestFinished);
    await expect(scanOnce(hostRoot(dir))).rejects.toMatchObject({
      code: "host.no-sysfs",
      message: expect.stringContaining(`cannot list PCI devices in ${dir}/sys/bus/pci/devices`),
    });
  });
});
