import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type GuestBehaviour, SimGuest } from "../../../src/sim/guest.js";
import type { SimDevice } from "../../../src/sim/qemu-device.js";
import { SimTimers } from "../../../src/sim/timers.js";
import { Topology } from "../../../src/sim/topology.js";

const PENDING = "Device d1 is already in the process of unplug";
const BUSY = "Hot-unplug failed: guest is busy (power indicator blinking)";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

interface Scene {
  readonly guest: SimGuest;
  readonly deleted: string[];
  readonly device: SimDevice;
  /** `{}` or the error's text. */
  del(device?: SimDevice): string;
  add(id: string, addr: number): SimDevice;
  setRunState(state: string): void;
}

function aScene(
  mode: "acpi" | "native",
  behaviour: GuestBehaviour,
  { isHotplugged = true, runState = "running" } = {},
): Scene {
  const topology = new Topology("q35", mode);
  topology.insertCold({ driver: "pcie-root-port", id: "rp0" }, null);
  const bus = topology.findBus("rp0");
  if (!("occupants" in bus)) {
    throw new Error("no bus");
  }
  const deleted: string[] = [];
  let state = runState;
  const guest = new SimGuest({ behaviour }, new SimTimers(1), {
    runState: () => state,
    deleted: (devices) => {
      for (const device of devices) {
        topology.remove(device);
        deleted.push(device.id ?? "");
      }
    },
  });
  const add = (id: string, devfn: number): SimDevice => {
    const given = { driver: "e1000e", id, bus, devfn, isMultifunction: true, isHotplugged, properties: {} };
    const device = topology.insert({ ...given, hostDevice: null });
    guest.plugged(device);
    return device;
  };
  const device = add("d1", 0);
  const del = (target = device): string => {
    const reply = guest.unplug(target);
    return "error" in reply ? reply.error.desc : "{}";
  };
  return { guest, deleted, device, del, add, setRunState: (next) => (state = next) };
}

describe("a running Linux guest in ACPI mode", () => {
  it("lets a device go in 0.1 s, and asking again meanwhile is harmless", () => {
    const { del, deleted } = aScene("acpi", "co-operative");
    expect([del(), del()]).toEqual(["{}", "{}"]);
    vi.advanceTimersByTime(99);
    expect(deleted).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(deleted).toEqual(["d1"]);
  });

  it("lets every function of the slot go when one is asked for", () => {
    const scene = aScene("acpi", "co-operative");
    scene.add("f1", 1);
    scene.del();
    vi.advanceTimersByTime(1000);
    expect(scene.deleted.sort()).toEqual(["d1", "f1"]);
  });

  it("takes it up after cont when it was stopped", () => {
    const { guest, del, deleted, setRunState } = aScene("acpi", "co-operative", { runState: "paused" });
    expect([del(), del()]).toEqual(["{}", "{}"]);
    vi.advanceTimersByTime(60_000);
    expect(deleted).toEqual([]);
    setRunState("running");
    guest.continued();
    vi.advanceTimersByTime(200);
    expect(deleted).toEqual(["d1"]);
  });
});

describe("a guest that does not answer ACPI", () => {
  it.each(["refuses", "not-running"] as const)("(%s) lets go only at a reset", (behaviour) => {
    const { guest, del, deleted } = aScene("acpi", behaviour);
    expect([del(), del()]).toEqual(["{}", "{}"]);
    vi.advanceTimersByTime(600_000);
    expect(deleted).toEqual([]);
    guest.reset();
    expect(deleted).toEqual(["d1"]);
  });

  it("takes no second request before the VM first ran (recorded in 2-hotplug-handler)", () => {
    const { del } = aScene("acpi", "co-operative", { runState: "prelaunch" });
    expect([del(), del()]).toEqual(["{}", PENDING]);
  });
});

describe("native mode", () => {
  it("answers as recorded in 3-native-repeat: asked, pending for 5 s, blinking for 1 s, gone", () => {
    const { del, deleted } = aScene("native", "co-operative");
    vi.advanceTimersByTime(2000);
    expect(del()).toBe("{}");
    vi.advanceTimersByTime(4500);
    expect(del()).toBe(PENDING);
    vi.advanceTimersByTime(600);
    expect(del()).toBe(BUSY);
    vi.advanceTimersByTime(1000);
    expect(deleted).toEqual(["d1"]);
  });

  it("is busy straight after the plug", () => {
    const { del } = aScene("native", "co-operative");
    expect(del()).toBe(BUSY);
    vi.advanceTimersByTime(500);
    expect(del()).toBe("{}");
  });

  it("takes another press every 5 s from a guest that refuses, and no reset helps", () => {
    const { guest, del, deleted } = aScene("native", "refuses");
    vi.advanceTimersByTime(1000);
    expect([del(), del()]).toEqual(["{}", PENDING]);
    vi.advanceTimersByTime(5000);
    expect(del()).toBe("{}");
    guest.reset();
    vi.advanceTimersByTime(60_000);
    expect(deleted).toEqual([]);
  });

  it("needs no guest for a device that none has seen", () => {
    const { del, deleted } = aScene("native", "not-running");
    expect(del()).toBe("{}");
    vi.advanceTimersByTime(50);
    expect(deleted).toEqual(["d1"]);
  });

  it("never gets a cold-plugged device from a guest that is not there", () => {
    const { del, deleted } = aScene("native", "not-running", { isHotplugged: false });
    del();
    vi.advanceTimersByTime(600_000);
    expect(deleted).toEqual([]);
  });

  it("begins its 5 s anew when the VM runs again: the guest's clock stood still", () => {
    const scene = aScene("native", "co-operative");
    vi.advanceTimersByTime(2000);
    scene.setRunState("paused");
    expect([scene.del(), scene.del()]).toEqual(["{}", PENDING]);
    scene.guest.stopped();
    vi.advanceTimersByTime(60_000);
    scene.setRunState("running");
    scene.guest.continued();
    vi.advanceTimersByTime(5900);
    expect(scene.deleted).toEqual([]);
    vi.advanceTimersByTime(200);
    expect(scene.deleted).toEqual(["d1"]);
  });

  it("forgets a pressed button at a reset; a new press works (recorded in 7-native-del-reset)", () => {
    const { guest, del, deleted } = aScene("native", "co-operative");
    vi.advanceTimersByTime(2000);
    del();
    guest.reset();
    vi.advanceTimersByTime(15_000);
    expect(deleted).toEqual([]);
    expect(del()).toBe("{}");
    vi.advanceTimersByTime(6000);
    expect(deleted).toEqual(["d1"]);
  });
});

describe("a function above 0 without function 0", () => {
  it("goes at once in native mode, whatever the guest does", () => {
    const scene = aScene("native", "refuses");
    const lone = scene.add("y1", 9);
    expect([scene.del(lone), scene.del(lone)]).toEqual(["{}", "{}"]);
    vi.advanceTimersByTime(50);
    expect(scene.deleted).toEqual(["y1"]);
  });

  it("waits for the guest in ACPI mode (tried in test/qemu/vm-cards.test.ts)", () => {
    const stubborn = aScene("acpi", "refuses");
    stubborn.del(stubborn.add("y1", 9));
    vi.advanceTimersByTime(60_000);
    expect(stubborn.deleted).toEqual([]);
    const willing = aScene("acpi", "co-operative");
    willing.del(willing.add("y1", 9));
    vi.advanceTimersByTime(100);
    expect(willing.deleted).toEqual(["y1"]);
  });
});
