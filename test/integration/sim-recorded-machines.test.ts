/** Every recorded machine, laid out as a simulated host, is found again by the inventory as it was recorded. */
import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Device } from "../../src/core/device.js";
import { readRecording } from "../../src/host/recording.js";
import { hostRoot } from "../../src/host/root.js";
import { scanOnce } from "../../src/host/scan.js";
import { createSimulation } from "../../src/sim/fleet.js";
import { machineOf } from "../../src/sim/recorded-machine.js";
import { aDevice, anAddress } from "../support/builders.js";
import { recordingOf } from "../support/rehearsals.js";
import { simFolder } from "../support/sim-client.js";

const hosts = readdirSync(new URL("../../fixtures/hosts/", import.meta.url))
  .filter((name) => name.endsWith(".json"))
  .map((name) => name.replace(/\.json$/, ""));
const WISHES = { serial: true, udev: true, attributes: ["d3cold_allowed", "power/runtime_status"] };

/** What the inventory sees of a simulated host with these cards. */
async function seenOf(devices: readonly Device[], isAssumingGroups = false): Promise<Device[]> {
  const { dir, remove } = simFolder();
  const world = await createSimulation({ dir, cards: machineOf(devices, { isAssumingGroups }).cards });
  try {
    return await scanOnce(hostRoot(dir), WISHES);
  } finally {
    await world[Symbol.asyncDispose]();
    remove();
  }
}

describe("a recorded machine that is simulated", () => {
  it.each(hosts)("shows every fact that was recorded of %s", async (name) => {
    const { devices } = await readRecording(recordingOf(name));
    const seen = new Map((await seenOf(devices)).map((device) => [device.address, device]));
    expect([...seen.keys()].sort()).toEqual(devices.map(({ address }) => address).sort());
    for (const recorded of devices) {
      const { appearance: _, isRecorded: __, class: code, ...facts } = recorded;
      const known = Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== null));
      expect(seen.get(recorded.address)).toMatchObject(known);
      expect(seen.get(recorded.address)?.class).toBe(code?.padEnd(6, "0"));
    }
  });

  it("shows what no recording of ours has: slot, label, serial, BARs, VFs, udev and attributes", async () => {
    const bridge = aDevice("0000:00:01.0", { class: "060400", driver: "pcieport" });
    const pf = aDevice("0000:65:00.0", {
      parent: bridge.address,
      rootBus: "0000:00",
      slot: "8-1",
      label: "Onboard LAN",
      serial: "00-11-22-ff-fe-33-44-55",
      memory: 33_554_432,
      numaNode: 1,
      driver: "odd driver",
      udev: { ID_VENDOR_FROM_DATABASE: "Somebody" },
      attributes: { d3cold_allowed: "1", "power/runtime_status": "active", uevent: "no", driver: "no" },
    });
    const vf = aDevice("0000:65:02.0", { physfn: pf.address, parent: bridge.address, memory: 0 });
    // The VF and the device below come first: the order of a file is not that of plugging.
    const seen = await seenOf([vf, pf, bridge]);
    expect(seen.find(({ address }) => address === pf.address)).toMatchObject({
      parent: bridge.address,
      rootBus: "0000:00",
      path: "0000:00/01.0/00.0",
      root: bridge.address,
      slot: "8-1",
      label: "Onboard LAN",
      serial: "00-11-22-ff-fe-33-44-55",
      memory: 33_554_432,
      numaNode: 1,
      driver: "odd driver",
      udev: { ID_VENDOR_FROM_DATABASE: "Somebody" },
      attributes: { d3cold_allowed: "1" },
    });
    expect(seen.find(({ address }) => address === vf.address)).toMatchObject({
      physfn: pf.address,
      memory: 0,
    });
  });

  it("supposes one IOMMU group per card where it is told to, and none otherwise", async () => {
    const card = [anAddress("0000:65:00.0"), anAddress("0000:65:00.1")].map((address) => {
      const { iommuGroup: _, ...facts } = aDevice(address);
      return facts;
    });
    const other = aDevice("0000:66:00.0", { iommuGroup: 7 });
    const groups = async (isAssuming: boolean) =>
      (await seenOf([...card, other], isAssuming)).map(({ iommuGroup }) => iommuGroup);
    expect(await groups(false)).toEqual([null, null, 7]);
    expect(await groups(true)).toEqual([8, 8, 7]);
  });
});
