import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareNaturally, modeOf, type PluggableBus, portsOf } from "../../../src/qemu/topology.js";
import { portLines } from "../../support/port-lines.js";

const ACPI = "/machine/unattached/device[2]";

function aPort(id: string, facts: Partial<PluggableBus> = {}): PluggableBus {
  const owner = `/machine/peripheral/${id}`;
  return {
    kind: "pcie-port",
    owner,
    type: "pcie-root-port",
    path: `${owner}/${id}`,
    handler: ACPI,
    isSwitchedOff: false,
    occupants: [],
    ...facts,
  };
}

describe("the ports made from buses", () => {
  it("count a port as plugged also when its only card sits at slot 1, where no guest sees it", () => {
    const occupants = [{ path: "/machine/peripheral/x2", slot: null }];
    expect(portLines(portsOf([aPort("rp0", { occupants })]))).toEqual(["rp0 0 acpi plugged by x2"]);
  });

  it("are unusable under a name that two buses have, whoever of them has an id", () => {
    const anonymous = aPort("rp0", {
      owner: "/machine/peripheral-anon/device[0]",
      path: "/machine/peripheral-anon/device[0]/pcie.1",
    });
    expect(portLines(portsOf([anonymous, aPort("pcie.1")]))).toEqual([
      "pcie.1 0 acpi unusable: the port has no id, and more than one bus is named pcie.1; give it an id",
      "pcie.1 0 acpi unusable: more than one bus is named pcie.1",
    ]);
  });

  it("say so when a port has no PCI bus at all", () => {
    expect(portLines(portsOf([aPort("cxl", { path: null, type: "cxl-rp" })]))).toEqual([
      "cxl 0 unknown unusable: cxl-rp has no PCI bus",
    ]);
  });

  it("leave out the slots of the machine's own chips and never offer slot 0", () => {
    const root: PluggableBus = {
      kind: "root-bus",
      owner: "/machine/i440fx",
      type: "i440FX-pcihost",
      path: "/machine/i440fx/pci.0",
      handler: ACPI,
      isSwitchedOff: false,
      occupants: [
        { path: "/machine/unattached/device[3]", slot: 1 },
        { path: "/machine/peripheral/nic", slot: 31 },
      ],
    };
    const lines = portLines(portsOf([root]));
    expect(lines[0]).toBe("pci.0 2 acpi free");
    expect(lines.at(-1)).toBe("pci.0 1f acpi plugged by nic");
    expect(lines).toHaveLength(30);
  });

  it("offer nothing on a conventional bus with a device at an unknown slot", () => {
    const bridge = aPort("pb", {
      kind: "bridge",
      occupants: [{ path: "/machine/peripheral/x", slot: null }],
    });
    expect(portLines(portsOf([bridge]))).toEqual([
      "pb 1 acpi unusable: a device on this bus did not tell its slot",
    ]);
  });

  it("do not depend on the order in which QEMU lists them", () => {
    const buses = ["rp10", "rp2", "a", "rp2b", "B"].map((id) => aPort(id));
    fc.assert(
      fc.property(fc.shuffledSubarray(buses, { minLength: buses.length }), (shuffled) => {
        expect(portsOf(shuffled).map((port) => port.bus)).toEqual(["a", "B", "rp2", "rp2b", "rp10"]);
      }),
    );
  });
});

describe("natural order", () => {
  it("is total: only equal names are equal", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        expect(compareNaturally(a, b) === 0).toBe(a === b);
        expect(Math.sign(compareNaturally(a, b))).toBe(-Math.sign(compareNaturally(b, a)) + 0);
      }),
    );
  });
});

describe("the mode of a bus", () => {
  it.each([
    ["", "unknown"],
    ["/machine/peripheral/rp0", "native"],
    [ACPI, "acpi"],
  ])("with the controller %j is %s", (handler, mode) => {
    expect(modeOf(handler, "/machine/peripheral/rp0")).toBe(mode);
  });
});
