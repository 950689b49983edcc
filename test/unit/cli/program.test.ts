/** The command line as a whole, with a terminal of paper. */
import { describe, expect, it } from "vitest";
import { AgentError, InvariantError } from "../../../src/base/error.js";
import { renderCompletion } from "../../../src/cli/completion.js";
import type { CliIo } from "../../../src/cli/io.js";
import { buildProgram, exitCodeOfError, runProgram } from "../../../src/cli/program.js";

function paper(input = ""): { io: CliIo; out: string[]; err: string[]; codes: number[] } {
  const [out, err, codes]: [string[], string[], number[]] = [[], [], []];
  const io = {
    out: (line: string) => out.push(line),
    err: (line: string) => err.push(line),
    now: () => 0,
    input: () => Promise.resolve(input),
    uid: 0,
    exit: (code: number) => codes.push(code),
  };
  return { io, out, err, codes };
}

describe("check", () => {
  const good = "vms: [{name: a, qmp: /run/a.sock}]\nrules: []\n";

  it("takes one file and refuses to guess which of two is meant", async () => {
    const { io, err, codes } = paper();
    await runProgram(io, "1.0.0", ["check", "-c", "a.yaml", "b.yaml"]);
    expect([codes, err]).toEqual([
      [64],
      ["pciplug: say one file, not both b.yaml and --config a.yaml (see: pciplug check --help)"],
    ]);
  });

  it.each(["-", "/dev/stdin"])("reads standard input as %s", async (name) => {
    const { io, out, codes } = paper(good);
    await runProgram(io, "1.0.0", ["check", name]);
    expect([codes, out]).toEqual([[0], [`${name}: ok (1 VM, 0 rules)`]]);
    const bad = paper("vms: [\n");
    await runProgram(bad.io, "1.0.0", ["check", name]);
    expect([bad.codes, bad.err[0]]).toEqual([[78], expect.stringContaining(`${name}:2:1: is not YAML`)]);
  });
});

describe("the program", () => {
  it.each([
    [["frobnicate"], "unknown command 'frobnicate' (see: pciplug --help)"],
    [["state", "frobnicate"], "unknown command 'frobnicate' (see: pciplug state --help)"],
    [["plan", "--rooot"], "unknown option '--rooot' (Did you mean --root?) (see: pciplug plan --help)"],
    [["status", "-s"], "option '-s, --state <dir>' argument missing (see: pciplug status --help)"],
    [["frob\u001b[2Jnicate"], "unknown command 'frob\\u001b[2Jnicate' (see: pciplug --help)"],
    [
      ["agent", "--log-level", "loud"],
      "option '--log-level <level>' argument 'loud' is invalid. Allowed choices are error, warn, info, debug. (see: pciplug agent --help)",
    ],
    [
      ["state", "accept-loss", "now"],
      "too many arguments for 'accept-loss'. Expected 0 arguments but got 1. (see: pciplug state accept-loss --help)",
    ],
  ])("answers %j with one line that says where help is", async (args, complaint) => {
    const { io, out, err, codes } = paper();
    await runProgram(io, "1.2.3", args);
    expect([out, err, codes]).toEqual([[], [`pciplug: ${complaint}`], [64]]);
  });

  it("shows its help, as an error, when no command is named", async () => {
    const { io, out, err, codes } = paper();
    await runProgram(io, "1.2.3", []);
    expect([out, codes]).toEqual([[], [64]]);
    expect(err.join("\n")).toMatch(/^Usage: pciplug /);
  });

  it.each([
    [["--help"], /^Usage: pciplug [\s\S]*Exit codes:[\s\S]*78 bad file/],
    [["help", "plan"], /^Usage: pciplug plan [\s\S]*--offline/],
    [["agent", "--help"], /--observe[\s\S]*--once[\s\S]*--confirm-detach[\s\S]*choices: "error", "warn"/],
    [["status", "-h"], /^Usage: pciplug status [\s\S]*--json/],
    [["devices", "--help"], /^Usage: pciplug devices [\s\S]*--root/],
    [["reload", "--help"], /--confirm[\s\S]*limits\.detachPerChange/],
    [["check", "--help"], /^Usage: pciplug check /],
    [["state", "--help"], /accept-loss/],
    [["state", "accept-loss", "--help"], /the\s+agent\s+must\s+not\s+run/],
    [["demo", "--help"], /no\s+root,\s+no\s+QEMU/],
    [["completion", "--help"], /bash/],
  ])("prints help for %j", async (args, text) => {
    const { io, out, err, codes } = paper();
    await runProgram(io, "1.2.3", args);
    expect([err, codes]).toEqual([[], [0]]);
    expect(out.join("\n")).toMatch(text);
  });

  it("prints its version", async () => {
    const { io, out, codes } = paper();
    await runProgram(io, "1.2.3", ["--version"]);
    expect([out, codes]).toEqual([["1.2.3"], [0]]);
  });

  it("turns what was thrown into the exit code that callers branch on", () => {
    const codeOf = (code: string) => exitCodeOfError(new AgentError(code, "cannot"));
    expect(codeOf("control.no-agent")).toBe(69);
    expect(codeOf("host.no-sysfs")).toBe(69);
    expect(codeOf("agent.no-iommu")).toBe(69);
    expect(codeOf("host.state-locked")).toBe(75);
    expect(codeOf("host.state-unsafe")).toBe(77);
    expect(codeOf("agent.not-root")).toBe(77);
    expect(codeOf("host.state-newer")).toBe(78);
    expect(codeOf("something.new")).toBe(1);
    expect(exitCodeOfError(new InvariantError("a bug"))).toBe(1);
    expect(exitCodeOfError("not even an error")).toBe(1);
  });

  it("offers every command and its long options for completion", () => {
    const script = renderCompletion(buildProgram(paper().io, "1.2.3"));
    for (const word of [
      "agent",
      "status",
      "devices",
      "plan",
      "check",
      "reload",
      "state",
      "demo",
      "--confirm-detach",
    ]) {
      expect(script).toContain(word);
    }
  });
});
