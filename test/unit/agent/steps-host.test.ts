import { describe, expect, it } from "vitest";
import { HostEye } from "../../../src/agent/host-eye.js";
import { LeaseBook } from "../../../src/agent/lease-book.js";
import { adoptDevice, releaseDevice } from "../../../src/agent/steps-host.js";
import type { HostHands, Tools } from "../../../src/agent/tools.js";
import type { Lease } from "../../../src/core/lease.js";
import { aDevice, aLease, anAddress, attached, aWorld, up } from "../../support/builders.js";

const gpu = anAddress("0000:65:00.0");
const bound = aDevice(gpu, { driver: "vfio-pci" });

/** Hands that may look at who holds an IOMMU group, and nothing else. */
function stage(holders: readonly number[], leases: readonly Lease[] = [], device = bound) {
  const saved: (readonly Lease[])[] = [];
  const world = aWorld({ devices: [device], vms: { a: up({ attached: [attached(gpu)] }) }, leases });
  const store = { save: async (all: readonly Lease[]) => void saved.push(all) };
  const tools: Tools = {
    world: () => world,
    now: () => 0,
    eye: new HostEye({
      scan: async () => [device],
      protections: async () => new Map(),
      dma: () => ({ weaknesses: [] }),
      now: () => 0,
    }),
    leases: new LeaseBook(store, leases, () => undefined),
    host: { holders: async () => holders } as unknown as HostHands,
    vm: () => undefined,
  };
  return { tools, saved };
}

describe("adopting what a QEMU lists as ours", () => {
  const step = { kind: "adopt", vm: "a", rule: "r", address: gpu } as const;

  it("is done when the VM's own process has the IOMMU group open", async () => {
    const { tools, saved } = stage([4711]);
    expect((await adoptDevice(step, tools)).outcome).toEqual({ kind: "done" });
    expect(saved).toMatchObject([[{ address: gpu, vm: "a", original: null }]]);
  });

  it.each([
    ["nobody has the IOMMU group open", [], bound],
    ["another process has it open", [99], bound],
    ["the device is on a host driver", [4711], aDevice(gpu)],
  ])(
    "is refused, for good and with nothing written, when %s: a QEMU may list what it likes",
    async (_, holders, device) => {
      const { tools, saved } = stage(holders, [], device);
      expect((await adoptDevice(step, tools)).outcome).toMatchObject({
        kind: "refused",
        reason: "not-in-vm",
      });
      expect(saved).toEqual([]);
    },
  );
});

describe("giving back", () => {
  it("is not begun while any process has the IOMMU group open", async () => {
    const { tools, saved } = stage([99], [aLease(bound, "a")]);
    const { outcome } = await releaseDevice({ kind: "release", vm: "a", address: gpu, why: "test" }, tools);
    expect(outcome).toMatchObject({ kind: "refused", reason: "group-busy" });
    expect(saved).toEqual([]);
  });
});
