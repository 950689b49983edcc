/** What `pciplug devices` shows a person. */
import { describe, expect, it } from "vitest";
import { renderDevices } from "../../../src/cli/devices.js";
import { aDevice, anAddress } from "../../support/builders.js";

describe("the devices for people", () => {
  it("are a table in the order given, with class names", () => {
    const devices = [
      aDevice("0000:01:00.0", { numaNode: 1 }),
      aDevice("0000:02:00.0", { class: "010802", driver: "nvme" }),
    ];
    expect(renderDevices(devices, null)).toEqual([
      "ADDRESS       ID         CLASS                   DRIVER   IOMMU GROUP  NUMA  VM  STATE  WHY",
      "0000:01:00.0  10de:2204  030000 VGA controller   nouveau  1            1     -",
      "0000:02:00.0  10de:2204  010802 NVMe controller  nvme     2            -     -",
    ]);
  });

  it("say whose they are where the agent knows", () => {
    const owners = new Map([["0000:01:00.0", { vm: "b", state: "held" as const, held: "b is not running" }]]);
    const [, row] = renderDevices([aDevice("0000:01:00.0")], owners);
    expect(row).toMatch(/ {2}b {3}held {3}b is not running$/);
  });

  it("show what is not known as ? and what is not there as -", () => {
    const bare = { address: anAddress("0000:03:00.0"), appearance: "x", driver: null, iommuGroup: null };
    const [, row] = renderDevices([bare], null);
    expect(row?.split(/ {2,}/)).toEqual(["0000:03:00.0", "?:?", "?", "-", "-", "-", "-"]);
  });

  it("write out control characters of a driver's name", () => {
    const [, row] = renderDevices([aDevice("0000:01:00.0", { driver: "evil\u001b[31m" })], null);
    expect(row).toContain("evil\\u001b[31m");
  });
});
