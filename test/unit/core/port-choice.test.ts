/** Which port a device goes into: fixed, remembered, roomy; and what never goes there at once. */
import { describe, expect, it } from "vitest";
import type { Device } from "../../../src/core/device.js";
import { identityOf } from "../../../src/core/device.js";
import { describeHeld } from "../../../src/core/held-text.js";
import { NO_INTENTS, type PortPreference } from "../../../src/core/intent.js";
import { plan } from "../../../src/core/plan.js";
import type { RuleTraits } from "../../../src/core/policy.js";
import { reduce } from "../../../src/core/reduce.js";
import type { Signal } from "../../../src/core/signal.js";
import type { Outcome, Step, StepOf } from "../../../src/core/step.js";
import type { Port, VmStatus, VmView } from "../../../src/core/vm.js";
import type { World } from "../../../src/core/world.js";
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
import { runToRest } from "../../support/perfect.js";

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const gpu = anAddress("0000:65:00.0");
const sound = anAddress("0000:65:00.1");
const nic = anAddress("0000:66:00.0");

function bound(address: string, facts: Partial<Omit<Device, "address">> = {}): Device {
  return aDevice(address, { driver: "vfio-pci", lent: { driver: "nouveau" }, ...facts });
}

/** A world in which everything is bound already, so that the next step of each unit is its attach. */
function ready(
  devices: readonly Device[],
  traits: Partial<RuleTraits> = {},
  view: Partial<VmView> = {},
  more: Partial<World> = {},
): World {
  const rules = [aRule("r", { address: "*" }, "a", traits)];
  const leases = devices.map((device) => aLease(device, "a"));
  return aWorld({ devices, policy: aPolicy(rules), vms: { a: up(view) }, leases }, more);
}

function attaches(world: World): readonly StepOf<"attach">[] {
  return plan(world, "a").steps.flatMap((step) => (step.kind === "attach" ? [step] : []));
}

function places(world: World): readonly string[] {
  return attaches(world).flatMap(({ placements }) =>
    placements.map(({ address, bus, addr, isMultifunction }) =>
      [address, bus, addr, ...(isMultifunction === true ? ["multifunction"] : [])].join(" "),
    ),
  );
}

function heldSentences(world: World): readonly string[] {
  return plan(world, "a").held.map(({ reason }) => describeHeld(reason));
}

function preference(device: Device, bus: string, facts: Partial<PortPreference> = {}): PortPreference {
  const { address } = device;
  return { vm: "a", address, serial: null, identity: identityOf(device), bus, addr: "0", ...facts };
}

function remembering(...ports: readonly PortPreference[]): Partial<World> {
  return { intents: { ...NO_INTENTS, ports } };
}

describe("the port of a device", () => {
  it("is the one that it had before in this VM", () => {
    const device = bound(gpu);
    expect(places(ready([device], {}, {}, remembering(preference(device, "rp2"))))).toEqual([`${gpu} rp2 0`]);
    const elsewhere = remembering(preference(device, "rp2", { vm: "b" }));
    expect(places(ready([device], {}, {}, elsewhere))).toEqual([`${gpu} rp0 0`]);
  });

  it("is another free one while that is taken, and not one that others are used to where it can be helped", () => {
    const device = bound(gpu);
    const taken = { ports: [aPort("rp0"), aPort("rp1"), aPort("rp2", { kind: "plugged", by: ["x"] })] };
    const others = remembering(preference(device, "rp2"), preference(aDevice(nic), "rp0"));
    expect(places(ready([device], {}, taken, others))).toEqual([`${gpu} rp1 0`]);
    expect(places(ready([device], {}, { ports: [aPort("rp0")] }, others))).toEqual([`${gpu} rp0 0`]);
  });

  it("follows a card by its serial number, and no other card by its address", () => {
    const moved = bound(nic, { serial: "S1" });
    const known = preference(aDevice(gpu), "rp2", { serial: "S1" });
    expect(places(ready([moved], {}, {}, remembering(known)))).toEqual([`${nic} rp2 0`]);
    const twin = bound(gpu, { serial: "S2" });
    expect(places(ready([twin], {}, {}, remembering(known)))).toEqual([`${gpu} rp0 0`]);
    const other = bound(gpu, { device: "1eb8" });
    expect(places(ready([other], {}, {}, remembering(preference(aDevice(gpu), "rp2"))))).toEqual([
      `${gpu} rp0 0`,
    ]);
  });

  it("is learnt with every attach, once, and found again after a reboot of the host", () => {
    const device = bound(gpu);
    const first = runToRest(ready([device], { port: "rp2" })).world;
    expect(first.intents.ports).toEqual([preference(device, "rp2")]);
    const rebooted = bound(gpu, { appearance: "inode-of-another-boot" });
    const next = ready([rebooted], {}, {}, { intents: first.intents });
    expect(places(next)).toEqual([`${gpu} rp2 0`]);
    expect(runToRest(next).world.intents).toBe(first.intents);
  });

  it("is learnt from a device that is adopted", () => {
    const device = bound(gpu);
    const world = aWorld({
      devices: [device],
      policy: aPolicy([aRule("r", { address: "*" }, "a")]),
      vms: { a: up({ attached: [attached(gpu, "rp1")] }) },
    });
    expect(runToRest(world).world.intents.ports).toEqual([preference(device, "rp1")]);
  });

  it("is left to the rule that names it, as long as there is another", () => {
    const rules = [
      aRule("any", { address: gpu }, "a"),
      aRule("fixed", { address: nic }, "a", { port: "rp0" }),
    ];
    const devices = [bound(gpu), bound(nic)];
    const leases = devices.map((device) => aLease(device, "a"));
    const world = aWorld({ devices, policy: aPolicy(rules), vms: { a: up() }, leases });
    expect(places(world)).toEqual([`${gpu} rp1 0`, `${nic} rp0 0`]);
  });

  it.each([
    ["it does not exist", [aPort("rp0")], "there is no such port"],
    ["it is taken", [aPort("rp0"), aPort("rp9", { kind: "plugged", by: ["disk"] })], "it holds disk"],
    [
      "it is of no use",
      [aPort("rp0"), aPort("rp9", { kind: "unusable", reason: "hotplug=off" })],
      "hotplug=off",
    ],
  ])("is waited for where its rule names it and %s", (_, ports, why) => {
    expect(heldSentences(ready([bound(gpu)], { port: "rp9" }, { ports }))).toEqual([
      `port rp9 of a, which its rule names, is not free: ${why}`,
    ]);
  });

  it("is a slot of its own for each device on a conventional bus", () => {
    const slots: Port[] = ["4", "5"].map((addr) => ({ ...aPort("pci.0"), type: "i440FX-pcihost", addr }));
    const world = ready([bound(gpu), bound(nic)], { port: "pci.0" }, { ports: slots });
    expect(places(world)).toEqual([`${gpu} pci.0 4`, `${nic} pci.0 5`]);
  });
});

describe("address space for BARs", () => {
  const reserved = (bus: string, memory: number | null, prefetchable: number | null): Port => ({
    ...aPort(bus),
    reserve: { memory, prefetchable },
  });
  const big = bound(gpu, { memory: 16 * GIB + 16 * MIB, prefetchable: 16 * GIB });
  const small = bound(nic, { memory: MIB, prefetchable: MIB });

  it("is looked for before the add, and what the port would need is said exactly", () => {
    const ports = [reserved("rp0", null, null), reserved("rp1", null, 4 * GIB)];
    expect(heldSentences(ready([big], {}, { ports }))).toEqual([
      "no free port of a has room for its BARs: start the VM with mem-reserve=16M,pref64-reserve=16G at port rp1, or write acceptNoRoom: true at the rule",
    ]);
    expect(places(ready([small], {}, { ports }))).toEqual([`${nic} rp0 0`]);
  });

  it("is had in a port with exactly that reserve, which small devices leave alone", () => {
    const ports = [reserved("rp0", 16 * MIB, 16 * GIB), reserved("rp1", null, null)];
    expect(places(ready([big, small], {}, { ports }))).toEqual([`${gpu} rp0 0`, `${nic} rp1 0`]);
    expect(places(ready([small], {}, { ports }))).toEqual([`${nic} rp1 0`]);
  });

  it("is a bar to a fixed and to a remembered port too", () => {
    const ports = [reserved("rp0", null, null), reserved("rp1", 16 * MIB, 16 * GIB)];
    expect(heldSentences(ready([big], { port: "rp0" }, { ports }))[0]).toMatch(/at port rp0/);
    const used = remembering(preference(big, "rp0"));
    expect(places(ready([big], {}, { ports }, used))).toEqual([`${gpu} rp1 0`]);
  });

  it.each([
    ["the rule accepts it", { acceptNoRoom: true }, {}, reserved("rp0", null, null)],
    ["the guest makes windows larger", {}, {}, { ...reserved("rp0", null, null), mode: "native" as const }],
    ["another firmware decides", {}, { hasOwnFirmware: false }, reserved("rp0", null, null)],
    ["the port has no such properties", {}, {}, aPort("rp0")],
  ])("is not asked for where %s", (_, traits, view, port) => {
    expect(places(ready([big], traits, { ports: [port], ...view }))).toEqual([`${gpu} rp0 0`]);
  });

  it("counts for all functions that share a port", () => {
    const pair = [gpu, sound].map((address) => bound(address, { iommuGroup: 5, memory: 2 * MIB }));
    const ports = [reserved("rp0", null, null), reserved("rp1", null, null)];
    expect(places(ready(pair, { unit: "card" }, { ports }))).toHaveLength(2);
    expect(heldSentences(ready(pair, { unit: "card", plug: "card" }, { ports }))[0]).toMatch(
      /mem-reserve=4M /,
    );
  });
});

describe("a card in one port", () => {
  const traits = { unit: "card", plug: "card" } as const;
  const pair = [gpu, sound].map((address) => bound(address, { iommuGroup: 5 }));

  it("goes in with function 0 last", () => {
    expect(places(ready(pair, traits))).toEqual([`${sound} rp0 0.1`, `${gpu} rp0 0.0 multifunction`]);
    expect(places(ready(pair, { unit: "card" }))).toEqual([`${gpu} rp0 0`, `${sound} rp1 0`]);
  });

  it("has a function 0 also where the host's own stays behind", () => {
    const rest = ["0000:65:00.1", "0000:65:00.2"].map((address) => bound(address, { iommuGroup: 5 }));
    expect(places(ready(rest, traits))).toEqual([
      "0000:65:00.2 rp0 0.2",
      "0000:65:00.1 rp0 0.0 multifunction",
    ]);
  });

  it("is one also where its functions are in IOMMU groups of their own: all are bound before any is attached", () => {
    const apart = [gpu, sound].map((address, index) => aDevice(address, { iommuGroup: 5 + index }));
    const rules = [aRule("r", { address: "*" }, "a", traits)];
    const world = aWorld({ devices: apart, policy: aPolicy(rules), vms: { a: up() } });
    const { steps, world: there } = runToRest(world);
    expect(steps.map(({ kind }) => kind)).toEqual(["bind", "bind", "attach"]);
    expect(steps.at(-1)).toMatchObject({ iommuGroups: [5, 6] });
    const { view } = there.vms.get("a") as Extract<VmStatus, { kind: "up" }>;
    expect(view.attached.map(({ address, bus, devfn }) => [address, bus, devfn])).toEqual([
      [sound, "rp0", 1],
      [gpu, "rp0", 0],
    ]);
    const left = runToRest({ ...there, policy: aPolicy([], { version: "v2" }), isDetachConfirmed: true });
    expect(left.steps.map(({ kind }) => kind)).toEqual(["detach", "release", "release"]);
  });

  it("waits whole while one of its IOMMU groups rests after a failure", () => {
    const apart = [gpu, sound].map((address, index) => bound(address, { iommuGroup: 5 + index }));
    const world = ready(apart, traits);
    const step: Step = {
      kind: "bind",
      vm: "a",
      rule: "r",
      iommuGroup: 6,
      members: [sound],
      companions: [],
      bystanders: [],
      terms: {},
    };
    const failed = reduce(world, {
      kind: "step-ended",
      atMs: 1_000_001,
      lane: "a",
      step,
      outcome: { kind: "failed", code: "host.bind", detail: "busy" },
    });
    expect(plan(failed, "a").steps).toEqual([]);
    expect(plan(failed, "a").held.map(({ address, reason }) => [address, reason.kind])).toEqual([
      [gpu, "backing-off"],
      [sound, "backing-off"],
    ]);
  });

  it("is one device to count: one port is enough", () => {
    expect(attaches(ready(pair, traits, { ports: [aPort("rp0")] }))).toHaveLength(1);
    expect(heldSentences(ready(pair, { unit: "card" }, { ports: [aPort("rp0")] }))[0]).toMatch(/2 needed/);
  });

  it("is completed where an attach was interrupted before function 0", () => {
    const begun = {
      ports: [aPort("rp0"), aPort("rp1", { kind: "plugged", by: ["x"] })],
      attached: [attached(sound, "rp1", { devfn: 1 })],
    };
    expect(places(ready(pair, traits, begun))).toEqual([`${gpu} rp1 0.0 multifunction`]);
  });

  it("that was not taken whole is asked back again and again, and waits until it has left", () => {
    const begun = {
      ports: [aPort("rp0"), aPort("rp1", { kind: "plugged", by: ["x"] })],
      attached: [attached(sound, "rp1", { devfn: 1 })],
    };
    const step: Step = {
      kind: "detach",
      vm: "a",
      id: attached(sound).id ?? "",
      address: sound,
      why: "refused",
    };
    const pending = reduce(ready(pair, traits, begun), {
      kind: "step-ended",
      atMs: 1_000_001,
      lane: "a",
      step,
      outcome: { kind: "pending" },
    });
    expect(plan(pending, "a").steps).toEqual([]);
    expect(new Set(plan(pending, "a").held.map(({ reason }) => reason.kind))).toEqual(
      new Set(["unplug-pending"]),
    );
    const due = { ...pending, nowMs: pending.nowMs + 60_000 };
    expect(plan(due, "a").steps).toMatchObject([{ kind: "detach", address: sound }]);
    const gone = reduce(due, { kind: "vm-seen", atMs: due.nowMs, vm: "a", status: up() });
    expect(places(gone)).toEqual([`${sound} rp0 0.1`, `${gpu} rp0 0.0 multifunction`]);
  });

  it("gets no more functions once the guest knows it: they find ports of their own", () => {
    const known = {
      ports: [aPort("rp0"), aPort("rp1", { kind: "plugged", by: ["x"] })],
      attached: [attached(gpu, "rp1", { devfn: 0 })],
    };
    expect(places(ready(pair, traits, known))).toEqual([`${sound} rp0 0`]);
  });

  it("leaves by one request, and none of its functions counts as ejected by the guest", () => {
    const inside = runToRest(ready(pair, traits)).world;
    const left = runToRest({ ...inside, policy: aPolicy([], { version: "v2" }), isDetachConfirmed: true });
    expect(left.steps.map(({ kind }) => kind)).toEqual(["detach", "release", "release"]);
    expect(left.world.holds).toEqual([]);
  });

  it("stays whole while the VM is to keep one of its functions", () => {
    const inside = runToRest(ready(pair, traits)).world;
    const policy = aPolicy([aRule("r", { address: gpu }, "a")], { version: "v2" });
    const next = { ...inside, policy };
    expect(plan(next, "a").steps).toEqual([]);
    expect(heldSentences(next)).toEqual([`a can let go of it only together with ${gpu}, which stays`]);
  });

  it("leaves whole when one of its functions is gone from the host, and the other comes back", () => {
    const inside = runToRest(ready(pair, traits)).world;
    const gone = { ...inside, devices: new Map([...inside.devices].filter(([address]) => address !== gpu)) };
    const after = runToRest(gone);
    expect(after.steps.map(({ kind }) => kind)).toEqual(["detach", "forget", "attach"]);
    expect(after.world.holds).toEqual([]);
  });
});

describe("the ledger of ports in flight", () => {
  const devices = [bound(gpu), bound(nic)];
  const world = ready(devices);
  const step = attaches(world)[0] as Step;
  const started: Signal = { kind: "step-started", atMs: 1_000_001, lane: "a", step };
  const ended = (outcome: Outcome): Signal => ({
    kind: "step-ended",
    atMs: 1_000_002,
    lane: "a",
    step,
    outcome,
  });
  const look = (status = up()): Signal => ({ kind: "vm-seen", atMs: 1_000_003, vm: "a", status });
  const worldAfter = (...signals: readonly Signal[]) => signals.reduce(reduce, world);
  const timedOut: Outcome = { kind: "timed-out", detail: "no answer" };

  it("keeps a port that something is on its way into from everything else", () => {
    expect(places(world)).toEqual([`${gpu} rp0 0`, `${nic} rp1 0`]);
    const only = worldAfter(started);
    expect([...only.portsInFlight.values()]).toEqual([
      { vm: "a", port: "rp0 0", addresses: [gpu], isUnknown: false },
    ]);
    // The card that is on its way would go nowhere else, so that a plan made meanwhile reads the same.
    expect(places(only)).toEqual([`${gpu} rp0 0`, `${nic} rp1 0`]);
    const alone = { ...only, devices: new Map([...only.devices].filter(([address]) => address === nic)) };
    expect(places(alone)).toEqual([`${nic} rp1 0`]);
  });

  it.each<Outcome>([
    { kind: "done" },
    { kind: "refused", reason: "port-occupied", detail: "in use" },
    { kind: "failed", code: "qemu.misplaced", detail: "elsewhere" },
    { kind: "cancelled", detail: "no connection" },
  ])("is empty again after an answer: $kind", (outcome) => {
    expect(worldAfter(started, ended(outcome)).portsInFlight.size).toBe(0);
  });

  it("keeps device and port through an outcome that is not known, until somebody has looked", () => {
    const unsure = worldAfter(started, look(), ended(timedOut));
    const late = { ...unsure, nowMs: unsure.nowMs + 600_000 };
    expect(places(late)).toEqual([`${nic} rp1 0`]);
    expect(heldSentences(late)).toEqual([
      "a did not answer whether it took it at port rp0: waiting for a look",
    ]);
    const silent = reduce(late, look({ kind: "unreachable", code: "qmp.timeout", reason: "silent" }));
    expect(silent.portsInFlight.size).toBe(1);
    expect(places(reduce(late, look()))).toEqual([`${gpu} rp0 0`, `${nic} rp1 0`]);
    const gone = reduce(late, look({ kind: "absent", sinceMs: 0, reason: "gone" }));
    expect(gone.portsInFlight.size).toBe(0);
  });
});
