/** The world in the shape in which people and programs are told of it. */
import { describe, expect, it } from "vitest";
import { planResponse, statusResponse } from "../../../src/control/schema.js";
import { reportDevices, reportPlan, reportStatus, reportVm } from "../../../src/core/report.js";
import {
  aDevice,
  aLease,
  anAddress,
  aPolicy,
  aPort,
  aRule,
  attached,
  aWorld,
  up,
} from "../../support/builders.js";

const gpu = aDevice("0000:01:00.0");
const nvidia = aRule("nvidia", { vendor: "10de" }, "a");
const known = { version: "1.2.3", pid: 7, startedAt: "2026-01-02T03:04:05.000Z" };
const about = { ...known, file: "/etc/rules.yaml", wallTimeOf: (ms: number) => `wall ${ms}` };

function stateOf(world: Parameters<typeof reportDevices>[0], address: string): unknown {
  return reportDevices(world).find((device) => device.address === address)?.state;
}

describe("the report of a plan", () => {
  it("names each step with its devices, each hold with its sentence, each rule with its matches", () => {
    const policy = aPolicy([nvidia, aRule("ghost", { address: "0000:fe:00.0" }, "a")]);
    const down = { kind: "absent", sinceMs: 0, reason: "no such socket" } as const;
    const world = aWorld({ devices: [gpu], policy, vms: { a: down } });
    expect(reportPlan(world, "offline")).toEqual({
      schema: "pciplug-plan/1",
      source: "offline",
      steps: [],
      held: [
        {
          address: gpu.address,
          vm: "a",
          rule: "nvidia",
          reason: { kind: "vm-down", message: "a is not running (no such socket)" },
        },
      ],
      rules: [
        { name: "nvidia", matches: 1 },
        { name: "ghost", matches: 0 },
      ],
    });
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
