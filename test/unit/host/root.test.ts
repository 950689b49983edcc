import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HostError } from "../../../src/host/error.js";
import { hostRoot } from "../../../src/host/root.js";
import { anAddress } from "../../support/builders.js";

const address = anAddress("0000:01:00.0");

describe("the host root", () => {
  it("is the running machine by default, and only that is live", () => {
    expect(hostRoot().device(address)).toBe("/sys/bus/pci/devices/0000:01:00.0");
    expect(hostRoot().isLive).toBe(true);
    expect(hostRoot("/tmp/copy").isLive).toBe(false);
  });

  it("moves every path below another folder", () => {
    const root = hostRoot("/copy");
    expect([
      root.driver("vfio-pci", "unbind"),
      root.driversProbe(),
      root.vfioNode(7),
      root.iommuGroupName(7),
      root.proc(1, "net", "route"),
      root.blockDevice("259:1"),
      root.udevDatabase(),
      root.inside("/dev/mapper/root"),
      root.blockClass("cciss!c0d0"),
      root.fileSystems("btrfs"),
      root.deviceClass("tpm"),
      root.deviceClass("tty", "ttyS0"),
      root.moduleParameter("vfio_iommu_type1", "allow_unsafe_interrupts"),
    ]).toEqual([
      "/copy/sys/bus/pci/drivers/vfio-pci/unbind",
      "/copy/sys/bus/pci/drivers_probe",
      "/copy/dev/vfio/7",
      "/copy/sys/kernel/iommu_groups/7/name",
      "/copy/proc/1/net/route",
      "/copy/sys/dev/block/259:1",
      "/copy/run/udev/data",
      "/copy/dev/mapper/root",
      "/copy/sys/class/block/cciss!c0d0",
      "/copy/sys/fs/btrfs",
      "/copy/sys/class/tpm",
      "/copy/sys/class/tty/ttyS0",
      "/copy/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
    ]);
  });

  it.each(["", ".", "..", "a/b", "../../etc", "x\0y", "x\ny", "é"])(
    "refuses %j as a driver's name",
    (name) => {
      expect(() => hostRoot().driver(name)).toThrow(HostError);
    },
  );

  it("takes a driver's name with a space and refuses attributes that climb", () => {
    expect(hostRoot().driver("HDA Intel")).toBe("/sys/bus/pci/drivers/HDA Intel");
    expect(() => hostRoot().attribute(address, "../../x")).toThrow(/host|cannot use/);
    expect(() => hostRoot().inside("/dev/../etc/shadow")).toThrow(HostError);
  });

  it("never leaves the folder that it was meant to, whatever a name says", () => {
    fc.assert(
      fc.property(fc.string(), (name) => {
        let path: string;
        try {
          path = hostRoot("/copy").driver(name);
        } catch (error) {
          return error instanceof HostError && error.code === "host.bad-name";
        }
        return path === `/copy/sys/bus/pci/drivers/${name}`;
      }),
    );
  });
});
