/** How the operator reaches the machine, gathered from made-up /sys trees; and what else is protected on them. */
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { readDmaSafety } from "../../src/host/dma-facts.js";
import { readProtections } from "../../src/host/protection-facts.js";
import { hostRoot } from "../../src/host/root.js";
import { scanOnce } from "../../src/host/scan.js";
import { aRule } from "../support/builders.js";
import {
  aProtectedHost,
  GPU,
  NVME,
  OTHER_NVME,
  type ProtectedHost,
  pci,
  SHARE,
  USB,
} from "../support/protected-host.js";

/** The capabilities of a real keyboard, and of a power button. */
const KEYS = "120013\n";
const BUTTON = "3\n";

function onScreen(): ProtectedHost {
  return aProtectedHost().file("sys/class/tty/console/active", "tty0 ttyS0\n");
}

function input(host: ProtectedHost, name: string, folder: string, events: string): ProtectedHost {
  return host
    .file(`${folder}/input/${name}/capabilities/ev`, events)
    .link(`sys/class/input/${name}`, `${folder}/input/${name}`);
}

describe("the console", () => {
  it("protects the boot VGA while it is on a screen, or where nobody knows", async () => {
    expect(await onScreen().reasons()).toEqual({ [GPU]: "it shows the active console" });
    const unread = aProtectedHost().remove("sys/class/tty/console/active");
    expect(await unread.protectedOnes()).toEqual([GPU]);
    expect(await aProtectedHost().reasons()).toEqual({});
  });

  it("protects the GPU of the first frame buffer, which need not be the boot VGA", async () => {
    const other = "0000:08:00.0";
    const host = onScreen()
      .device({ address: other, class: "038000" })
      .link("sys/class/graphics/fb1", `${pci(other)}/graphics/fb1`)
      .link("sys/class/graphics/fb12", `${pci(NVME)}/graphics/fb12`);
    expect((await host.reasons())[other]).toBe("it carries the active console through fb1");
    expect(await host.protectedOnes()).toEqual([GPU, other]);
  });

  it("protects the USB controller of a keyboard, but not that of a button, nor any while it is on no screen", async () => {
    const place = `${pci(USB)}/usb1/1-2/1-2:1.0/0003:046D:C31C.0001`;
    const typed = input(onScreen(), "input5", place, KEYS);
    expect((await typed.reasons())[USB]).toBe("it carries the console keyboard through input5");
    const pressed = input(onScreen(), "input5", place, BUTTON);
    expect(await pressed.protectedOnes()).toEqual([GPU]);
    const headless = input(aProtectedHost(), "input5", place, KEYS);
    expect(await headless.reasons()).toEqual({});
  });

  it("needs no PCI function for a keyboard of the board, and the radio for one without a wire", async () => {
    const board = input(onScreen(), "input3", "sys/devices/platform/i8042/serio0", KEYS);
    expect(await board.protectedOnes()).toEqual([GPU]);
    const radio = "sys/devices/virtual/misc/uhid/0005:046D:B342.0002";
    const wireless = input(onScreen(), "input9", radio, KEYS)
      .file(`${radio}/input/input9/id/bustype`, "0005\n")
      .link("sys/class/bluetooth/hci0", `${pci(USB)}/usb1/1-10/1-10:1.0/bluetooth/hci0`);
    expect((await wireless.reasons())[USB]).toBe("it carries the console keyboard through hci0");
  });

  it("protects the PCI UART of the serial console, in the old and the new shape of its path", async () => {
    for (const folder of [`${pci(NVME)}/tty/ttyS4`, `${pci(NVME)}/${NVME}:0/${NVME}:0.0/tty/ttyS4`]) {
      const host = aProtectedHost()
        .file("sys/class/tty/console/active", "ttyS4\n")
        .file(`${folder}/dev`, "4:68\n")
        .link("sys/class/tty/ttyS4", folder);
      expect(await host.reasons()).toEqual({ [NVME]: "it carries the kernel's console through ttyS4" });
    }
  });

  it("protects the device of a virtio console", async () => {
    const host = aProtectedHost()
      .file("sys/class/tty/console/active", "hvc0\n")
      .link("sys/class/tty/hvc0", "sys/devices/virtual/tty/hvc0")
      .link("sys/bus/virtio/drivers/virtio_console/virtio3", `${pci(SHARE)}/virtio3`);
    expect(await host.reasons()).toEqual({ [SHARE]: "it carries the kernel's console through virtio3" });
  });
});

describe("what vouches for the machine", () => {
  it("is the TPM, on a function of its own or in a security processor", async () => {
    const spi = aProtectedHost().link(
      "sys/class/tpm/tpm0",
      `${pci(OTHER_NVME)}/spi_master/spi0/spi0.0/tpm/tpm0`,
    );
    expect(await spi.reasons()).toEqual({ [OTHER_NVME]: "it carries the TPM through tpm0" });
    const psp = "0000:08:00.2";
    const firmware = aProtectedHost()
      .device({ address: psp, vendor: "1022", class: "108000" })
      .link("sys/class/tpm/tpm0", "sys/devices/platform/MSFT0101:00/tpm/tpm0");
    expect(await firmware.reasons()).toEqual({
      [psp]: "the host has the TPM through tpm0, which leads to no device we know",
    });
  });

  it("is the way to the BMC", async () => {
    const host = aProtectedHost().link("sys/class/ipmi/ipmi0", `${pci(OTHER_NVME)}/ipmi/ipmi0`);
    expect(await host.reasons()).toEqual({ [OTHER_NVME]: "it carries the way to the BMC through ipmi0" });
  });

  it("is what the operator lists", async () => {
    const operator = [aRule("r", { class: "nvme" }, "a").match];
    const found = await aProtectedHost().protectedOnes({ operator });
    expect(found).toEqual([NVME, OTHER_NVME]);
  });
});

describe("a whole copy of somebody's machine", () => {
  const trees = ["ghw-i7-1270p", "hwloc-2pa-pcidomain32bits"];

  it.each(trees)(
    "%s, of which no /proc was kept, protects what could matter and does not break",
    async (name) => {
      const root = hostRoot(resolve(import.meta.dirname, "../../fixtures/sysfs", name));
      const devices = await scanOnce(root);
      const protections = await readProtections(root, devices);
      const isKept = (base: string): boolean =>
        devices
          .filter((device) => device.class?.startsWith(base) === true)
          .every(({ address }) => protections.get(address)?.level === "hard");
      expect(devices.length).toBeGreaterThan(0);
      expect(["01", "02", "06"].map(isKept)).toEqual([true, true, true]);
    },
  );
});

describe("the host's DMA safety", () => {
  const line = (text: string) => aProtectedHost().file("proc/cmdline", `${text}\n`);

  it("has no weakness on a sound host", () => {
    expect(readDmaSafety(line("root=/dev/sda1 intel_iommu=on").root)).toEqual({ weaknesses: [] });
    expect(readDmaSafety(aProtectedHost().root)).toEqual({ weaknesses: [] });
  });

  it("is weak where interrupts are not kept apart, by the module as it is or as it will be loaded", () => {
    const parameter = "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";
    const weak = [expect.stringContaining("allow_unsafe_interrupts is on")];
    const asked = line("vfio-iommu-type1.allow_unsafe_interrupts=1");
    expect(readDmaSafety(asked.root).weaknesses).toEqual(weak);
    expect(readDmaSafety(asked.file(parameter, "N\n").root).weaknesses).toEqual([]);
    expect(readDmaSafety(line("quiet").file(parameter, "Y\n").root).weaknesses).toEqual(weak);
    expect(readDmaSafety(line("vfio_iommu_type1.allow_unsafe_interrupts").root).weaknesses).toEqual(weak);
    expect(readDmaSafety(line("vfio_iommu_type1.allow_unsafe_interrupts=0").root).weaknesses).toEqual([]);
  });

  it("is weak where an ACS override makes IOMMU groups look smaller", () => {
    expect(readDmaSafety(line("pcie_acs_override=downstream,multifunction quiet").root).weaknesses).toEqual([
      expect.stringContaining("pcie_acs_override=downstream,multifunction on the kernel line"),
    ]);
  });
});
