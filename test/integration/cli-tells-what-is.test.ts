/** devices, plan, status and check for people and for programs, without an agent; help and completion. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MachineRecording } from "../../src/sim/card.js";
import { CliGround, fileFor, hostCard, readyCard } from "../support/cli-ground.js";
import { runProgram } from "../support/program.js";

const UNKNOWN = "no agent: VM state unknown\n";
const nic = {
  address: "0000:05:00.0",
  vendor: "8086",
  device: "1533",
  class: "020000",
  driver: "igb",
  network: { name: "eth0", hasDefaultRoute: true },
};
let ground: CliGround;

beforeAll(async () => {
  ground = await CliGround.open({ cards: [hostCard, readyCard, nic], vms: [{ name: "build" }] });
  ground.writeUsual();
});
afterAll(() => ground.close());

describe("devices", () => {
  it("lists every function as a table, after saying that no agent could be asked", async () => {
    const ended = await runProgram(ground.args("devices"));
    expect([ended.code, ended.stderr]).toEqual([0, UNKNOWN]);
    const [header, ...rows] = ended.stdout.trimEnd().split("\n");
    expect(header).toMatch(/^ADDRESS +ID +CLASS +DRIVER +IOMMU GROUP/);
    expect(rows.map((row) => row.split(/ {2,}/).slice(0, 5))).toEqual([
      ["0000:01:00.0", "10de:2204", "030000 VGA controller", "nouveau", "13"],
      ["0000:05:00.0", "8086:1533", "020000 Ethernet controller", "igb", expect.stringMatching(/^\d+$/)],
      ["0000:41:00.0", "10de:2204", "030000 VGA controller", "vfio-pci", "27"],
    ]);
  });

  it("gives programs the facts under the names of a recorded machine, and those facts only", async () => {
    const path = resolve(import.meta.dirname, "../../fixtures/hosts/vfio-msi-b450m-mortar.json");
    const machine = JSON.parse(readFileSync(path, "utf8")) as MachineRecording;
    const own = await CliGround.open({ machine });
    try {
      const ended = await runProgram(own.args("devices", "--json"));
      const answer = JSON.parse(ended.stdout) as { schema: string; devices: Record<string, unknown>[] };
      expect([ended.code, answer.schema]).toEqual([0, "pciplug-devices/1"]);
      const names = ["address", "vendor", "device", "iommuGroup"];
      const facts = (device: Readonly<Record<string, unknown>>) => names.map((name) => device[name]);
      expect(answer.devices.map(facts).sort()).toEqual(machine.devices.map(facts).sort());
      expect(answer.devices.every((device) => !("appearance" in device))).toBe(true);
    } finally {
      await own.close();
    }
  });

  it("does not mind a reader that leaves early", async () => {
    const main = resolve(import.meta.dirname, "../../dist/cli/main.js");
    const command = '"$0" "$1" devices --root "$2" --state "$3" | head -1; echo "$PIPESTATUS"';
    const shell = spawnSync("bash", ["-c", command, process.execPath, main, ground.root, ground.state], {
      encoding: "utf8",
    });
    expect(shell.stdout).toMatch(/^ADDRESS.*\n0\n$/);
    expect(shell.stderr).toBe(UNKNOWN);
  });

  it("ends by itself when nobody reads what it says", async () => {
    const main = resolve(import.meta.dirname, "../../dist/cli/main.js");
    const child = spawn(process.execPath, [main, ...ground.args("devices")], { stdio: "pipe" });
    child.stdout.destroy();
    child.stderr.destroy();
    const [code] = (await once(child, "exit")) as [number];
    expect(code).toBe(0);
  });
});

describe("plan without an agent", () => {
  it("says that VMs could not be asked, and shows who is to have what", async () => {
    const ended = await runProgram(ground.args("plan"));
    expect([ended.code, ended.stderr]).toEqual([0, UNKNOWN]);
    expect(ended.stdout).toMatch(/^Assigned:\n.*\n0000:01:00\.0 +build +nvidia\n/);
  });

  it("gives programs the whole of it", async () => {
    const ended = await runProgram(ground.args("plan", "--json"));
    expect([ended.code, ended.stderr]).toEqual([0, UNKNOWN]);
    expect(JSON.parse(ended.stdout)).toEqual({
      schema: "pciplug-plan/1",
      source: "offline",
      steps: [],
      assignments: ["0000:01:00.0", "0000:41:00.0"].map((address) => ({
        address,
        vm: "build",
        rule: "nvidia",
      })),
      held: [],
      rules: [{ name: "nvidia", mode: "batch", onNoMatch: "wait", matches: 2, got: 2 }],
    });
  });

  it.each([
    [
      "3 for an address that does not exist, naming the rule",
      [["ghost", '{ address: "0000:fe:1f.7" }', "a"]],
      3,
      /match nothing on this host: ghost/,
    ],
    [
      "4 for two VMs that want one device",
      [
        ["one", '{ vendor: "10de" }', "a"],
        ["two", "{ class: vga }", "b"],
      ],
      4,
      /conflict: rules one and two want it for a and b/,
    ],
    [
      "5 for a device that the host needs",
      [["net", "{ class: ethernet }", "a"]],
      5,
      /0000:05:00\.0 .*protected: /,
    ],
  ] as const)("exits with %s", async (_, rules, code, why) => {
    const file = fileFor(
      [
        ["a", "/run/a.sock"],
        ["b", "/run/b.sock"],
      ],
      rules,
    );
    const path = ground.write(file, "other.yaml");
    const ended = await runProgram(ground.args("plan", "--config", path));
    expect(ended.stdout).toMatch(why);
    expect(ended.code).toBe(code);
  });
});

describe("check", () => {
  it("says that a good file is good, and how much is in it", async () => {
    const ended = await runProgram(["check", ground.config]);
    expect([ended.code, ended.stdout]).toEqual([0, `${ground.config}: ok (1 VM, 1 rule)\n`]);
    const json = await runProgram(["check", "--json", ground.config]);
    expect([json.code, JSON.parse(json.stdout)]).toEqual([
      0,
      { schema: "pciplug-check/1", ok: true, issues: [], remarks: [], warnings: [] },
    ]);
  });

  it("finds the smallest useful file and the shipped example good", async () => {
    const smallest = ground.write(
      'vms: [{name: a, qmp: /run/a.sock}]\nrules: [{name: r, match: {address: "*:01:00.0"}, vm: a}]\n',
      "smallest.yaml",
    );
    expect((await runProgram(["check", smallest])).code).toBe(0);
    const example = readFileSync(resolve(import.meta.dirname, "../../contrib/examples/first.yaml"), "utf8");
    expect((await runProgram(["check", ground.write(example, "first.yaml")])).code).toBe(0);
  });
});

describe("help", () => {
  it("is printed on standard output", async () => {
    const ended = await runProgram(["agent", "--help"]);
    expect([ended.code, ended.stderr]).toEqual([0, ""]);
    expect(ended.stdout).toMatch(/^Usage: pciplug agent /);
  });

  it("comes with the version of the package", async () => {
    const manifest = readFileSync(resolve(import.meta.dirname, "../../package.json"), "utf8");
    const { version } = JSON.parse(manifest) as { version: string };
    expect((await runProgram(["--version"])).stdout).toBe(`${version}\n`);
  });
});

describe("the completion script", () => {
  it("completes commands and their options in bash", async () => {
    const script = (await runProgram(["completion"])).stdout;
    const complete = (...words: readonly string[]) =>
      execFileSync(
        "bash",
        [
          "-euc",
          `${script}\nCOMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _pciplug; echo "\${COMPREPLY[*]}"`,
          "bash",
          ...words,
        ],
        {
          encoding: "utf8",
        },
      ).trim();
    expect(complete("pciplug", "st")).toBe("status state");
    expect(complete("pciplug", "agent", "--o")).toBe("--observe --once");
    expect(complete("pciplug", "plan", "--off")).toBe("--offline");
    expect(complete("pciplug", "devices", "--off")).toBe("--offline");
    expect(complete("pciplug", "match", "--h")).toBe("--host --help");
  });
});
