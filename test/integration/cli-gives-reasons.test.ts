/**
 * plan, explain, resolve and check --strict: on recorded hosts without any rights, on this host without an agent, and
 * from a running agent.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NO_INTENTS } from "../../src/core/intent.js";
import { openIntents } from "../../src/host/intents.js";
import { anAddress } from "../support/builders.js";
import { CliGround, fileFor, hostCard, readyCard } from "../support/cli-ground.js";
import { runProgram } from "../support/program.js";

/** An NVIDIA DGX-2: 16 GPUs on two NUMA nodes. Origin: see fixtures/hosts/README.md. */
const dgx = resolve(import.meta.dirname, "../../fixtures/hosts/hwloc-nvidia-dgx2.json");
const recorded = ["--host", dgx, "--assume-iommu-groups"];
const SELECTING = `
vms:
  - { name: a, qmp: /run/a.sock, numaNode: 1, ports: [rp0, rp1, rp2] }
  - { name: b, qmp: /run/b.sock }
rules:
  - { name: near, mode: select, match: { class: 3d }, vm: a, count: 2, prefer: [numa] }
  - { name: rest, match: { address: "0000:3*:*", class: 3d }, vm: b }
`;
let ground: CliGround;
let selecting = "";

beforeAll(async () => {
  ground = await CliGround.open({ cards: [hostCard, readyCard], vms: [{ name: "build" }] });
  ground.writeUsual();
  selecting = ground.write(SELECTING, "selecting.yaml");
});
afterAll(() => ground.close());

function onRecording(command: string, ...more: readonly string[]) {
  return runProgram([command, ...recorded, "--config", selecting, ...more]);
}

describe("on a recorded host", () => {
  it("plan, explain and resolve give programs the same answer", async () => {
    const plan = JSON.parse((await onRecording("plan", "--json")).stdout) as {
      assignments: { address: string; vm: string; rule: string }[];
    };
    const near = plan.assignments.filter(({ rule }) => rule === "near").map(({ address }) => address);
    expect(near).toEqual(["0000:b7:00.0", "0000:b9:00.0"]);
    const explained = await onRecording("explain", "0000:b7:00.0", "--json");
    expect([explained.code, JSON.parse(explained.stdout)]).toMatchObject([
      0,
      {
        schema: "pciplug-explain/1",
        source: "offline",
        verdict: { kind: "assigned", vm: "a", rule: "near" },
      },
    ]);
    const resolved = await onRecording("resolve", "--vm", "a");
    expect([resolved.code, resolved.stdout]).toEqual([
      0,
      "-device vfio-pci,host=0000:b7:00.0,id=pciplug-0000-b7-00.0,bus=rp0,addr=0 " +
        "-device vfio-pci,host=0000:b9:00.0,id=pciplug-0000-b9-00.0,bus=rp1,addr=0\n",
    ]);
  });

  it("plan and resolve print the same bytes when the recording lists its devices in another order", async () => {
    const machine = JSON.parse(readFileSync(dgx, "utf8")) as { devices: unknown[] };
    const path = join(ground.dir, "backwards.json");
    writeFileSync(path, JSON.stringify({ ...machine, devices: machine.devices.toReversed() }));
    const there = ["--host", path, "--assume-iommu-groups", "--config", selecting];
    for (const [command, ...more] of [
      ["plan", "--json"],
      ["resolve", "--vm", "a", "--format", "json"],
      ["explain", "--rule", "near", "--json"],
    ] as const) {
      const [one, two] = [
        await onRecording(command, ...more),
        await runProgram([command, ...there, ...more]),
      ];
      expect(two.stdout).toBe(one.stdout);
      expect(one.stdout).not.toBe("");
    }
  });

  it("explain says why a device is spare, and how near a rule came to others", async () => {
    const spare = await onRecording("explain", "57:00.0");
    expect([spare.code, spare.stdout]).toEqual([
      0,
      expect.stringMatching(/^Verdict: spare: rule near has enough with 0000:b7:00\.0, .*closer to/m),
    ]);
    const rule = await onRecording("explain", "--rule", "rest");
    expect(rule.stdout).toMatch(/^Near misses, by one key:$/m);
  });

  it("resolve prints variables that a shell can read", async () => {
    const { stdout } = await onRecording("resolve", "--vm", "a", "--format", "env");
    expect(stdout).toMatch(
      /^PCIPLUG_DEVICES='0000:b7:00\.0 0000:b9:00\.0'\nPCIPLUG_QEMU_ARGS='-device [^']+'\n$/,
    );
  });

  it.each([
    ["64 for a VM that is not in the file", ["--vm", "c"], 64],
    ["78 for a broken file", ["--vm", "a", "--config", dgx], 78],
  ] as const)("resolve fails with nothing on standard output: %s", async (_, more, code) => {
    const ended = await onRecording("resolve", ...more);
    expect([ended.code, ended.stdout]).toEqual([code, ""]);
    expect(ended.stderr).not.toBe("");
  });

  it("check --strict warns of rules that can do nothing there, and exits with 2 only then", async () => {
    const lame = fileFor(
      [["a", "/run/a.sock"]],
      [
        ["gpus", "{ class: 3d }", "a"],
        ["again", '{ address: "0000:34:00.0" }', "a"],
        ["ghost", '{ vendor: "dead" }', "a"],
      ],
    );
    const path = ground.write(lame, "lame.yaml");
    const strict = await runProgram(["check", path, "--strict", ...recorded]);
    expect([strict.code, strict.stdout]).toEqual([2, `${path}: ok (1 VM, 3 rules, 2 warnings)\n`]);
    expect(strict.stderr).toContain("warning: rule again gets nothing on this host: gpus stands before it");
    expect(strict.stderr).toContain(
      "warning: rule ghost matches nothing on this host: no device has vendor dead",
    );
    expect((await runProgram(["check", path, ...recorded])).code).toBe(0);
    expect((await runProgram(["check", selecting, "--strict", ...recorded])).code).toBe(0);
  });
});

describe("on this host without an agent", () => {
  it("explain and resolve look for themselves, and write nothing", async () => {
    const before = ground.snapshot("host");
    const explained = await runProgram([...ground.args("explain", "0000:01:00.0")]);
    expect([explained.code, explained.stderr]).toEqual([0, "no agent: VM state unknown\n"]);
    expect(explained.stdout).toMatch(/^nvidia \(batch, for build\): gives it to build$/m);
    const args = [
      "resolve",
      "--root",
      ground.root,
      "--config",
      ground.config,
      "--vm",
      "build",
      "--format",
      "json",
    ];
    const resolved = await runProgram(args);
    expect([resolved.code, JSON.parse(resolved.stdout)]).toMatchObject([
      0,
      {
        schema: "pciplug-resolve/1",
        devices: [
          { address: "0000:01:00.0", bus: null, rule: "nvidia", iommuGroup: 13, properties: {} },
          { address: "0000:41:00.0", id: "pciplug-0000-41-00.0" },
        ],
        held: [],
      },
    ]);
    expect(ground.snapshot("host")).toEqual(before);
  });

  it("resolve gives away nothing that the agent keeps in quarantine, and reads only", async () => {
    const kept = join(ground.dir, "kept");
    mkdirSync(kept, { mode: 0o700 });
    const identity = { vendor: "10de", device: "2204", subsystemVendor: null, subsystemDevice: null };
    const scanned = await runProgram(["devices", "--root", ground.root, "--json"]);
    const shown = JSON.parse(scanned.stdout).devices.find(
      (entry: { address: string }) => entry.address === "0000:41:00.0",
    );
    const { subsystemVendor = null, subsystemDevice = null } = shown;
    await openIntents(join(kept, "intents.json")).save([], {
      ...NO_INTENTS,
      quarantines: [
        {
          address: anAddress("0000:41:00.0"),
          identity: { ...identity, subsystemVendor, subsystemDevice },
          why: "it fell off the bus",
          atMs: 0,
          isCleared: false,
        },
      ],
    });
    const before = readdirSync(kept);
    const args = ["--root", ground.root, "--config", ground.config, "--vm", "build", "--state", kept];
    const refused = await runProgram(["resolve", ...args]);
    expect([refused.code, refused.stdout]).toEqual([2, ""]);
    expect(refused.stderr).toContain(
      "0000:41:00.0 is held (rule nvidia): in quarantine: it fell off the bus",
    );
    writeFileSync(join(kept, "intents.json"), "{");
    const lost = await runProgram(["resolve", ...args]);
    expect([lost.code, lost.stdout]).toEqual([2, ""]);
    expect(lost.stderr).toContain("pciplug state accept-loss");
    expect(readdirSync(kept)).toEqual(before);
  });

  it.each([
    ["nothing is asked about", [], 64],
    ["two things are", ["0000:01:00.0", "--vm", "build"], 64],
    ["the address is none", ["1:2"], 64],
    ["the rule is not in the file", ["--rule", "nothing"], 64],
    ["the device is not there", ["0000:99:00.0"], 3],
  ] as const)("explain answers nothing when %s", async (_, more, code) => {
    const ended = await runProgram(ground.args("explain", ...more));
    expect([ended.code, ended.stdout]).toEqual([code, ""]);
    expect(ended.stderr).toMatch(/^pciplug: /m);
  });
});

describe("a running agent", () => {
  it("explains from its own world, in the same shapes, and refuses what it does not know", async () => {
    const agent = await ground.readyAgent();
    const ask = (...more: readonly string[]) => runProgram(["explain", "--state", ground.state, ...more]);
    const device = await ask("41:00.0", "--json");
    expect([device.stderr, JSON.parse(device.stdout)]).toMatchObject([
      "",
      { source: "agent", about: "device", verdict: { vm: "build", rule: "nvidia" } },
    ]);
    const vm = await ask("--vm", "build");
    expect(vm.stdout).toMatch(/^VM build, running\n/);
    const rule = await ask("--rule", "nvidia", "--json");
    expect(JSON.parse(rule.stdout)).toMatchObject({
      source: "agent",
      rule: { name: "nvidia", matches: 2, got: 2 },
    });
    const unknown = await ask("--vm", "nobody");
    expect([unknown.code, unknown.stdout]).toEqual([64, ""]);
    expect(unknown.stderr).toBe(
      "pciplug: cannot explain VM nobody: the file has none of that name; there are build\n",
    );
    expect((await ask("0000:99:00.0")).code).toBe(3);
    const plan = await runProgram(["plan", "--state", ground.state, "--json"]);
    expect(JSON.parse(plan.stdout)).toMatchObject({
      source: "agent",
      assignments: [{ address: "0000:01:00.0" }, { address: "0000:41:00.0", vm: "build", rule: "nvidia" }],
    });
    await agent.end("SIGTERM");
  });
});
