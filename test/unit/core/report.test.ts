/** The world in the shape in which people and programs are told of it. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planResponse, statusResponse } from "../../../src/control/schema.js";
import type { Device } from "../../../src/core/device.js";
import { reportDevices } from "../../../src/core/device-report.js";
import { reportPlan, reportStatus, reportVm } from "../../../src/core/report.js";
import {
  aDevice,
  aLease,
  anAddress,
  aPolicy,
  aPort,
  aRule,
  aSelectRule,
  attached,
  aWorld,
  up,
} from "../../support/builders.js";

const gpu = aDevice("0000:01:00.0");
const nvidia = aRule("nvidia", { vendor: "10de" }, "a");
const known = { version: "1.2.3", pid: 7, startedAt: "2026-01-02T03:04:05.000Z" };
const about = {
  ...known,
  file: "/etc/rules.yaml",
  now: () => 1_000_000,
  wallTimeOf: (ms: number) => `wall ${ms}`,
};

function stateOf(world: Parameters<typeof reportDevices>[0], address: string): unknown {
  return reportDevices(world).find((device) => device.address === address)?.state;
}

describe("the report of a plan", () => {
  it("names each step with its devices, each hold with its sentence, each rule with its matches", () => {
    const policy = aPolicy([nvidia, aRule("ghost", { address: "0000:fe:00.0" }, "a")]);
    const down = { kind: "absent", sinceMs: 0, reason: "no such socket" } as const;
    const world = aWorld({ devices: [gpu], policy, vms: { a: down } });
    expect(reportPlan(world, "agent")).toEqual({
      schema: "pciplug-plan/1",
      source: "agent",
      steps: [],
      assignments: [{ address: gpu.address, vm: "a", rule: "nvidia" }],
      held: [
        {
          address: gpu.address,
          vm: "a",
          rule: "nvidia",
          reason: { kind: "vm-down", message: "a is not running (no such socket)" },
        },
      ],
      rules: [
        { name: "nvidia", mode: "batch", onNoMatch: "wait", matches: 1, got: 1 },
        { name: "ghost", mode: "batch", onNoMatch: "wait", matches: 0, got: 0 },
      ],
    });
  });

  it("holds nothing offline for the only reason that no VM could be asked", () => {
    const world = aWorld({ devices: [gpu], policy: aPolicy([nvidia]) });
    expect(reportPlan(world, "offline")).toMatchObject({ assignments: [{ vm: "a" }], held: [] });
    expect(reportPlan(world, "agent").held).toMatchObject([{ reason: { kind: "vm-unknown" } }]);
  });

  it("shows a rule that is short of everything, though there is no device to show for it", () => {
    const first = aSelectRule("first", { vendor: "10de" }, "a", { min: 1, max: 1 });
    const second = aSelectRule("second", { vendor: "10de" }, "b", { min: 1, max: 1 });
    const { held, rules } = reportPlan(
      aWorld({ devices: [gpu], policy: aPolicy([first, second]) }),
      "offline",
    );
    expect(held).toEqual([]);
    expect(rules).toMatchObject([
      { name: "first", got: 1 },
      { name: "second", got: 0, short: { needed: 1, found: 0, holders: ["a (rule first)"] } },
    ]);
  });

  it("marks what a VM keeps though a fresh start would decide otherwise", () => {
    const near = aDevice("0000:01:00.0");
    const far = aDevice("0000:02:00.0", { driver: "vfio-pci" });
    const policy = aPolicy([aSelectRule("one", { vendor: "10de" }, "a", { min: 1, max: 1 })]);
    const leases = [aLease(far, "a", { rule: "one" })];
    const world = aWorld({ devices: [near, far], policy, leases });
    expect(reportPlan(world, "agent").assignments).toEqual([
      { address: far.address, vm: "a", rule: "one", kept: "sticky" },
    ]);
    expect(reportPlan({ ...world, leases: new Map() }, "agent").assignments).toEqual([
      { address: near.address, vm: "a", rule: "one" },
    ]);
  });

  it("marks nothing while the inventory comes to rest, nor for neighbours that are only kept from drivers", () => {
    const card = aDevice("0000:01:00.0", { driver: "vfio-pci" });
    const neighbour = aDevice("0000:01:00.1", { driver: "vfio-pci", vendor: "8086" });
    const policy = aPolicy([aSelectRule("one", { vendor: "10de" }, "a", { min: 1, max: 1 })]);
    const leases = [aLease(card, "a", { rule: "one" }), aLease(neighbour, "a", { role: "companion" })];
    const world = aWorld({ devices: [card, neighbour], policy, leases }, { inventoryMovedMs: 1 });
    expect(reportPlan(world, "agent").assignments).toEqual([{ address: card.address, vm: "a", rule: "one" }]);
  });

  it("is the same, byte for byte, in whatever order the host was looked at", () => {
    const devices = [1, 2, 3, 4, 5, 6].flatMap((bus) => [
      aDevice(`0000:0${bus}:00.0`, { numaNode: bus % 2, vendor: bus < 5 ? "10de" : "15b3" }),
      aDevice(`0000:0${bus}:00.1`, { class: "040300", driver: bus % 3 === 0 ? "snd_hda_intel" : null }),
    ]);
    const policy = aPolicy([
      aSelectRule("two", { vendor: "10de", class: "vga" }, "a", { min: 1, max: 2 }),
      aSelectRule("rest", { class: "vga" }, "b", { min: 2, max: 9 }, { priority: 1 }),
      aRule("sound", { class: "audio", address: "*:0[1-3]:*" }, "b"),
      aRule("loud", { class: "audio", address: "*:0[2-4]:*" }, "c"),
    ]);
    const text = (list: readonly Device[]) =>
      JSON.stringify(reportPlan(aWorld({ devices: list, policy }), "offline"));
    fc.assert(
      fc.property(fc.shuffledSubarray(devices, { minLength: devices.length }), (shuffled) => {
        expect(text(shuffled)).toBe(text(devices));
      }),
      { numRuns: 200 },
    );
  });

  it("says what would be done first when the VM is up", () => {
    const world = aWorld({ devices: [gpu], policy: aPolicy([nvidia]), vms: { a: up() } });
    const { steps, held } = reportPlan(world, "agent");
    expect([steps[0], held]).toEqual([{ kind: "bind", vm: "a", addresses: [gpu.address] }, []]);
  });
});

describe("the report of a VM", () => {
  it("counts its ports and tells ours from what others attached", () => {
    const bound = aDevice("0000:01:00.0", { driver: "vfio-pci" });
    const world = aWorld({
      devices: [bound],
      policy: aPolicy([nvidia]),
      leases: [aLease(bound, "a")],
      vms: {
        a: up({
          ports: [aPort("rp0", { kind: "plugged", by: ["pciplug-0000-01-00.0"] }), aPort("rp1")],
          attached: [attached("0000:01:00.0"), attached("0000:09:00.0", "rp1", { id: "gpu9" })],
        }),
      },
    });
    expect(reportVm(world, "a")).toMatchObject({
      name: "a",
      state: "up",
      runState: "running",
      pid: 4711,
      ports: { free: 1, plugged: 1, unusable: 0 },
      attached: [
        { address: "0000:01:00.0", ours: true },
        { address: "0000:09:00.0", id: "gpu9", ours: false },
      ],
    });
  });

  it("says why there is none", () => {
    const reason = "no such socket";
    const world = aWorld({ vms: { a: { kind: "absent", sinceMs: 0, reason } } });
    expect(reportVm(world, "a")).toEqual({ name: "a", state: "absent", reason, attached: [] });
    expect(reportVm(world, "b")).toEqual({ name: "b", state: "unknown", attached: [] });
  });
});

describe("the report of devices", () => {
  const bound = aDevice("0000:01:00.0", { driver: "vfio-pci" });
  const policy = aPolicy([nvidia]);

  it("leaves out what no rule names, nobody leases and no VM has", () => {
    const nic = aDevice("0000:05:00.0", { vendor: "8086", class: "020000" });
    const world = aWorld({ devices: [gpu, nic], policy, vms: { a: up() } });
    expect(reportDevices(world).map((device) => device.address)).toEqual([gpu.address]);
  });

  it("says how far each one is on its way", () => {
    const leases = [aLease(bound, "a")];
    const inVm = { a: up({ attached: [attached("0000:01:00.0")] }) };
    const foreign = { a: up({ attached: [attached("0000:01:00.0", "rp0", { id: "gpu0" })] }) };
    expect(stateOf(aWorld({ devices: [gpu], policy, vms: { a: up() } }), "0000:01:00.0")).toBe("waiting");
    expect(stateOf(aWorld({ devices: [gpu], policy }), "0000:01:00.0")).toBe("held");
    expect(stateOf(aWorld({ devices: [bound], policy, leases, vms: { a: up() } }), "0000:01:00.0")).toBe(
      "bound",
    );
    expect(stateOf(aWorld({ devices: [bound], policy, leases, vms: inVm }), "0000:01:00.0")).toBe("attached");
    expect(stateOf(aWorld({ devices: [bound], policy, vms: foreign }), "0000:01:00.0")).toBe("foreign");
  });

  it("gives null for what is not known, never a guess", () => {
    const bare = { address: anAddress("0000:01:00.0"), appearance: "x", driver: null, iommuGroup: null };
    const world = aWorld({ devices: [bare], policy: aPolicy([aRule("any", { address: "*:01:00.0" }, "a")]) });
    expect(reportDevices(world)[0]).toMatchObject({ vendor: null, device: null, class: null, driver: null });
  });
});

describe("what the control socket gives", () => {
  it("is what its own schema accepts, and nothing is lost on the way", () => {
    const bound = aDevice("0000:01:00.0", { driver: "vfio-pci" });
    const world = aWorld(
      {
        devices: [bound, aDevice("0000:02:00.0")],
        policy: aPolicy([nvidia]),
        leases: [aLease(bound, "a")],
        vms: { a: up({ attached: [attached("0000:01:00.0")] }) },
      },
      { sources: new Map([["rescan", { kind: "up", detail: "every 30000 ms" }]]) },
    );
    const status = reportStatus(world, about);
    expect(statusResponse.parse(status)).toEqual(status);
    expect(status.agent).toEqual({ ...known, bootId: "boot-1", mode: world.mode });
    const plan = reportPlan(world, "agent");
    expect(planResponse.parse(plan)).toEqual(plan);
  });

  it("names the policy, and why the file as it is now was not taken", () => {
    const policy = aPolicy([nvidia]);
    const world = aWorld({ policy }, { policyLoadedMs: 5 });
    const { refused, ...inForce } = { ...reportStatus(world, about).policy };
    expect(inForce).toEqual({ file: "/etc/rules.yaml", version: policy.version, loadedAt: "wall 5" });
    expect(refused).toBeNull();
    const refusal = { atMs: 9, reasons: ["rules.yaml:1:1: is empty"] };
    const after = reportStatus({ ...world, policyRefusal: refusal }, about);
    expect(after.policy?.refused).toEqual({ at: "wall 9", reasons: refusal.reasons });
    expect(statusResponse.parse(after)).toEqual(after);
    expect(reportStatus(aWorld(), about).policy).toBeNull();
  });
});
