/** Taking a device to vfio-pci and giving it back, on a small kernel whose every write can go wrong. */
import { existsSync } from "node:fs";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Lease, OriginalState } from "../../src/core/lease.js";
import { bindToVfio, setCompanionOverride } from "../../src/host/bind.js";
import type { HostDeed } from "../../src/host/host-write.js";
import { readOriginal } from "../../src/host/identity.js";
import { release } from "../../src/host/release.js";
import { readAppearance } from "../../src/host/sysfs-link.js";
import { aDevice, aLease } from "../support/builders.js";
import { FakeKernel } from "../support/kernel.js";
import { aFolder, aSysfs, type SysfsDevice } from "../support/sysfs.js";

const CARD = "0000:01:00.0";
const OVERRIDE = `sys/bus/pci/devices/${CARD}/driver_override`;
const PROBE = "sys/bus/pci/drivers_probe";

interface Scene {
  readonly kernel: FakeKernel;
  readonly lease: Lease;
}

/** One card, native to e1000e, and its lease. */
function scene(facts: Partial<SysfsDevice> = {}, lease: Partial<Lease> = {}): Scene {
  const driver = facts.driver === undefined ? "e1000e" : facts.driver;
  const sysfs = aSysfs(aFolder(onTestFinished)).driver("e1000e").driver("vfio-pci");
  sysfs.device({ address: CARD, ...facts, driver });
  const kernel = new FakeKernel(sysfs);
  kernel.native.set(CARD, "e1000e");
  const appearance = readAppearance(sysfs.root, sysfs.address(CARD)) ?? "";
  const original: OriginalState = { driver, override: facts.override ?? null };
  return { kernel, lease: aLease(aDevice(CARD, { appearance }), "vm-a", { original, ...lease }) };
}

function state({ kernel }: Scene): { driver: string | null; override: string } {
  return { driver: kernel.sysfs.driverOf(CARD), override: kernel.override(CARD) };
}

function hasNode({ kernel }: Scene): boolean {
  return existsSync(kernel.sysfs.root.vfioNode(1));
}

const free = { driver: null, override: "(null)" };
const onHost = { driver: "e1000e", override: "(null)" };
const onVfio = { driver: "vfio-pci", override: "vfio-pci" };

describe("binding", () => {
  it("writes override, unbind and probe in this order, each announced before", async () => {
    const { kernel, lease } = scene();
    const seen: string[] = [];
    const announce = async ({ path }: { path: string }): Promise<void> => {
      seen.push(`${kernel.writes.length} ${path.slice(kernel.sysfs.dir.length + 1)}`);
    };
    expect(await bindToVfio(kernel.context({ announce }), lease)).toEqual({ kind: "done" });
    expect(kernel.writes).toEqual([
      { path: OVERRIDE, text: "vfio-pci\n" },
      { path: "sys/bus/pci/drivers/e1000e/unbind", text: `${CARD}\n` },
      { path: PROBE, text: `${CARD}\n` },
    ]);
    expect(seen).toEqual([`0 ${OVERRIDE}`, "1 sys/bus/pci/drivers/e1000e/unbind", `2 ${PROBE}`]);
    expect(state({ kernel, lease })).toEqual(onVfio);
  });

  it("does not unbind a driverless device, and writes nothing when it is on vfio-pci already", async () => {
    const loose = scene({ driver: null });
    expect(await bindToVfio(loose.kernel.context(), loose.lease)).toEqual({ kind: "done" });
    expect(loose.kernel.writes.map((write) => write.path)).toEqual([OVERRIDE, PROBE]);
    const before = loose.kernel.writes.length;
    expect(await bindToVfio(loose.kernel.context(), loose.lease)).toEqual({ kind: "done" });
    expect(loose.kernel.writes).toHaveLength(before);
  });

  it("waits for the node of the IOMMU group, and goes back when it does not come", async () => {
    const { kernel, lease } = scene();
    kernel.groupOf.set(CARD, 99);
    const deed = await bindToVfio(kernel.context(), lease);
    expect(deed).toMatchObject({ kind: "failed", code: "host.no-vfio-node" });
    expect(state({ kernel, lease })).toEqual(onHost);
  });

  it("goes back when vfio-pci does not take the device, although the probe says success", async () => {
    const { kernel, lease } = scene();
    kernel.unwilling.add("vfio-pci");
    expect(await bindToVfio(kernel.context(), lease)).toMatchObject({
      kind: "failed",
      code: "host.not-bound",
      undone: [`driver_override of ${CARD}`, `driver e1000e of ${CARD}`],
    });
    expect(state({ kernel, lease })).toEqual(onHost);
  });

  it("writes nothing to another card at the same address, nor to one without an IOMMU group", async () => {
    const { kernel, lease } = scene();
    const other = await bindToVfio(kernel.context(), { ...lease, appearance: "1" });
    expect(other).toMatchObject({ kind: "failed", code: "host.card-changed", undone: [] });
    const loner = scene({ iommuGroup: null });
    const deed = await bindToVfio(loner.kernel.context(), loner.lease);
    expect(deed).toMatchObject({ kind: "failed", code: "host.no-iommu-group" });
    expect([...kernel.writes, ...loner.kernel.writes]).toEqual([]);
  });

  it("stops when the card is swapped between two writes", async () => {
    const { kernel, lease } = scene();
    const announce = async ({ path }: { path: string }): Promise<void> => {
      if (path.endsWith("drivers_probe")) {
        kernel.sysfs.unplug(CARD).device({ address: CARD });
      }
    };
    const deed = await bindToVfio(kernel.context({ announce }), lease);
    expect(deed).toMatchObject({ kind: "failed", code: "host.card-changed", undone: [] });
    expect(kernel.writes.map((write) => write.path)).not.toContain(PROBE);
    expect(state({ kernel, lease })).toEqual(free);
  });

  it("loads the module when the driver is missing, and refuses clearly when it cannot be had", async () => {
    const { kernel, lease } = scene();
    const context = kernel.context({
      loadModule: async (name) => {
        kernel.sysfs.driver(name);
        return { kind: "done", text: "" };
      },
    });
    expect(await bindToVfio(context, lease, "mlx5_vfio_pci")).toEqual({ kind: "done" });
    expect(kernel.announced[0]?.text).toBe("modprobe mlx5_vfio_pci");
    const deed = await bindToVfio(kernel.context(), lease, "nvgrace_gpu_vfio_pci");
    expect(deed).toMatchObject({
      code: "host.no-vfio-driver",
      detail: expect.stringMatching(/no driver nvgrace_gpu_vfio_pci.*no such module/),
    });
  });

  it("does not write what could not be written down, but still goes back", async () => {
    const { kernel, lease } = scene();
    let left = 2;
    const announce = async (): Promise<void> => {
      left -= 1;
      if (left < 0) {
        throw new Error("disk full");
      }
    };
    const deed = await bindToVfio(kernel.context({ announce }), lease);
    expect(deed).toMatchObject({
      kind: "failed",
      code: "host.not-announced",
      detail: expect.stringMatching(/disk full; on the way back not written down: .*driver_override/),
    });
    expect(state({ kernel, lease })).toEqual(onHost);
  });
});

describe("whatever write fails while binding", () => {
  it.each([
    ["e1000e", "failed"],
    ["e1000e", "swallowed"],
    [null, "failed"],
    [null, "swallowed"],
  ] as const)("from driver %s (%s): the device is on vfio-pci or back where it was", async (driver, how) => {
    for (let at = 0; at < 6; at += 1) {
      const stage = scene({ driver });
      stage.kernel.fault = { at, how };
      const deed = await bindToVfio(stage.kernel.context(), stage.lease);
      const expected = deed.kind === "done" ? onVfio : driver === null ? free : onHost;
      expect({ at, ...state(stage) }).toEqual({ at, ...expected });
    }
  });

  it("what is reported as undone is undone, also when undoing fails", async () => {
    for (let at = 3; at < 8; at += 1) {
      const stage = scene();
      stage.kernel.unwilling.add("vfio-pci");
      stage.kernel.fault = { at, how: "failed" };
      const deed = await bindToVfio(stage.kernel.context(), stage.lease);
      expectTruth(deed, stage);
    }
  });

  it("a write that hangs ends it at once: one child lost, nothing more written", async () => {
    for (let at = 0; at < 3; at += 1) {
      const stage = scene();
      stage.kernel.fault = { at, how: "stuck" };
      const deed = await bindToVfio(stage.kernel.context(), stage.lease);
      expect(deed).toMatchObject({ kind: "stuck", pid: 4711, undone: [] });
      expect(stage.kernel.writes).toHaveLength(at + 1);
    }
  });
});

/** Every claim in `undone` against what sysfs shows. */
function expectTruth(deed: HostDeed, stage: Scene): void {
  const undone = deed.kind === "done" ? [] : deed.undone;
  const { driver, override } = state(stage);
  const original = stage.lease.original;
  if (undone.includes(`driver_override of ${CARD}`)) {
    expect(override).toBe(original?.override ?? "(null)");
  }
  if (undone.some((what) => what.startsWith("driver ("))) {
    expect(driver).toBeNull();
  }
  if (undone.includes(`driver e1000e of ${CARD}`)) {
    expect(driver).toBe("e1000e");
  }
}

describe("releasing", () => {
  it("is the exact way back, in an order that works", async () => {
    const stage = scene();
    await bindToVfio(stage.kernel.context(), stage.lease);
    const from = stage.kernel.writes.length;
    expect(await release(stage.kernel.context(), stage.lease)).toEqual({ kind: "done" });
    expect(stage.kernel.writes.slice(from)).toEqual([
      { path: OVERRIDE, text: "\n" },
      { path: "sys/bus/pci/drivers/vfio-pci/unbind", text: `${CARD}\n` },
      { path: PROBE, text: `${CARD}\n` },
    ]);
    expect(state(stage)).toEqual(onHost);
    expect(hasNode(stage)).toBe(false);
  });

  it.each<[string, OriginalState | null, { driver: string | null; override: string }]>([
    ["driverless", { driver: null, override: null }, free],
    ["on its driver", { driver: "e1000e", override: null }, onHost],
    ["on vfio-pci already", { driver: "vfio-pci", override: "vfio-pci" }, onVfio],
    ["on vfio-pci by new_id", { driver: "vfio-pci", override: null }, { ...onVfio, override: "(null)" }],
    ["kept for another driver", { driver: null, override: "none" }, { driver: null, override: "none" }],
    ["never known", null, onHost],
  ])("gives back a device that was %s", async (_, original, expected) => {
    const stage = scene({ driver: null }, { original });
    await bindToVfio(stage.kernel.context(), stage.lease);
    expect(await release(stage.kernel.context(), stage.lease)).toEqual({ kind: "done" });
    expect(state(stage)).toEqual(expected);
  });

  it("restores an override that names the original driver", async () => {
    const stage = scene({ override: "e1000e" });
    await bindToVfio(stage.kernel.context(), stage.lease);
    expect(await release(stage.kernel.context(), stage.lease)).toEqual({ kind: "done" });
    expect(state(stage)).toEqual({ driver: "e1000e", override: "e1000e" });
  });

  it("asks the original driver by name when the probe passes it over", async () => {
    const stage = scene();
    await bindToVfio(stage.kernel.context(), stage.lease);
    stage.kernel.fault = { at: stage.kernel.writes.length + 2, how: "swallowed" };
    expect(await release(stage.kernel.context(), stage.lease)).toEqual({ kind: "done" });
    expect(stage.kernel.writes.at(-1)?.path).toBe("sys/bus/pci/drivers/e1000e/bind");
    expect(state(stage)).toEqual(onHost);
  });

  it("leaves alone a driver that somebody else has bound meanwhile", async () => {
    const stage = scene();
    stage.kernel.sysfs.driver("other").bind(CARD, "other");
    expect(await release(stage.kernel.context(), stage.lease)).toEqual({ kind: "done" });
    expect(state(stage)).toEqual({ driver: "other", override: "(null)" });
    expect(stage.kernel.writes.map((write) => write.path)).toEqual([OVERRIDE]);
  });

  it("says so when the original driver does not take the device back", async () => {
    const stage = scene();
    await bindToVfio(stage.kernel.context(), stage.lease);
    stage.kernel.unwilling.add("e1000e");
    const deed = await release(stage.kernel.context(), stage.lease);
    expect(deed).toMatchObject({ code: "host.not-restored", undone: [`driver_override of ${CARD}`] });
    expect(state(stage)).toEqual(free);
  });

  it("writes nothing when another card stands there, or none", async () => {
    const stage = scene();
    stage.kernel.sysfs.unplug(CARD);
    expect(await release(stage.kernel.context(), stage.lease)).toMatchObject({ code: "host.card-changed" });
    stage.kernel.sysfs.device({ address: CARD });
    expect(await release(stage.kernel.context(), stage.lease)).toMatchObject({ code: "host.card-changed" });
    expect(stage.kernel.writes).toEqual([]);
  });

  it("can be repeated after any write that failed or hung, and then is complete", async () => {
    for (const how of ["failed", "stuck", "swallowed"] as const) {
      for (let at = 0; at < 4; at += 1) {
        const stage = scene();
        await bindToVfio(stage.kernel.context(), stage.lease);
        stage.kernel.fault = { at: stage.kernel.writes.length + at, how };
        const deed = await release(stage.kernel.context(), stage.lease);
        expectTruth(deed, stage);
        if (deed.kind === "done") {
          expect(state(stage)).toEqual(onHost);
        }
        stage.kernel.fault = null;
        expect(await release(stage.kernel.context(), stage.lease)).toEqual({ kind: "done" });
        expect(state(stage)).toEqual(onHost);
      }
    }
  });

  it("names who holds the device when a write hangs", async () => {
    const stage = scene();
    await bindToVfio(stage.kernel.context(), stage.lease);
    stage.kernel.sysfs.rawLink("proc/4242/fd/9", "/dev/vfio/1");
    stage.kernel.fault = { at: stage.kernel.writes.length + 1, how: "stuck" };
    expect(await release(stage.kernel.context(), stage.lease)).toMatchObject({
      kind: "stuck",
      detail: expect.stringMatching(/IOMMU group 1 is held by process 4242$/),
    });
  });
});

describe("a companion", () => {
  it("only gets an override, which is taken away again", async () => {
    const stage = scene({ driver: null }, { role: "companion" });
    expect(await setCompanionOverride(stage.kernel.context(), stage.lease)).toEqual({ kind: "done" });
    expect(state(stage)).toEqual({ driver: null, override: "vfio-pci" });
    expect(await release(stage.kernel.context(), stage.lease)).toEqual({ kind: "done" });
    expect(state(stage)).toEqual(free);
    expect(stage.kernel.writes.map((write) => write.path)).toEqual([OVERRIDE, OVERRIDE]);
  });

  it("is refused when it has a driver, and put back when one slips in", async () => {
    const bound = scene();
    const refused = await setCompanionOverride(bound.kernel.context(), bound.lease);
    expect(refused).toMatchObject({ code: "host.companion-bound", undone: [] });
    expect(bound.kernel.writes).toEqual([]);
    const racing = scene({ driver: null });
    const announce = async (): Promise<void> => {
      racing.kernel.sysfs.bind(CARD, "e1000e");
    };
    const deed = await setCompanionOverride(racing.kernel.context({ announce }), racing.lease);
    expect(deed).toMatchObject({ code: "host.companion-bound", undone: [`driver_override of ${CARD}`] });
    expect(state(racing)).toEqual(onHost);
  });
});

describe("what a device was", () => {
  it("is its driver and its override", async () => {
    const { kernel } = scene({ override: "e1000e" });
    const original = await readOriginal(kernel.sysfs.root, kernel, kernel.sysfs.address(CARD), 100);
    expect(original).toEqual({ driver: "e1000e", override: "e1000e" });
  });

  it("is an error when the kernel does not say it in time", async () => {
    const { kernel } = scene();
    const io = { ...kernel, read: async () => ({ kind: "stuck", pid: 1, detail: "no answer" }) as const };
    const reading = readOriginal(
      kernel.sysfs.root,
      Object.assign(Object.create(kernel), io),
      kernel.sysfs.address(CARD),
      100,
    );
    await expect(reading).rejects.toMatchObject({ code: "host.stuck" });
  });
});
