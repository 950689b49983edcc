import { describe, expect, it } from "vitest";
import { backoffMs, backoffOf, noteFailure } from "../../../src/core/backoff.js";
import { NEXT_MOVES, RESTS, type RefusalReason } from "../../../src/core/next-move.js";
import { retryHeld } from "../../../src/core/readiness.js";
import type { StepOf } from "../../../src/core/step.js";
import type { World } from "../../../src/core/world.js";
import { aDevice, anAddress, anUnplug, aProcess, aWorld, up } from "../../support/builders.js";

const gpu = anAddress("0000:65:00.0");
const sound = anAddress("0000:65:00.1");
const poor = aProcess({ uid: 4242, canLockAnyMemory: false, memlockBytes: 8_388_608 });
const step: StepOf<"attach"> = {
  kind: "attach",
  vm: "a",
  iommuGroups: [0x65],
  placements: [{ address: gpu, id: "x", bus: "rp0", addr: "0", rule: "r", properties: {} }],
  nodeOwner: null,
};

function worldWith(facts: { readonly siblingDriver?: string; readonly memlockBytes?: number } = {}): World {
  const { siblingDriver = "snd_hda_intel", memlockBytes = 8_388_608 } = facts;
  return aWorld({
    devices: [
      aDevice(gpu, { driver: "vfio-pci", iommuGroup: 0x65 }),
      aDevice(sound, { driver: siblingDriver, iommuGroup: 0x65 }),
    ],
    vms: { a: up({ process: { ...poor, memlockBytes }, memoryBytes: 2 ** 27 }) },
  });
}

function afterRefusal(reason: RefusalReason, times = 1, world = worldWith()): World {
  let next = world;
  for (let time = 0; time < times; time += 1) {
    next = { ...next, backoffs: noteFailure(next, step, { kind: "refused", reason, detail: "no" }) };
  }
  return next;
}

const rest = (world: World) => backoffOf(world, "arrive", "a", gpu);
const heldIn = (world: World) => retryHeld(world, "arrive", "a", gpu);

describe("the rest after a refusal", () => {
  const reasons = (kind: string) =>
    (Object.keys(NEXT_MOVES) as RefusalReason[]).filter((reason) => RESTS[NEXT_MOVES[reason]] === kind);

  it.each(reasons("growing"))("(%s) grows", (reason) => {
    const world = afterRefusal(reason, 3);
    expect(rest(world)?.untilMs).toBe(world.nowMs + backoffMs(3));
  });

  it.each(reasons("change"))("(%s) has no end", (reason) => {
    expect(rest(afterRefusal(reason))?.untilMs).toBeNull();
  });

  it("is a moment for a guest in the middle of something, and grows when that takes too long", () => {
    const times = [1, 16, 17, 18].map((count) => rest(afterRefusal("guest-busy", count))?.untilMs);
    const { nowMs } = worldWith();
    expect(times).toEqual([750, 750, 1_000, 2_000].map((ms) => nowMs + ms));
  });

  it("for a memory limit ends when the limit is another, and names limit and need", () => {
    const world = afterRefusal("memlock");
    expect(heldIn(world)).toEqual({
      kind: "memlock",
      vm: "a",
      limitBytes: 8_388_608,
      neededBytes: 2 ** 27 + 128 * 1024,
    });
    expect(rest({ ...world, vms: worldWith({ memlockBytes: 9_000_000 }).vms })).toBeUndefined();
    expect(rest({ ...world, vms: new Map([["a", { kind: "unknown" }]]) })).toBeDefined();
  });

  it("for a memory limit above the reckoned need asks for more than there is", () => {
    const world = afterRefusal("memlock", 1, worldWith({ memlockBytes: 2 ** 28 }));
    expect(heldIn(world)).toMatchObject({ limitBytes: 2 ** 28, neededBytes: 2 ** 28 + 1 });
  });

  it("for a neighbour ends when that leaves its host driver, and names it", () => {
    const world = afterRefusal("group-not-viable");
    expect(heldIn(world)).toEqual({
      kind: "group-not-viable",
      iommuGroup: 0x65,
      siblings: [{ address: sound, driver: "snd_hda_intel" }],
    });
    expect(rest({ ...world, devices: worldWith({ siblingDriver: "vfio-pci" }).devices })).toBeUndefined();
  });

  it("for a neighbour that cannot be seen grows", () => {
    const world = afterRefusal("group-not-viable", 1, worldWith({ siblingDriver: "vfio-pci" }));
    expect([rest(world)?.untilMs, heldIn(world)?.kind]).toEqual([world.nowMs + 1_000, "backing-off"]);
  });

  it("names user and node where QEMU may not open it", () => {
    expect(heldIn(afterRefusal("node-access"))).toMatchObject({
      kind: "node-access",
      uid: 4242,
      iommuGroup: 0x65,
    });
  });

  it("is no more than backing off while a VM is asked to let go of a member of the IOMMU group", () => {
    const world = afterRefusal("group-busy");
    expect(heldIn(world)).toMatchObject({ kind: "group-busy", iommuGroup: 0x65 });
    const unplug = anUnplug(sound, { vm: "b", id: "x", mode: "native" });
    expect(heldIn({ ...world, unplugs: new Map([["b/x", unplug]]) })?.kind).toBe("backing-off");
  });
});
