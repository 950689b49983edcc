/** Policies tried on recorded machines before they touch hardware. */
import { describe, expect, it } from "vitest";
import { NO_FACTS } from "../../src/core/protection.js";
import { exitCodeOfRehearsal } from "../../src/core/rehearsal.js";
import { anAddress } from "../support/builders.js";
import { decisionsOf, policyOf, stepsOf, tryOut } from "../support/rehearsals.js";

/** Two NVIDIA cards, each in an IOMMU group with its audio function. */
const GPUS = `
vms: [{name: a, qmp: /run/vm-a/qmp.sock}]
rules: [{name: gpus, match: {vendor: "10de"}, vm: a}]
`;
/** The Wi-Fi of a laptop. */
const WIFI = "vms: [{name: a, qmp: /run/a.sock}]\nrules: [{name: wifi, match: {class: wifi}, vm: a}]\n";
const BOTH_CARDS = ["0000:0b:00.0", "0000:0b:00.1", "0000:0c:00.0", "0000:0c:00.1"];

describe("a rehearsal on a workstation with two GPUs", () => {
  it("gives the cards to the running VM, whole IOMMU groups at a time", async () => {
    const report = await tryOut({ host: "vfio-joe-p-x570", rules: GPUS });
    expect(report.timeline).toHaveLength(1);
    expect(report.timeline[0]).toMatchObject({
      atMs: 0,
      kind: "start",
      event: "the host as recorded: 54 devices, 1 VM",
      vms: [{ name: "a", state: "up", runState: "running", attached: BOTH_CARDS }],
    });
    expect(stepsOf(report, 0)).toEqual([
      "bind 0000:0b:00.0 0000:0b:00.1",
      "attach 0000:0b:00.0 0000:0b:00.1",
      "bind 0000:0c:00.0 0000:0c:00.1",
      "attach 0000:0c:00.0 0000:0c:00.1",
    ]);
    expect(report.assignments).toEqual(
      BOTH_CARDS.map((address) => ({ address, vm: "a", rule: "gpus", state: "attached" })),
    );
    expect([report.held, exitCodeOfRehearsal(report)]).toEqual([[], 0]);
    expect(report.notes).toContain(
      "54 of 54 devices: the programming interface of the class was not recorded: it stays unknown",
    );
    expect(report.notes).toContain(
      "what the host stands on was not recorded: nothing but bridges is protected",
    );
  });

  it("plays a restart, a pull and a plug, each once the agent has settled after the one before", async () => {
    const report = await tryOut({
      host: "vfio-joe-p-x570",
      rules: GPUS,
      events: `
- {vm-restart: a}
- {at: 30s, unplug: "0000:0c:00"}
- {plug: "0000:0c:00"}
- {plug: {like: "0000:0b:00", address: "0000:41:00"}}
`,
    });
    expect(report.timeline.map(({ atMs, event }) => [atMs, event])).toEqual([
      [0, "the host as recorded: 54 devices, 1 VM"],
      [2_000, "VM a restarts"],
      [30_000, "unplug 0000:0c:00"],
      [32_000, "plug 0000:0c:00"],
      [34_000, "plug 0000:41:00, a card like 0000:0b:00"],
    ]);
    // Nothing is bound again: the cards have stayed on vfio-pci.
    expect(stepsOf(report, 1)).toEqual([
      "attach 0000:0b:00.0 0000:0b:00.1",
      "attach 0000:0c:00.0 0000:0c:00.1",
    ]);
    expect(report.timeline[1]?.vms).toMatchObject([{ name: "a", attached: BOTH_CARDS }]);
    expect(decisionsOf(report, 2)).toEqual(["0000:0c:00.0 gone", "0000:0c:00.1 gone"]);
    expect(stepsOf(report, 2)).toEqual(["forget 0000:0c:00.0", "forget 0000:0c:00.1"]);
    expect(decisionsOf(report, 3)).toEqual(["0000:0c:00.0 assigned", "0000:0c:00.1 assigned"]);
    expect(stepsOf(report, 4)).toEqual([
      "bind 0000:41:00.0 0000:41:00.1",
      "attach 0000:41:00.0 0000:41:00.1",
    ]);
    expect(report.assignments.map(({ address }) => address)).toEqual([
      ...BOTH_CARDS,
      "0000:41:00.0",
      "0000:41:00.1",
    ]);
  });

  it("lets a minute pass at once: the cards of a VM that stays away go back to the host", async () => {
    const report = await tryOut({
      host: "vfio-joe-p-x570",
      rules: GPUS,
      events: "[{vm-stop: a}, {wait: 90s}]",
    });
    expect(decisionsOf(report, 1)[0]).toMatch(
      /^0000:0b:00.0 held: a is not running \(.*\/run\/vm-a\/qmp.sock/,
    );
    expect(report.timeline[2]?.steps).toMatchObject(
      BOTH_CARDS.map((address) => ({ atMs: 62_000, kind: "release", addresses: [address], outcome: "done" })),
    );
    expect(report.held.map(({ address, reason }) => [address, reason.kind])).toEqual(
      BOTH_CARDS.map((address) => [address, "vm-down"]),
    );
    expect(exitCodeOfRehearsal(report)).toBe(2);
  });

  it("has a VM down from the start when the first that happens to it is that it starts", async () => {
    const report = await tryOut({ host: "vfio-joe-p-x570", rules: GPUS, events: "[{vm-start: a}]" });
    expect(report.timeline[0]?.steps).toEqual([]);
    expect(report.timeline[1]?.vms).toMatchObject([{ name: "a", attached: BOTH_CARDS }]);
  });

  it("holds what a guest has ejected", async () => {
    const report = await tryOut({
      host: "vfio-joe-p-x570",
      rules: GPUS,
      events: `[{eject: {vm: a, address: "0000:0b:00.0"}}, {wait: 10m}]`,
    });
    expect(report.held).toMatchObject([{ address: "0000:0b:00.0", vm: "a", reason: { kind: "hold" } }]);
    expect(stepsOf(report, 2)).toEqual([]);
  });

  it("has no more ports than the file names", async () => {
    const policy = policyOf(GPUS);
    const vms = policy.vms.map((vm) => ({ ...vm, ports: ["slot-a", "slot-b"] }));
    const report = await tryOut({ host: "vfio-joe-p-x570", rules: { ...policy, vms } });
    expect(report.assignments.filter(({ state }) => state === "attached")).toHaveLength(2);
    expect(new Set(report.held.map(({ reason }) => reason.kind))).toEqual(new Set(["no-free-port"]));
  });

  it("puts other rules in force, which take a card away and give it back to the host", async () => {
    const other = policyOf(
      GPUS.replace('{vendor: "10de"}', '{address: "0000:0b:00.*"}').replace(
        "vms:",
        "limits: {detachPerChange: 2}\nvms:",
      ),
    );
    const report = await tryOut({
      host: "vfio-joe-p-x570",
      rules: GPUS,
      events: "[{policy: other.yaml}]",
      policies: new Map([["other.yaml", other]]),
    });
    expect(decisionsOf(report, 1)).toEqual(["0000:0c:00.0 clear", "0000:0c:00.1 clear"]);
    expect([...stepsOf(report, 1)].sort()).toEqual([
      "detach 0000:0c:00.0",
      "detach 0000:0c:00.1",
      "release 0000:0c:00.0",
      "release 0000:0c:00.1",
    ]);
  });

  it("knows VMs that only a later file names", async () => {
    const later = policyOf(`
vms: [{name: a, qmp: /run/vm-a/qmp.sock}, {name: b, qmp: /run/b.sock}]
rules: [{name: gpus, match: {vendor: "10de"}, vm: a}, {name: sound, match: {address: "*:0e:00.4"}, vm: b}]
`);
    const report = await tryOut({
      host: "vfio-joe-p-x570",
      rules: GPUS,
      events: "[{policy: later.yaml}]",
      policies: new Map([["later.yaml", later]]),
    });
    expect(stepsOf(report, 1)).toEqual(["bind 0000:0e:00.4", "attach 0000:0e:00.4"]);
    expect(report.timeline[1]?.vms).toMatchObject([{ name: "b", attached: ["0000:0e:00.4"] }]);
  });

  it("protects what the recording says that the host stands on", async () => {
    const report = await tryOut({
      host: "vfio-joe-p-x570",
      rules: GPUS,
      protectionFacts: {
        ...NO_FACTS,
        carriers: [
          {
            id: "made-up",
            label: "made-up",
            on: [],
            functions: [anAddress("0000:0c:00.0")],
            otherwise: [],
          },
        ],
        uses: [{ carrier: "made-up", what: "a story", level: "hard", isLiftable: false, isGrounded: true }],
      },
    });
    expect(report.notes).not.toContainEqual(expect.stringMatching(/nothing but bridges/));
    expect(decisionsOf(report, 0)).toContainEqual(
      expect.stringMatching(/^0000:0c:00.0 held: protected: .*a story/),
    );
    expect(report.assignments.map(({ address }) => address)).toEqual(["0000:0b:00.0", "0000:0b:00.1"]);
  });
});

describe("a rehearsal on a laptop", () => {
  it("takes the Wi-Fi from its driver, and gives it back to that driver when its VM is gone", async () => {
    const policy = policyOf(WIFI);
    const vms = policy.vms.map((vm) => ({ ...vm, machine: "microvm" }));
    const report = await tryOut({
      host: "ghw-i7-1270p-laptop",
      rules: { ...policy, vms },
      events: "[{vm-stop: a}, {wait: 2m}]",
    });
    expect(stepsOf(report, 0)).toEqual(["bind 0000:00:14.3", "attach 0000:00:14.3"]);
    expect(report.timeline[2]?.steps).toMatchObject([
      { kind: "release", addresses: ["0000:00:14.3"], outcome: "done" },
    ]);
  });

  it("says that no rule matches anything", async () => {
    const rules = GPUS.replace("10de", "abcd");
    const report = await tryOut({ host: "ghw-i7-1270p-laptop", rules });
    expect(report.rules).toMatchObject([{ name: "gpus", matches: 0 }]);
    expect(exitCodeOfRehearsal(report)).toBe(3);
  });
});

describe("a rehearsal on a server with 16 GPUs", () => {
  const rules = `
vms:
  - {name: a, qmp: /run/a.sock}
  - {name: b, qmp: /run/b.sock}
rules:
  - {name: first-half, match: {vendor: "10de", class: 3d, address: "0000:[3-5]?:*"}, vm: a}
  - {name: second-half, match: {vendor: "10de", class: 3d, address: "0000:[b-e]?:*"}, vm: b}
`;

  it("holds every card whose IOMMU group nobody knows, and says what to do", async () => {
    const report = await tryOut({ host: "hwloc-nvidia-dgx2", rules });
    expect(report.assignments).toEqual([]);
    expect(report.held).toHaveLength(16);
    expect(new Set(report.held.map(({ reason }) => reason.kind))).toEqual(new Set(["fact-unknown"]));
    expect(report.notes).toContainEqual(expect.stringMatching(/--assume-iommu-groups/));
  });

  it("is the same to the last byte each time, though two VMs are served at once", async () => {
    const tryout = {
      host: "hwloc-nvidia-dgx2",
      rules,
      events: `[{vm-restart: b}, {unplug: "0000:34:00.0"}, {plug: "0000:34:00.0"}, {vm-stop: a}, {wait: 2m}]`,
      isAssumingGroups: true,
    };
    const first = await tryOut(tryout);
    const second = await tryOut(tryout);
    expect(first.timeline[0]?.vms.map(({ attached }) => attached.length)).toEqual([8, 8]);
    expect(JSON.stringify(second, null, 1)).toBe(JSON.stringify(first, null, 1));
    expect(JSON.stringify(first)).not.toMatch(/\/tmp|\.sock~|\/host\//);
  });
});

describe("a rehearsal", () => {
  it.each([
    [
      "[{unplug: '0000:77:00.0'}]",
      "cannot play event 1 (unplug 0000:77:00.0): there is no card at 0000:77:00.0",
    ],
    ["[{wait: 1s}, {vm-stop: b}]", "cannot play event 2 (VM b stops): there is no VM b in the file"],
    ["[{vm-stop: a}, {vm-stop: a}]", "cannot play event 2 (VM a stops): VM a is not running"],
    ["[{vm-stop: a}, {vm-start: a}, {vm-start: a}]", /^cannot play event 3 \(VM a starts\): .*it is running/],
    ["[{plug: '0000:00:14.3'}]", /^cannot play event 1 \(plug 0000:00:14.3\): .*there is a card already/],
    ["[{plug: {like: '0000:77:00', address: '0000:78:00'}}]", /there is and was no card at 0000:77:00/],
    ["[{plug: {like: '0000:00:14', address: '0000:78:00.0'}}]", /name two functions, or two whole cards/],
    ["[{eject: {vm: a, address: '0000:00:02.0'}}]", /^cannot play event 1 .*no such device/],
    ["[{policy: none.yaml}]", /none.yaml was not read/],
  ])("refuses %s as an event that cannot happen", async (events, why) => {
    await expect(tryOut({ host: "ghw-i7-1270p-laptop", rules: WIFI, events })).rejects.toThrow(why);
  });

  it("tells each event before the next one is played, and ends when it is called off", async () => {
    const stop = new AbortController();
    const heard: string[] = [];
    const played = tryOut(
      { host: "ghw-i7-1270p-laptop", rules: WIFI, events: "[{vm-stop: a}, {vm-start: a}]" },
      {
        signal: stop.signal,
        onEvent: ({ kind }) => {
          heard.push(kind);
          if (kind === "vm-stop") {
            stop.abort();
          }
        },
      },
    );
    await expect(played).rejects.toMatchObject({ code: "rehearsal.called-off" });
    expect(heard).toEqual(["start", "vm-stop"]);
  });
});
