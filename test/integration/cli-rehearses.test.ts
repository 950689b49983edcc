/** `pciplug rehearse` from a shell: files in, a timeline out, and nothing left behind. */
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RehearsalReport } from "../../src/core/rehearsal.js";
import { Program, runProgram } from "../support/program.js";
import { recordingOf } from "../support/rehearsals.js";

const HOST = recordingOf("ghw-i7-1270p-laptop");
let dir: string;

function write(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text, { mode: 0o644 });
  return path;
}

/** Everything temporary of the program goes into a folder of its own. */
function inScratch(): { readonly prefix: readonly string[]; readonly left: () => string[] } {
  const scratch = mkdtempSync(join(dir, "t"));
  return { prefix: ["env", `TMPDIR=${scratch}`], left: () => readdirSync(scratch) };
}

function args(...more: readonly string[]): string[] {
  return ["rehearse", "--host", HOST, "--config", join(dir, "rules.yaml"), ...more];
}

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "pciplug-test-"));
  write(
    "rules.yaml",
    "vms: [{name: net, qmp: /run/net.sock}]\nrules: [{name: wifi, match: {class: wifi}, vm: net}]\n",
  );
  write("other.yaml", "vms: [{name: net, qmp: /run/net.sock}]\nrules: []\n");
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe("pciplug rehearse", () => {
  it("prints what was assumed, what comes of each event, and who has what at the end", async () => {
    const events = write(
      "events.yaml",
      `
- {vm-restart: net}
- {policy: other.yaml}          # found beside this file
- {wait: 60s}
- {at: 2m, policy: rules.yaml}
`,
    );
    const ended = await runProgram(args("--events", events));
    expect([ended.code, ended.stderr]).toEqual([0, ""]);
    expect(ended.stdout).toBe(`\
note: what the host stands on was not recorded: nothing but bridges is protected

t+0 s  the host as recorded: 23 devices, 1 VM
   0000:00:14.3 belongs to net (rule wifi)
   bind 0000:00:14.3 for net
   attach 0000:00:14.3 for net
   VM net is running, has 0000:00:14.3

t+2 s  VM net restarts
   attach 0000:00:14.3 for net
   VM net is running, has 0000:00:14.3

t+4 s  the rules of other.yaml take effect
   0000:00:14.3 is nobody's any more
   detach 0000:00:14.3 for net (no rule claims it any more)
   release 0000:00:14.3 for net (no rule gives it to this VM any more)
   VM net is running, has nothing

t+4 s  60 s pass

t+120 s  the rules of rules.yaml take effect
   0000:00:14.3 belongs to net (rule wifi)
   bind 0000:00:14.3 for net
   attach 0000:00:14.3 for net
   VM net is running, has 0000:00:14.3

At the end:
ADDRESS       VM   RULE  STATE
0000:00:14.3  net  wifi  attached
`);
  });

  it("prints one JSON document, which is the same each time", async () => {
    const scratch = inScratch();
    const events = write("stop.yaml", "- {vm-stop: net}\n- {wait: 90s}\n");
    const [first, second] = [
      await runProgram(args("--events", events, "--json"), scratch),
      await runProgram(args("--events", events, "--json"), { prefix: ["env", "LANG=C"] }),
    ];
    expect([first.code, first.stderr, second.stdout]).toEqual([2, "", first.stdout]);
    expect(scratch.left()).toEqual([]);
    const report = JSON.parse(first.stdout) as RehearsalReport;
    expect(report.schema).toBe("pciplug-rehearsal/1");
    expect(report.timeline.map(({ kind }) => kind)).toEqual(["start", "vm-stop", "wait"]);
    expect(report.assignments).toEqual([{ address: "0000:00:14.3", vm: "net", rule: "wifi", state: "held" }]);
    expect(report.held).toMatchObject([{ address: "0000:00:14.3", reason: { kind: "vm-down" } }]);
  });

  it("ends with 78 at a bad file, and with its place where it has one", async () => {
    const bad = write("bad.yaml", "- {vm-stop: net}\n- {vm-stopp: net}\n");
    const impossible = write("impossible.yaml", "- {vm-start: net}\n- {vm-start: net}\n");
    const stray = write("stray.yaml", "- {policy: nowhere.yaml}\n");
    const answers = await Promise.all([
      runProgram(args("--events", bad)),
      runProgram(args("--events", impossible)),
      runProgram(args("--events", stray)),
      runProgram(args("--events", join(dir, "absent.yaml"))),
      runProgram(["rehearse", "--host", bad, "--config", join(dir, "rules.yaml")]),
    ]);
    expect(answers.map(({ code }) => code)).toEqual([78, 78, 78, 78, 78]);
    expect(answers.map(({ stderr }) => stderr)).toEqual([
      expect.stringMatching(/bad.yaml:2:.*vm-stopp: is not a key here/),
      expect.stringMatching(/^pciplug: cannot play event 2 \(VM net starts\)/),
      expect.stringMatching(/nowhere.yaml: is not there/),
      expect.stringMatching(/absent.yaml: is not there: expected a YAML list of events\n$/),
      expect.stringMatching(/^pciplug: cannot read the recorded host /),
    ]);
  });

  it("needs no root", async () => {
    chmodSync(dir, 0o755);
    const nobody = ["setpriv", "--reuid", "65534", "--clear-groups"];
    // A checkout below root's home can only be run by another user with the right to read it.
    const reading = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"];
    const ended = await runProgram(args(), {
      prefix: process.getuid?.() === 0 ? [...nobody, ...reading] : [],
    });
    expect([ended.code, ended.stderr]).toEqual([0, ""]);
  });

  it.each([
    ["SIGHUP", 129],
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("leaves nothing behind when it is interrupted by %s", async (signal, code) => {
    const scratch = inScratch();
    const events = write("long.yaml", "- {vm-restart: net}\n".repeat(500));
    const program = new Program(args("--events", events), scratch);
    await program.until(/VM net restarts/);
    const ended = await program.end(signal);
    expect([ended.code, ended.signal]).toEqual([code, null]);
    expect(ended.stderr).toMatch(/called off/);
    expect(scratch.left()).toEqual([]);
  });
});
