import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type PciAddress, parseAddress } from "../../../src/core/address.js";
import { DriverModel, type DriverState } from "../../../src/sim/driver-model.js";
import type { KernelAnswer } from "../../../src/sim/errno.js";

function addressAt(text: string): PciAddress {
  const address = parseAddress(text);
  if (address === undefined) {
    throw new Error(text);
  }
  return address;
}

const A = addressAt("0000:01:00.0");
const B = addressAt("0000:01:00.1");

function aState(over: Partial<DriverState> = {}): DriverState {
  return {
    address: A,
    ids: "8086 10d3",
    native: "e1000e",
    group: 7,
    isBridge: false,
    override: null,
    driver: null,
    ...over,
  };
}

function aModel(busyGroups: readonly number[] = []): DriverModel {
  const listener = { bound: () => {}, unbound: () => {}, overridden: () => {} };
  const model = new DriverModel(listener, (group) => busyGroups.includes(group));
  model.loadDriver("e1000e");
  model.loadDriver("vfio-pci");
  return model;
}

function withCard(
  state = aState(),
  busyGroups: readonly number[] = [],
): { model: DriverModel; state: DriverState } {
  const model = aModel(busyGroups);
  model.add(state);
  return { model, state };
}

function errnoOf(answer: KernelAnswer): string {
  return answer.kind === "refused" ? answer.errno : answer.kind;
}

describe("driver_override (facts.md 9)", () => {
  it("is cleared by a newline and takes any text, the newline at its end not counted", () => {
    const { model, state } = withCard();
    expect(errnoOf(model.setOverride(state, "a b\n"))).toBe("done");
    expect(state.override).toBe("a b");
    model.setOverride(state, "\n");
    expect(state.override).toBeNull();
  });

  it("refuses more than a page with EINVAL and keeps what was there", () => {
    const { model, state } = withCard();
    model.setOverride(state, "vfio-pci");
    expect(errnoOf(model.setOverride(state, "x".repeat(5000)))).toBe("EINVAL");
    expect(state.override).toBe("vfio-pci");
  });

  it("does not change the driver of a bound device, nor does a probe after it", () => {
    const { model, state } = withCard();
    model.probe(state);
    model.setOverride(state, "vfio-pci");
    model.probe(state);
    expect(state.driver).toBe("e1000e");
  });

  it("survives unbind and rebind", () => {
    const { model, state } = withCard();
    model.setOverride(state, "vfio-pci");
    model.probe(state);
    model.unbind(state);
    model.probe(state);
    expect(state).toMatchObject({ driver: "vfio-pci", override: "vfio-pci" });
  });

  it("to an absent driver keeps every driver away, and a direct bind to another gives ENODEV", () => {
    const { model, state } = withCard();
    model.setOverride(state, "nosuchdrv");
    model.probe(state);
    expect(state.driver).toBeNull();
    expect(errnoOf(model.bind("e1000e", state))).toBe("ENODEV");
  });
});

describe("bind, unbind and probe (facts.md 9)", () => {
  it("refuses vfio-pci/bind without override and without new_id with ENODEV", () => {
    const { model, state } = withCard();
    expect(errnoOf(model.bind("vfio-pci", state))).toBe("ENODEV");
  });

  it("refuses an unknown device with ENODEV and a bound one with EBUSY", () => {
    const { model, state } = withCard();
    expect(errnoOf(model.bind("e1000e", undefined))).toBe("ENODEV");
    model.probe(state);
    expect(errnoOf(model.bind("e1000e", state))).toBe("EBUSY");
  });

  it("refuses a host driver to a sibling of an IOMMU group in use with EBUSY", () => {
    const { model, state } = withCard(aState({ address: B }), [7]);
    expect(errnoOf(model.bind("e1000e", state))).toBe("EBUSY");
    model.probe(state);
    expect(state.driver).toBeNull();
  });

  it("binds vfio-pci to a sibling of an IOMMU group in use", () => {
    const { model, state } = withCard(aState({ address: B }), [7]);
    model.setOverride(state, "vfio-pci");
    model.probe(state);
    expect(state.driver).toBe("vfio-pci");
  });

  it("never binds vfio-pci to a device without an IOMMU group", () => {
    const { model, state } = withCard(aState({ group: null }));
    model.setOverride(state, "vfio-pci");
    model.probe(state);
    expect(state.driver).toBeNull();
  });

  it("new_id takes every driverless device with that id at once and leaves bound ones; twice gives EEXIST", () => {
    const { model, state } = withCard();
    const bound = aState({ address: B });
    model.add(bound);
    model.probe(bound);
    expect(errnoOf(model.newId("vfio-pci", "8086 10d3"))).toBe("done");
    expect([state.driver, bound.driver]).toEqual(["vfio-pci", "e1000e"]);
    expect(errnoOf(model.newId("vfio-pci", "8086 10d3"))).toBe("EEXIST");
    expect(errnoOf(model.removeId("vfio-pci", "8086 10d3"))).toBe("done");
    expect(errnoOf(model.removeId("vfio-pci", "8086 10d3"))).toBe("ENODEV");
  });
});

describe("an IOMMU group", () => {
  it.each([
    [null, true],
    ["vfio-pci", true],
    ["mlx5_vfio_pci", true],
    ["e1000e", false],
  ])("whose sibling is on %s is viable: %s (facts.md 1.1)", (driver, isViable) => {
    const { model } = withCard(aState({ driver: "vfio-pci" }));
    model.add(aState({ address: B, driver }));
    expect(model.isViable(7)).toBe(isViable);
  });

  it("is viable although a bridge in it keeps its driver", () => {
    const { model } = withCard(aState({ driver: "vfio-pci" }));
    model.add(aState({ address: B, driver: "pcieport", isBridge: true }));
    expect(model.isViable(7)).toBe(true);
  });
});

describe("any sequence of writes", () => {
  const write = fc.oneof(
    fc.record({
      kind: fc.constant("override" as const),
      text: fc.constantFrom("vfio-pci", "e1000e", "absent", "\n"),
    }),
    fc.record({
      kind: fc.constant("bind" as const),
      driver: fc.constantFrom("vfio-pci", "e1000e", "absent"),
    }),
    fc.constant({ kind: "unbind" as const }),
    fc.constant({ kind: "probe" as const }),
  );

  it("only ever binds the override if there is one, else the driver that knows the card", () => {
    fc.assert(
      fc.property(fc.array(write, { maxLength: 30 }), (writes) => {
        const { model, state } = withCard();
        for (const step of writes) {
          const before = state.driver;
          const answer = apply(model, state, step);
          if (before !== null && step.kind !== "unbind") {
            expect(state.driver).toBe(before);
          }
          if (before === null && state.driver !== null) {
            expect(state.driver).toBe(state.override ?? "e1000e");
          }
          if (step.kind === "bind" && before === null) {
            expect(answer.kind === "done").toBe(state.driver === step.driver);
          }
        }
      }),
    );
  });

  function apply(
    model: DriverModel,
    state: DriverState,
    step: typeof write extends fc.Arbitrary<infer T> ? T : never,
  ) {
    switch (step.kind) {
      case "override":
        return model.setOverride(state, step.text);
      case "bind":
        return model.bind(step.driver, state);
      case "unbind":
        model.unbind(state);
        break;
      case "probe":
        model.probe(state);
    }
    return { kind: "done" } as const;
  }
});
