/** Bad input at the command line (issue section 4): one clear sentence, the right exit status, and nothing changed. */
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CliGround, fileFor, hostCard, onGround, readyCard } from "../support/cli-ground.js";
import { type Ended, type ProgramOptions, runProgram } from "../support/program.js";

let ground: CliGround;

beforeAll(async () => {
  ground = await CliGround.open({
    cards: [hostCard, readyCard],
    vms: [{ name: "build", ports: [{ id: "rp0" }] }],
  });
  // Something to lose: whatever is refused later must leave this card where it is.
  const [socket, match] = [ground.sim.socketOf("build"), `{ address: "${readyCard.address}" }`];
  ground.write(fileFor([["build", socket]], [["first", match, "build"]]));
  await runProgram(ground.args("agent", "--once"));
});
afterAll(() => ground.close());

/** The complaint, after checking that there is but one: lines below it only show the place and a hint. */
function sentenceOf(ended: Ended): string {
  const lines = ended.stderr.split("\n").filter((line) => line !== "");
  const sentences = lines.filter((line) => !line.startsWith("  "));
  expect(sentences, ended.stderr).toHaveLength(1);
  expect(ended.stderr).not.toMatch(/^\s+at /m);
  expect(ended.stdout).toBe("");
  return lines.join("\n");
}

/** Runs a command that must refuse, and must have changed nothing. */
async function refusal(args: readonly string[], options?: ProgramOptions): Promise<[number | null, string]> {
  const before = ground.snapshot();
  const ended = await runProgram(args, options);
  expect(ground.snapshot()).toEqual(before);
  expect(ground.sim.vm("build").attached()).toEqual([readyCard.address]);
  return [ended.code, sentenceOf(ended)];
}

const good = () => fileFor([["build", ground.sim.socketOf("build")]], [["r", '{ vendor: "10de" }', "build"]]);
const rule = (match: string) => fileFor([["build", "/run/build.sock"]], [["r", match, "build"]]);
const longPath = `/run/${"x".repeat(103)}`;

describe("a file that is no good", () => {
  it.each([
    ["broken YAML", "vms: [\n", /config\.yaml:2:1: is not YAML: .*flow sequence/],
    [
      "an unknown key",
      `${rule('{ vendor: "10de" }')}rulez: []\n`,
      /:5:1: rulez: is not a key here[\s\S]*did you mean rules\?/,
    ],
    [
      "a bad pattern",
      rule('{ address: "(0000:*)" }'),
      /:4:\d+: rules\[0\]\.match\.address: has a parenthesis/,
    ],
    [
      "a pattern without quotes",
      rule("{ address: *:01:00.0 }"),
      /:4:\d+: .*alias in YAML[\s\S]*"\*:01:00\.0"/,
    ],
    [
      "a rule for an unknown VM",
      rule('{ vendor: "10de" }').replace("vm: build", "vm: biuld"),
      /:4:\d+: rules\[0\]\.vm: [\s\S]*build/,
    ],
    [
      "a socket path of 108 bytes",
      fileFor([["build", longPath]], [["r", '{ vendor: "10de" }', "build"]]),
      /:2:\d+: vms\[0\]\.qmp: .*107 bytes/,
    ],
    ["no text at all", "", /config\.yaml: is empty: expected vms and rules/],
  ])("is refused for %s, with the place", async (_, text, complaint) => {
    ground.write(text);
    expect(await refusal(ground.args("agent"))).toEqual([78, expect.stringMatching(complaint)]);
  });

  it("is refused by agent, plan and check with the same words", async () => {
    const path = ground.write("vms: []\nrules: none\n");
    const answer = await refusal(ground.args("agent"));
    expect(answer).toEqual([78, expect.stringMatching(/config\.yaml:2:8: rules: expected a list/)]);
    expect(await refusal(ground.args("plan"))).toEqual(answer);
    expect(await refusal(["check", path])).toEqual(answer);
  });

  it("is refused when others may write to it, and when a folder is in its place", async () => {
    const open = ground.write(good(), "open.yaml");
    chmodSync(open, 0o666);
    const answer = await refusal(ground.args("agent", "--config", open));
    expect(answer).toEqual([78, expect.stringMatching(/may be written by others[\s\S]*chmod go-w/)]);
    expect(await refusal(["check", ground.root])).toEqual([78, expect.stringMatching(/is a folder/)]);
  });

  it("is refused when it is missing, with where to find an example", async () => {
    const missing = join(ground.dir, "nowhere.yaml");
    const complaint = /nowhere\.yaml: is not there[\s\S]*example/;
    for (const command of ["agent", "plan"] as const) {
      const answer = await refusal(ground.args(command, "--config", missing));
      expect(answer).toEqual([78, expect.stringMatching(complaint)]);
    }
  });

  it("comes as JSON too, with line and column, from check --json", async () => {
    const path = ground.write(rule('{ vendor: "10de", colour: red }'));
    const ended = await runProgram(["check", "--json", path]);
    const answer = JSON.parse(ended.stdout) as Record<string, unknown>;
    expect(ended.code).toBe(78);
    expect(answer).toMatchObject({ ok: false, issues: [{ path, line: 4, key: "rules[0].match.colour" }] });
  });
});

describe("a host that is no good", () => {
  it("is refused without a sysfs, by every command that looks at it", async () => {
    ground.write(good());
    const empty = join(ground.dir, "empty");
    mkdirSync(empty, { recursive: true });
    const complaint = /cannot list PCI devices in .*\/empty\/sys\/bus\/pci\/devices/;
    for (const command of ["agent", "plan"] as const) {
      const ended = await runProgram(ground.args(command, "--root", empty));
      expect([ended.code, sentenceOf(ended)]).toEqual([69, expect.stringMatching(complaint)]);
    }
    const devices = await runProgram(["devices", "--offline", "--root", empty]);
    expect([devices.code, sentenceOf(devices)]).toEqual([69, expect.stringMatching(complaint)]);
  });

  it("is refused without an IOMMU, saying what to switch on", async () => {
    await onGround({ cards: [hostCard], hasIommu: false }, async (bare) => {
      bare.write(fileFor([["a", "/run/a.sock"]], [["r", '{ vendor: "10de" }', "a"]]));
      const before = bare.snapshot();
      const ended = await runProgram(bare.args("agent"));
      expect([ended.code, sentenceOf(ended)]).toEqual([
        69,
        expect.stringMatching(/no IOMMU groups .*intel_iommu=on or amd_iommu=on/),
      ]);
      expect(bare.snapshot()).toEqual(before);
    });
  });

  it("is left alone by a user who is not root, whatever the file says", async () => {
    const config = ground.write("not even YAML: [\n");
    // A checkout below root's home can only be run by another user with the right to read it; the user id stays nobody's.
    const nobody = ["setpriv", "--reuid", "65534", "--clear-groups"];
    const reading = ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"];
    const prefix = process.getuid?.() === 0 ? [...nobody, ...reading] : [];
    const answer = await refusal(["agent", "--config", config, "--state", ground.state], {
      prefix,
    });
    expect(answer).toEqual([77, expect.stringMatching(/must be root \(agent --observe /)]);
  });
});

describe("a state folder that is no good", () => {
  it("is refused below a folder that anyone may write to", async () => {
    ground.write(good());
    const state = join(tmpdir(), `pciplug-cli-${process.pid}`);
    try {
      const answer = await refusal(ground.args("agent", "--state", state));
      expect(answer).toEqual([77, expect.stringMatching(/cannot keep state in .*written by anyone/)]);
    } finally {
      rmSync(state, { recursive: true, force: true });
    }
  });

  it("is refused when others may write to it", async () => {
    ground.write(good());
    const shared = join(ground.dir, "shared");
    mkdirSync(shared, { recursive: true });
    chmodSync(shared, 0o777);
    const answer = await refusal(ground.args("agent", "--state", shared));
    expect(answer).toEqual([77, expect.stringMatching(/mode 0777.*make it 0700/)]);
  });

  it("is refused in one sentence when the user may not make it", async () => {
    const nobody = ["setpriv", "--reuid", "65534", "--clear-groups"];
    // A checkout below root's home can only be run by another user with the right to read it.
    const reading = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"];
    const prefix = process.getuid?.() === 0 ? [...nobody, ...reading] : [];
    const answer = await refusal(["state", "accept-loss", "--state", "/pciplug-nowhere"], { prefix });
    expect(answer).toEqual([
      77,
      "pciplug: cannot create /pciplug-nowhere: this user may not: run it as root, or name a folder of your own with --state",
    ]);
  });

  it("is refused when a file is in its place", async () => {
    const file = ground.write(good());
    const answer = await refusal(ground.args("agent", "--state", file));
    expect(answer).toEqual([77, expect.stringMatching(/cannot create .*config\.yaml/)]);
  });

  it("is refused while another agent has it, which goes on undisturbed", async () => {
    await onGround({ cards: [readyCard], vms: [{ name: "build" }] }, async (own) => {
      own.writeUsual();
      const first = await own.readyAgent();
      const second = await runProgram(own.args("agent"));
      expect([second.code, sentenceOf(second)]).toEqual([
        75,
        expect.stringMatching(/another agent \(process \d+\) is using it/),
      ]);
      expect((await runProgram(own.args("status"))).code).toBe(0);
      expect((await first.end("SIGTERM")).code).toBe(0);
    });
  });
});

describe("a wrong call", () => {
  it.each([
    [["frobnicate"], /^pciplug: unknown command 'frobnicate' \(see: pciplug --help\)/],
    [["agent", "--log-level", "loud"], /'loud' is invalid.*error, warn, info, debug/],
  ])("is refused: %j", async (args, complaint) => {
    expect(await refusal(args)).toEqual([64, expect.stringMatching(complaint)]);
  });

  it("of status without an agent says so", async () => {
    expect(await refusal(ground.args("status"))).toEqual([69, expect.stringMatching(/none is running/)]);
  });
});
