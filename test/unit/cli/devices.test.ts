/** What `pciplug devices` shows a person. */
import { describe, expect, it } from "vitest";
import { renderDevices } from "../../../src/cli/devices.js";
import { aDevice, anAddress, protectedBy } from "../../support/builders.js";

const none = new Map();

describe("the devices for people", () => {
  it("are a table in the order given, with class names", () => {
    const devices = [
      aDevice("0000:01:00.0", { numaNode: 1 }),
      aDevice("0000:02:00.0", { class: "010802", driver: "nvme" }),
    ];
    expect(renderDevices({ devices, protections: none }, null)).toEqual([
      "ADDRESS       ID         CLASS                   DRIVER   IOMMU GROUP  NUMA  VM  STATE  WHY  NAME",
      "0000:01:00.0  10de:2204  030000 VGA controller   nouveau  1            1     -",
      "0000:02:00.0  10de:2204  010802 NVMe controller  nvme     2            -     -",
    ]);
  });

  it("fit a terminal, whose width wraps reasons and names", () => {
    const device = aDevice("0000:01:00.0", { class: "010802", driver: "nvme" });
    const because = "it carries what is mounted at / through md127, dm-0, dm-1 and nvme0n1";
    const protections = new Map([[device.address, protectedBy(because)]]);
    const names = new Map([
      [device.address, { vendor: "Samsung Electronics Co Ltd", device: "NVMe SSD Controller SM981/PM981" }],
    ]);
    const wide = renderDevices({ devices: [device], protections }, null, names);
    const lines = renderDevices({ devices: [device], protections }, null, names, 150);
    expect([wide.length, lines.length]).toEqual([2, 4]);
    expect(lines.every((line) => line.length <= 150)).toBe(true);
    const words = (all: readonly string[]) => all.slice(1).join(" ").split(/ +/).sort();
    expect(words(lines)).toEqual(words(wide));
    const narrow = renderDevices({ devices: [device], protections }, null, names, 100);
    expect(narrow.every((line) => line.length <= 100)).toBe(true);
    expect(narrow.slice(2)).toEqual([
      `  protected: ${because}; Samsung`,
      "  Electronics Co Ltd NVMe SSD Controller SM981/PM981",
    ]);
  });

  it("say whose they are where the agent knows", () => {
    const owners = new Map([["0000:01:00.0", { vm: "b", state: "held" as const, held: "b is not running" }]]);
    const [, row] = renderDevices({ devices: [aDevice("0000:01:00.0")], protections: none }, owners);
    expect(row).toMatch(/ {2}b {3}held {3}b is not running$/);
  });

  it("show what is not known as ? and what is not there as -", () => {
    const bare = { address: anAddress("0000:03:00.0"), appearance: "x" };
    const devices = [bare, { ...bare, driver: null, iommuGroup: null }];
    const [, unknown, absent] = renderDevices({ devices, protections: none }, null);
    expect(unknown?.split(/ {2,}/)).toEqual(["0000:03:00.0", "?:?", "?", "?", "?", "-", "-"]);
    expect(absent?.split(/ {2,}/)).toEqual(["0000:03:00.0", "?:?", "?", "-", "-", "-", "-"]);
  });

  it("say what the host needs, and because of what, and what is merely in use", () => {
    const devices = [aDevice("0000:01:00.0"), aDevice("0000:02:00.0"), aDevice("0000:03:00.0")];
    const protections = new Map([
      [anAddress("0000:01:00.0"), protectedBy("it carries what is mounted at /")],
      [anAddress("0000:02:00.0"), protectedBy("eth1 is up", { level: "soft" })],
    ]);
    const rows = renderDevices({ devices, protections }, null).slice(1);
    expect(rows.map((row) => row.split(/ {2,}/).slice(7))).toEqual([
      ["protected: it carries what is mounted at /"],
      ["in use: eth1 is up"],
      [],
    ]);
  });

  it("have a column for serial numbers where these were read, and end in names where there are any", () => {
    const devices = [
      aDevice("0000:01:00.0", { serial: "68-05-ca-ff-ff-12-34-56" }),
      aDevice("0000:02:00.0", { serial: null }),
      aDevice("0000:03:00.0"),
    ];
    const names = new Map([[anAddress("0000:01:00.0"), { vendor: "NVIDIA Corporation", device: "GA102" }]]);
    const [header, ...rows] = renderDevices({ devices, protections: none }, null, names);
    expect(header).toMatch(/NUMA +SERIAL +VM +STATE +WHY +NAME$/);
    expect(rows.map((row) => row.split(/ {2,}/)[6])).toEqual(["68-05-ca-ff-ff-12-34-56", "-", "?"]);
    expect(rows[0]).toMatch(/ NVIDIA Corporation GA102$/);
  });

  it("write out control characters of a driver's name", () => {
    const [, row] = renderDevices(
      { devices: [aDevice("0000:01:00.0", { driver: "evil\u001b[31m" })], protections: none },
      null,
    );
    expect(row).toContain("evil\\u001b[31m");
  });
});
