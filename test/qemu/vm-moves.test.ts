/** Unplugging and refusals of a real QEMU. An emulated nvme stands in for a card: the lab has real ones. */
import { describe, expect, it } from "vitest";
import { type PciAddress, parseAddress } from "../../src/core/address.js";
import { attachDevice } from "../../src/qemu/attach.js";
import { detachDevice, requestUnplug } from "../../src/qemu/detach.js";
import { readPorts } from "../../src/qemu/ports.js";
import type { QmpClient } from "../../src/qmp/index.js";
import { startVm } from "../support/qemu-vm.js";

const NATIVE = "-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off";
const PORTS =
  "-device pcie-root-port,id=rp0,chassis=1 -device pcie-root-port,id=off,hotplug=off,chassis=2 -drive if=none,id=d,driver=null-co";
/** No host has it: the domain is beyond what firmware gives. */
const NOWHERE = parseAddress("fffe:ff:1f.7") as PciAddress;
const PLACEMENT = {
  address: NOWHERE,
  id: "pciplug-fffe-ff-1f.7",
  bus: "rp0",
  addr: "0",
  rule: "r",
  properties: {},
};

async function plugDisk(client: QmpClient): Promise<void> {
  await client.execute("device_add", {
    driver: "nvme",
    drive: "d",
    serial: "x",
    id: "disk",
    bus: "rp0",
    addr: "0",
  });
}

async function occupants(client: QmpClient): Promise<readonly string[]> {
  const port = (await readPorts(client)).find(({ bus }) => bus === "rp0");
  return port?.state.kind === "plugged" ? port.state.by : [];
}

describe("unplugging from a VM that has not run yet", () => {
  it("is done at once in native mode: no guest is needed", async () => {
    await using running = await startVm({ args: `${NATIVE} ${PORTS}` });
    const { client } = running;
    await plugDisk(client);
    expect(await occupants(client)).toEqual(["disk"]);
    expect(await requestUnplug(client, "disk")).toEqual({ kind: "done" });
    expect(await occupants(client)).toEqual([]);
    expect(await requestUnplug(client, "disk")).toEqual({ kind: "done" });
  });

  it("stays pending in ACPI mode, asked as often as one likes, until the machine is reset", async () => {
    await using running = await startVm({ args: PORTS });
    const { client } = running;
    await plugDisk(client);
    expect(await requestUnplug(client, "disk", { waitMs: 200 })).toEqual({ kind: "pending" });
    expect(await requestUnplug(client, "disk", { waitMs: 200 })).toEqual({ kind: "pending" });
    expect(await occupants(client)).toEqual(["disk"]);
    const deleted = client.waitFor("DEVICE_DELETED", (data) => data.device === "disk", { timeoutMs: 20_000 });
    await client.execute("system_reset");
    await deleted;
    expect(await occupants(client)).toEqual([]);
  });

  it("is never asked of a device that is not the host's", async () => {
    await using running = await startVm({ args: `${NATIVE} ${PORTS}` });
    await plugDisk(running.client);
    expect(await detachDevice(running.client, { id: "disk", address: NOWHERE })).toEqual({
      kind: "refused",
      reason: "id-in-use",
      detail: "disk is not a device of the host, not fffe:ff:1f.7",
    });
    expect(await occupants(running.client)).toEqual(["disk"]);
  });
});

describe("attaching to a real QEMU", () => {
  it("is refused in QEMU's own words when the host has no such device", async () => {
    await using running = await startVm({ args: PORTS });
    expect(await attachDevice(running.client, PLACEMENT)).toEqual({
      kind: "refused",
      reason: "device-absent",
      detail: `vfio /sys/bus/pci/devices/${NOWHERE}: no such host device: No such file or directory`,
    });
    expect(await occupants(running.client)).toEqual([]);
  });

  it("is refused for the port's sake before the device is even looked at", async () => {
    await using running = await startVm({ args: PORTS });
    const { client } = running;
    const reasonAt = async (bus: string): Promise<unknown> => {
      const outcome = await attachDevice(client, { ...PLACEMENT, bus });
      return outcome.kind === "refused" ? outcome.reason : outcome;
    };
    expect(await reasonAt("off")).toBe("port-unusable");
    expect(await reasonAt("pcie.0")).toBe("port-unusable");
    expect(await reasonAt("nosuch")).toBe("port-unusable");
    await plugDisk(client);
    expect(await reasonAt("rp0")).toBe("port-occupied");
  });

  it("names what has the id when something else has it", async () => {
    await using running = await startVm({ args: PORTS });
    expect(await attachDevice(running.client, { ...PLACEMENT, id: "off" })).toMatchObject({
      kind: "refused",
      reason: "id-in-use",
      detail: `Duplicate device ID 'off'; no device of the host is listed as off or ${NOWHERE}`,
    });
  });
});
