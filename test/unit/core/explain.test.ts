/** Why a device is where it is, why a VM has what it has, why a rule takes what it takes. */
import { describe, expect, it } from "vitest";
import { explainResponse } from "../../../src/control/explain-schema.js";
import { exitCodeOfExplanation, explain, type Question } from "../../../src/core/explain.js";
import type {
  DeviceExplanation,
  Explanation,
  RuleExplanation,
  VmExplanation,
} from "../../../src/core/explanation.js";
import type { World } from "../../../src/core/world.js";
import {
  aDevice,
  aLease,
  anAddress,
  aPolicy,
  aRule,
  aSelectRule,
  attached,
  aWorld,
  protectedBy,
  up,
} from "../../support/builders.js";

const gpu = aDevice("0000:65:00.0");
const sound = aDevice("0000:65:00.1", { class: "040300", driver: null });
const nic = aDevice("0000:17:00.0", { vendor: "8086", class: "020000", driver: "igb" });

function ask(world: World, question: Question, source: "agent" | "offline" = "agent"): Explanation {
  const answer = explain(world, question, source);
  if (!answer.ok) {
    throw new Error(answer.error.message);
  }
  return answer.value;
}

function onDevice(world: World, address: string): DeviceExplanation {
  return ask(world, { about: "device", address }, "offline") as DeviceExplanation;
}

function onRule(world: World, name: string): RuleExplanation {
  return ask(world, { about: "rule", name }, "offline") as RuleExplanation;
}

function outcomes(world: World, rule: string): readonly (readonly [string, string])[] {
  return onRule(world, rule).devices.map(({ address, outcome }) => [address, outcome.message]);
}

describe("what is explained of a device", () => {
  it("is every rule, key by key, with what was wanted and what is there", () => {
    const policy = aPolicy([
      aRule("gpus", { vendor: "10de", class: ["vga", "3d"] }, "a"),
      aRule("nics", { vendor: "8086" }, "b", { priority: 5 }),
    ]);
    const { rules, verdict } = onDevice(aWorld({ devices: [gpu, nic], policy }), "0000:65:00.0");
    expect(rules.map(({ name, verdict: said, outcome }) => [name, said, outcome.message])).toEqual([
      ["nics", "no-match", "does not match: vendor"],
      ["gpus", "match", "gives it to a"],
    ]);
    expect(rules[1]?.keys).toEqual([
      { key: "vendor", verdict: "match", wanted: ["10de"], actual: "10de" },
      { key: "class", verdict: "match", wanted: ["vga", "3d"], actual: "030000" },
    ]);
    expect(verdict).toMatchObject({ kind: "assigned", vm: "a", rule: "gpus", reason: null });
  });

  it("leaves out a fact that is not known, and says so of the rule", () => {
    const { vendor: _, ...bare } = gpu;
    const policy = aPolicy([aRule("gpus", { vendor: "10de", class: "vga" }, "a")]);
    const { rules, verdict } = onDevice(aWorld({ devices: [bare], policy }), "0000:65:00.0");
    expect(rules[0]?.keys[0]).toMatchObject({ key: "vendor", verdict: "unknown", wanted: ["10de"] });
    expect(rules[0]?.keys[0]).not.toHaveProperty("actual");
    expect(rules[0]?.outcome).toMatchObject({
      kind: "unknown",
      message: "not known on this host: vendor",
    });
    expect(verdict).toMatchObject({ kind: "held", reason: { kind: "fact-unknown" } });
  });

  it("names the field that an expression or what is inside of not lacks, in the reason too", () => {
    const { driver: _, ...bare } = gpu;
    const policy = aPolicy([
      aRule("near", { vendor: "10de", when: "numaNode == 1" }, "a"),
      aRule("idle", { vendor: "10de", not: { driver: "nouveau" } }, "a"),
    ]);
    const { rules, verdict } = onDevice(aWorld({ devices: [bare], policy }), "0000:65:00.0");
    expect(rules.map(({ outcome }) => outcome.message)).toEqual([
      "not known on this host: when (NUMA node not known)",
      "not known on this host: not (driver not known)",
    ]);
    expect(verdict.message).toBe(
      "held: not known on this host: when (NUMA node not known), not (driver not known)",
    );
  });

  it("tells what every member of its IOMMU group is", () => {
    const bridge = aDevice("0000:64:00.0", { class: "060400", driver: "pcieport", iommuGroup: 0x65 });
    const policy = aPolicy([aRule("gpu", { address: "0000:65:00.0" }, "a")]);
    const world = aWorld({ devices: [sound, gpu, bridge], policy });
    expect(onDevice(world, "0000:65:00.0").iommuGroup).toEqual({
      number: 0x65,
      members: [
        { address: bridge.address, class: "060400", driver: "pcieport", part: "bridge", vm: null },
        { address: gpu.address, class: "030000", driver: "nouveau", part: "member", vm: "a" },
        { address: sound.address, class: "040300", driver: null, part: "companion", vm: null },
      ],
    });
  });

  it("names who goes first where another rule has it, and who else has it for the same VM", () => {
    const policy = aPolicy([
      aRule("low", { vendor: "10de" }, "b"),
      aRule("high", { class: "vga" }, "a", { priority: 1 }),
      aRule("again", { address: "0000:65:00.0" }, "a"),
    ]);
    const { rules } = onDevice(aWorld({ devices: [gpu], policy }), "0000:65:00.0");
    expect(rules.map(({ name, outcome }) => [name, outcome.kind, outcome.message])).toEqual([
      ["high", "takes", "gives it to a"],
      ["low", "held", "rule high goes first and gives it to a"],
      ["again", "given", "a has it by rule high"],
    ]);
  });

  it("tells both sides of a conflict", () => {
    const policy = aPolicy([aRule("one", { vendor: "10de" }, "a"), aRule("two", { class: "vga" }, "b")]);
    const answer = onDevice(aWorld({ devices: [gpu], policy }), "0000:65:00.0");
    const both = "conflict: rules one and two want it for a and b; nobody gets it";
    expect(answer.rules.map(({ outcome }) => outcome.message)).toEqual([both, both]);
    expect(exitCodeOfExplanation(answer)).toBe(4);
  });

  it("shows what the host needs it for, and what was done and wanted by hand", () => {
    const bound = aDevice("0000:65:00.0", { driver: "vfio-pci" });
    const intents = {
      pins: [
        { rule: "r", address: gpu.address, path: null, serial: "00-11", identity: aLease(gpu, "a").identity },
      ],
      reservations: [{ address: gpu.address, vm: "b", untilMs: 1_060_000, detail: "for the demo" }],
      orders: [{ address: gpu.address, vm: "a", atMs: 1 }],
      quarantines: [],
      ports: [],
    };
    const holds = [
      {
        address: gpu.address,
        vm: "a",
        appearance: bound.appearance,
        process: null,
        cause: "ejected-by-guest" as const,
        detail: "a let go of it",
        atMs: 1,
      },
    ];
    const world = aWorld(
      {
        devices: [bound],
        policy: aPolicy([aRule("r", { vendor: "10de" }, "a")]),
        leases: [aLease(bound, "a")],
        vms: { a: up({ attached: [attached("0000:65:00.0")] }) },
      },
      { intents, holds, protections: new Map([[gpu.address, protectedBy("it shows the console")]]) },
    );
    expect(onDevice(world, "0000:65:00.0")).toMatchObject({
      protection: { because: "it shows the console", level: "hard" },
      lease: { vm: "a", rule: "r", role: "claimed" },
      inVm: { vm: "a", id: "pciplug-0000-65-00.0", ours: true },
      order: "a",
      reservation: { vm: "b", detail: "for the demo", endsInMs: 60_000 },
      holds: [{ vm: "a", cause: "ejected-by-guest" }],
      pins: [{ rule: "r", serial: "00-11" }],
      quarantine: null,
    });
  });

  it("says what an assigned device waits for, but blames no VM that nobody could ask", () => {
    const policy = aPolicy([aRule("gpus", { vendor: "10de" }, "a")]);
    const down = { kind: "absent", sinceMs: 0, reason: "no such socket" } as const;
    const world = aWorld({ devices: [gpu], policy, vms: { a: down } });
    const answer = ask(world, { about: "device", address: "65:00.0" }) as DeviceExplanation;
    expect(answer.verdict).toMatchObject({ kind: "assigned", reason: { kind: "vm-down" } });
    expect(exitCodeOfExplanation(answer)).toBe(2);
    const unasked = onDevice(aWorld({ devices: [gpu], policy }), "65:00.0");
    expect([unasked.verdict.reason, exitCodeOfExplanation(unasked)]).toEqual([null, 0]);
  });

  it("is that nothing speaks of it, where nothing does", () => {
    const policy = aPolicy([aRule("gpus", { vendor: "10de" }, "a")]);
    const answer = onDevice(aWorld({ devices: [gpu, nic], policy }), "0000:17:00.0");
    expect(answer.verdict).toMatchObject({ kind: "none", vm: null, message: "no rule speaks of it" });
    expect(exitCodeOfExplanation(answer)).toBe(3);
  });

  it.each([
    ["protected", { protections: new Map([[gpu.address, protectedBy("root disk")]]) }, 5],
    ["in-use", { protections: new Map([[gpu.address, protectedBy("eth0 is up", { level: "soft" })]]) }, 5],
    ["unsafe", { dma: { weaknesses: ["allow_unsafe_interrupts is on"] } }, 2],
  ] as const)("gives the exit code of its reason when it is %s", (kind, more, code) => {
    const policy = aPolicy([aRule("gpus", { vendor: "10de" }, "a")]);
    const answer = onDevice(aWorld({ devices: [gpu], policy }, more), "0000:65:00.0");
    expect([answer.verdict.reason?.kind, exitCodeOfExplanation(answer)]).toEqual([kind, code]);
  });
});

describe("what is explained of a select rule", () => {
  const devices = [1, 2, 3, 4].map((bus) =>
    aDevice(`0000:0${bus}:00.0`, {
      numaNode: bus % 2,
      memory: bus * 1024,
      root: anAddress(`0000:00:0${bus % 3}.0`),
    }),
  );
  const vms = [
    { name: "a", qmp: "/run/a.sock", numaNode: 1 },
    { name: "b", qmp: "/run/b.sock" },
  ];
  const one = { min: 1, max: 1 };

  it.each([
    ["closer to the VM's NUMA node", { by: "numa" }, "0000:02:00.0", "0000:01:00.0"],
    ["the largest memory", { by: "memory", order: "largest" }, "0000:01:00.0", "0000:04:00.0"],
    ["the highest address", { by: "address", order: "highest" }, "0000:01:00.0", "0000:04:00.0"],
  ] as const)("names the preference by which others were taken: %s", (words, preference, address, chosen) => {
    const policy = aPolicy([aSelectRule("r", { vendor: "10de" }, "a", one, { prefer: [preference] })], {
      vms,
    });
    const { verdict } = onDevice(aWorld({ devices, policy }), address);
    expect(verdict.message).toBe(`spare: rule r has enough with ${chosen} (preferred: ${words})`);
    expect(verdict.kind).toBe("spare");
  });

  it("names the root port that was to be shared, and the address where nothing else decides", () => {
    const near = aSelectRule("near", { address: "*:0[14]:*" }, "b", one, {
      prefer: [{ by: "sameRootAs", rule: "first" }],
    });
    const policy = aPolicy([aRule("first", { address: "0000:04:00.0" }, "b"), near], { vms });
    expect(outcomes(aWorld({ devices, policy }), "near")).toEqual([
      ["0000:01:00.0", "has enough: b has it by other rules"],
      ["0000:04:00.0", "b has it by rule first"],
    ]);
    const plain = aPolicy([aSelectRule("r", { vendor: "10de" }, "a", one)], { vms });
    expect(outcomes(aWorld({ devices, policy: plain }), "r")[1]).toEqual([
      "0000:02:00.0",
      "has enough with 0000:01:00.0 (preferred: the lowest address)",
    ]);
  });

  it("says what it is short of, who has it, and why each device is not its own", () => {
    const policy = aPolicy(
      [
        aSelectRule("three", { vendor: "10de" }, "a", { min: 3, max: 3 }),
        aSelectRule("two", { vendor: "10de" }, "b", { min: 2, max: 2 }),
      ],
      { vms },
    );
    const answer = onRule(aWorld({ devices, policy }), "two");
    expect(answer.rule.short).toEqual({ needed: 2, found: 1, holders: ["a (rule three)"] });
    expect(answer.devices.map(({ outcome }) => outcome.message)).toEqual([
      ...[1, 2, 3].map(() => "rule three goes first and gives it to a"),
      "the rule needs 2 and can have 1; a (rule three) have the others",
    ]);
    expect(exitCodeOfExplanation(answer)).toBe(2);
  });

  it("names the IOMMU group that cannot be had whole, where the device is liked better than what was taken", () => {
    const blocked = aDevice("0000:01:00.1", { class: "040300", driver: "snd_hda_intel" });
    const policy = aPolicy([aSelectRule("r", { class: "vga" }, "a", one)], { vms });
    const world = aWorld({ devices: [...devices, blocked], policy });
    expect(outcomes(world, "r").slice(0, 2)).toEqual([
      ["0000:01:00.0", "has enough with 0000:02:00.0, for IOMMU group 1 cannot be had whole"],
      ["0000:02:00.0", "gives it to a"],
    ]);
  });

  it("says that others need it more, where it is liked better than what was taken", () => {
    const policy = aPolicy(
      [
        aSelectRule("any", { vendor: "10de" }, "a", one),
        aSelectRule("only", { address: "*:01:*" }, "b", one),
      ],
      { vms },
    );
    expect(outcomes(aWorld({ devices, policy }), "any").slice(0, 2)).toEqual([
      ["0000:01:00.0", "has enough with 0000:02:00.0, so that other rules have their minimum"],
      ["0000:02:00.0", "gives it to a"],
    ]);
  });

  it("says that a device fits none of its alternatives", () => {
    const narrow = aRule("n", { address: "*:02:*" }, "a").match;
    const policy = aPolicy(
      [aSelectRule("r", { vendor: "10de" }, "a", one, { alternatives: [{ match: narrow, count: one }] })],
      { vms },
    );
    expect(outcomes(aWorld({ devices, policy }), "r")[0]).toEqual([
      "0000:01:00.0",
      "fits none of its alternatives",
    ]);
  });

  it("says that it is silent while its VM is down and it says next", () => {
    const policy = aPolicy([aSelectRule("r", { vendor: "10de" }, "a", one, { whenDown: "next" })], { vms });
    const a = { kind: "absent", sinceMs: 0, reason: "gone" } as const;
    const world = aWorld({ devices, policy, vms: { a } });
    expect(outcomes(world, "r")[0]?.[1]).toBe("says nothing while a is down (whenDown: next)");
    expect(onRule(world, "r").rule).not.toHaveProperty("short");
  });
});

describe("near misses of a rule", () => {
  const policy = aPolicy([
    aRule("gpus", { vendor: "10de", class: "vga" }, "a"),
    aRule("plain", { vendor: "10de" }, "a"),
  ]);
  const world = aWorld({ devices: [gpu, sound, nic], policy });

  it("are the devices that fail on one key only, with that key", () => {
    expect(onRule(world, "gpus").nearMisses).toEqual([
      {
        address: sound.address,
        class: "040300",
        key: { key: "class", verdict: "no-match", wanted: ["vga"], actual: "040300" },
      },
    ]);
  });

  it("are none of a rule with a single key, for every other device would be one", () => {
    expect(onRule(world, "plain").nearMisses).toEqual([]);
  });
});

describe("what is explained of a VM", () => {
  const two = aDevice("0000:66:00.0");
  const policy = aPolicy([
    aRule("gpus", { class: "vga", address: "*:65:*" }, "a"),
    aSelectRule("more", { class: "vga", address: "*:66:*" }, "a", { min: 2, max: 2 }),
    aRule("other", { vendor: "8086" }, "b"),
  ]);

  it("is each rule that is for it, what it gets and what it is short of; nothing of others", () => {
    const world = aWorld({ devices: [gpu, two, nic], policy });
    const answer = ask(world, { about: "vm", name: "a" }, "offline") as VmExplanation;
    expect(answer.rules.map(({ name, got, short }) => [name, got, short?.needed])).toEqual([
      ["gpus", 1, undefined],
      ["more", 0, 2],
    ]);
    expect(answer.assignments).toEqual([{ address: gpu.address, vm: "a", rule: "gpus" }]);
    expect(answer.held.map(({ address, reason }) => [address, reason.kind])).toEqual([
      [two.address, "short"],
    ]);
    expect([answer.obstacle, exitCodeOfExplanation(answer)]).toEqual([null, 2]);
  });

  it("names what stands in its own way", () => {
    const vms = { a: up({ ports: [] }), b: { kind: "absent", sinceMs: 0, reason: "gone" } as const };
    const world = aWorld({ devices: [gpu, nic], policy, vms });
    expect(ask(world, { about: "vm", name: "a" })).toMatchObject({ obstacle: { kind: "no-free-port" } });
    expect(ask(world, { about: "vm", name: "b" })).toMatchObject({ obstacle: { kind: "vm-down" } });
  });
});

describe("a question", () => {
  const policy = aPolicy([aRule("gpus", { vendor: "10de" }, "a")]);
  const far = aDevice("10000:65:00.0");
  const world = aWorld({ devices: [gpu, nic, far], policy });

  it("may leave out the domain where that leaves no doubt", () => {
    expect(onDevice(world, "17:00.0").device.address).toBe(nic.address);
    expect(explain(world, { about: "device", address: "65:00.0" }, "agent")).toMatchObject({
      error: { kind: "unknown", message: expect.stringContaining("0000:65:00.0 or 10000:65:00.0") },
    });
  });

  it.each<[string, Question, string]>([
    ["absent for a device that is not there", { about: "device", address: "0000:99:00.0" }, "absent"],
    ["absent for one without a domain", { about: "device", address: "99:00.0" }, "absent"],
    ["unknown for what is no address", { about: "device", address: "*:00.0" }, "unknown"],
    ["unknown for a VM that is not in the file", { about: "vm", name: "c" }, "unknown"],
    ["unknown for a rule that is not in the file", { about: "rule", name: "gpu" }, "unknown"],
  ])("is refused as %s", (_, question, kind) => {
    expect(explain(world, question, "agent")).toMatchObject({ ok: false, error: { kind } });
  });

  it("gets an answer that the control socket's schema takes whole", () => {
    for (const question of [
      { about: "device", address: "17:00.0" },
      { about: "vm", name: "a" },
      { about: "rule", name: "gpus" },
    ] as const) {
      const answer = ask(world, question);
      expect(explainResponse.parse(JSON.parse(JSON.stringify(answer)))).toEqual(answer);
    }
  });
});
