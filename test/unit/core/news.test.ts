/** Whom somebody waits for, so that a shared monitor is visited. */
import { describe, expect, it } from "vitest";
import { isInUse, vmsWithNewsToCome } from "../../../src/core/news.js";
import { planAll } from "../../../src/core/plan.js";
import { pairKey, type World } from "../../../src/core/world.js";
import {
  aDevice,
  aLease,
  anAddress,
  anUnplug,
  aPolicy,
  aPort,
  aRule,
  attached,
  aWorld,
  up,
} from "../../support/builders.js";

const gpu = "0000:65:00.0";
const policy = aPolicy([aRule("r", { address: gpu }, "a")]);
const awaited = (world: World) => [...vmsWithNewsToCome(world, planAll(world).held)];
const bound = aDevice(gpu, { driver: "vfio-pci" });
const unplug = anUnplug(gpu, { firstAskedMs: 0, askedMs: 999_999 });

describe("a VM of which news is expected", () => {
  it.each([
    ["is not ready", up({ runState: "internal-error" })],
    ["is being migrated", up({ runState: "inmigrate" })],
    ["has no free port", up({ ports: [aPort("rp0", { kind: "plugged", by: ["x"] })] })],
  ])("%s, and a device waits for that", (_, status) => {
    expect(awaited(aWorld({ devices: [aDevice(gpu)], policy, vms: { a: status } }))).toEqual(["a"]);
  });

  it("was asked to let go of a device", () => {
    const world = aWorld(
      {
        devices: [bound],
        policy,
        vms: { a: up({ attached: [attached(gpu)] }) },
        leases: [aLease(bound, "a")],
      },
      { unplugs: new Map([[pairKey("a", unplug.id), unplug]]) },
    );
    expect(awaited(world)).toEqual(["a"]);
  });

  it("is none that has what it is to have, that is down, or for which nothing waits", () => {
    const settled = { devices: [bound], policy, leases: [aLease(bound, "a")] };
    expect(awaited(aWorld({ ...settled, vms: { a: up({ attached: [attached(gpu)] }) } }))).toEqual([]);
    expect(
      awaited(aWorld({ ...settled, vms: { a: { kind: "absent", sinceMs: 999_999, reason: "" } } })),
    ).toEqual([]);
    expect(awaited(aWorld({ policy, vms: { a: up({ runState: "inmigrate" }) } }))).toEqual([]);
  });
});

describe("a VM that is in use", () => {
  it("has a lease, an unplug under way or a step", () => {
    expect(isInUse(aWorld({ policy }), "a")).toBe(false);
    expect(isInUse(aWorld({ policy, leases: [aLease(bound, "a")] }), "a")).toBe(true);
    expect(isInUse(aWorld({ policy, leases: [aLease(bound, "b")] }), "a")).toBe(false);
    expect(isInUse(aWorld({ policy }, { unplugs: new Map([["x", unplug]]) }), "a")).toBe(true);
    const step = { kind: "forget", vm: "a", address: anAddress(gpu), why: "" } as const;
    expect(isInUse(aWorld({ policy }, { running: new Map([["a", step]]) }), "a")).toBe(true);
  });
});
