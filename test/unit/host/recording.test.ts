import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { HostError } from "../../../src/host/error.js";
import { type HostPicture, parseRecording } from "../../../src/host/recording.js";

const folder = resolve(import.meta.dirname, "../../../fixtures/hosts");
const files = readdirSync(folder).filter((name) => name.endsWith(".json"));

function recorded(name: string): HostPicture {
  return parseRecording(readFileSync(resolve(folder, name), "utf8"), name);
}

function complaintOf(text: string): string {
  try {
    parseRecording(text, "host.json");
  } catch (error) {
    if (error instanceof HostError && error.code === "host.bad-recording") {
      return error.message;
    }
    throw error;
  }
  return "none";
}

describe("recorded machines", () => {
  it.each(files)("%s is read whole, in address order, with no fact that its source lacks", (name) => {
    const source = JSON.parse(readFileSync(resolve(folder, name), "utf8")) as {
      devices: Record<string, unknown>[];
    };
    const { devices, protectionFacts } = recorded(name);
    expect([devices.length, protectionFacts]).toEqual([source.devices.length, null]);
    for (const device of devices) {
      const entry = source.devices.find(({ address }) => address === device.address);
      for (const key of ["vendor", "device", "revision", "numaNode", "iommuGroup", "driver"] as const) {
        expect(device[key]).toEqual(entry?.[key]);
      }
    }
  });

  it("do not say that a device has no IOMMU group where nobody looked", () => {
    const groups = recorded("hwloc-nvidia-dgx2.json").devices.map(({ iommuGroup }) => iommuGroup);
    expect(new Set(groups)).toEqual(new Set([undefined]));
  });

  it("tell the root port and the path where every bridge above was recorded", () => {
    const { devices } = recorded("hwloc-40intel64-2g2n4c-pcilocality.json");
    expect(devices.find(({ address }) => address === "0000:03:00.0")).toMatchObject({
      parent: expect.stringMatching(/^0000:00:/),
      root: expect.stringMatching(/^0000:00:/),
      path: expect.stringMatching(/^0000:00\/..\.0\/00\.0$/),
    });
  });
});

describe("a file that is no recording", () => {
  it.each([
    ["", /cannot read the recorded host host\.json: it is not JSON: /],
    ["[]", /its schema is none, this program knows "pci-machine\/1"$/],
    ['{"schema":"pci-machine/2"}', /its schema is "pci-machine\/2", this program knows "pci-machine\/1"$/],
    ['{"schema":"pci-machine/1"}', /it has no list of devices$/],
    ['{"schema":"pci-machine/1","devices":[1]}', /devices\[0\] is not an object$/],
    [
      '{"schema":"pci-machine/1","devices":[{"address":"0000:01:00.0"},{"address":"0000:01:00.0"}]}',
      /it has 0000:01:00\.0 twice$/,
    ],
    [
      '{"schema":"pci-machine/1","devices":[],"protectionFacts":{"carriers":1}}',
      /its protectionFacts are not those that a capture writes$/,
    ],
    ['{"schema":"pci-machine/1","devices":[],"dma":{"weaknesses":[1]}}', /its dma are not those/],
  ])("%s is refused with one sentence", (text, complaint) => {
    expect(complaintOf(text)).toMatch(complaint);
  });
});
