/** The agent as a process: what it prints where, what it does at once, and how it ends. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fileFor, hostCard, onGround, readyCard } from "../support/cli-ground.js";
import { runProgram } from "../support/program.js";

const build = { name: "build", ports: [{ id: "rp0" }, { id: "rp1" }] };
const world = { cards: [readyCard], vms: [build] };
const ATTACHED = /^\{.*"message":"Vm changed: build is running".*"attached":\["0000:41:00\.0"\]/m;

describe("the running agent", () => {
  it("prints one line on standard output, which begins with Ready and counts, and JSON lines on standard error", async () => {
    await onGround(world, async (ground) => {
      ground.writeUsual();
      const agent = await ground.readyAgent();
      await agent.until(ATTACHED, "stderr");
      const { stdout } = await agent.end("SIGTERM");
      expect(stdout).toBe("Ready: 1 VM (1 up), 2 sources up (missing: udevadm), 1 device\n");
      for (const line of agent.log()) {
        expect(line).toMatchObject({ level: expect.any(String), message: expect.any(String) });
        expect(Date.parse(String(line["at"]))).not.toBeNaN();
      }
    });
  });

  it("gives a card to the running VM and tells of it by status, plan and devices", async () => {
    await onGround(world, async (ground) => {
      ground.writeUsual();
      const agent = await ground.readyAgent();
      await agent.until(ATTACHED, "stderr");
      const status = JSON.parse((await runProgram(ground.args("status", "--json"))).stdout) as object;
      expect(status).toMatchObject({
        schema: "pciplug-status/1",
        agent: { mode: "act", pid: expect.any(Number), version: expect.any(String) },
        vms: [
          {
            name: "build",
            state: "up",
            attached: [{ address: "0000:41:00.0", id: "pciplug-0000-41-00.0", ours: true }],
          },
        ],
        devices: [{ address: "0000:41:00.0", vm: "build", state: "attached", held: null }],
      });
      const plan = await runProgram(ground.args("plan", "--json"));
      expect([plan.code, plan.stderr]).toEqual([0, ""]);
      expect(JSON.parse(plan.stdout)).toEqual({
        schema: "pciplug-plan/1",
        source: "agent",
        steps: [],
        assignments: [{ address: "0000:41:00.0", vm: "build", rule: "nvidia" }],
        held: [],
        rules: [{ name: "nvidia", mode: "batch", onNoMatch: "wait", matches: 1, got: 1 }],
      });
      const devices = await runProgram(ground.args("devices"));
      expect([devices.code, devices.stderr]).toEqual([0, ""]);
      expect(devices.stdout).toMatch(/^0000:41:00\.0 +10de:2204 .* build +attached$/m);
    });
  });

  it("runs on when the reader of its standard output has gone", async () => {
    await onGround(world, async (ground) => {
      ground.writeUsual();
      const agent = ground.agent();
      agent.closeStdout();
      await agent.until(ATTACHED, "stderr");
      expect((await runProgram(ground.args("status"))).code).toBe(0);
      expect((await agent.end("SIGTERM")).code).toBe(0);
    });
  });
});

describe("an agent that is asked to end", () => {
  it.each(["SIGTERM", "SIGINT"] as const)("by %s leaves the VM and the host as they are", async (signal) => {
    await onGround(world, async (ground) => {
      ground.writeUsual();
      const agent = await ground.readyAgent();
      await agent.until(ATTACHED, "stderr");
      const before = ground.snapshot("host");
      const { code, signal: killedBy } = await agent.end(signal);
      expect([code, killedBy]).toEqual([0, null]);
      expect(ground.snapshot("host")).toEqual(before);
      expect(ground.sim.vm("build").attached()).toEqual([readyCard.address]);
      expect(existsSync(join(ground.state, "control.sock"))).toBe(false);
      expect((await runProgram(ground.args("status"))).code).toBe(69);
    });
  });

  it("finds everything again when it is started anew, and touches nothing", async () => {
    await onGround(world, async (ground) => {
      ground.writeUsual();
      const first = await ground.readyAgent();
      await first.until(ATTACHED, "stderr");
      await first.end("SIGKILL");
      const before = ground.snapshot("host");
      const again = await ground.readyAgent("--once");
      expect((await again.end()).code).toBe(0);
      expect(ground.snapshot("host")).toEqual(before);
      expect(again.stderr).not.toMatch(/Host write|Step started: (bind|attach|detach|release)/);
    });
  });
});

describe("agent --once", () => {
  it("ends with 0 when nothing is left to do", async () => {
    await onGround(world, async (ground) => {
      ground.writeUsual();
      const ended = await runProgram(ground.args("agent", "--once"));
      expect([ended.code, ended.stdout]).toEqual([0, expect.stringMatching(/^Ready.*\n$/)]);
      expect(ground.sim.vm("build").attached()).toEqual([readyCard.address]);
    });
  });

  it("ends with 2 when a device waits, and the log says for what", async () => {
    await onGround({ cards: [readyCard], vms: [{ name: "build", ports: [] }] }, async (ground) => {
      ground.writeUsual();
      const ended = await runProgram(ground.args("agent", "--once"));
      expect(ended.code).toBe(2);
      expect(ended.stderr).toMatch(/Decision: 0000:41:00\.0 is held.*no free hot-plug port in build/);
    });
  });
});

describe("agent --observe", () => {
  it("decides and tells, and writes nothing to the host or the VM", async () => {
    await onGround({ cards: [hostCard, readyCard], vms: [build] }, async (ground) => {
      ground.writeUsual();
      const before = ground.snapshot("host");
      const agent = await ground.readyAgent("--observe");
      const plan = await runProgram(ground.args("plan", "--json"));
      const { steps } = JSON.parse(plan.stdout) as { steps: { kind: string; addresses: string[] }[] };
      expect(steps.map((step) => [step.kind, ...step.addresses])).toContainEqual(["bind", hostCard.address]);
      const { code, stdout } = await agent.end("SIGTERM");
      expect([code, stdout]).toEqual([0, expect.stringMatching(/observing only\n$/)]);
      expect(ground.snapshot("host")).toEqual(before);
      expect(ground.sim.vm("build").attached()).toEqual([]);
      expect(existsSync(join(ground.state, "ledger.json"))).toBe(false);
    });
  });
});

describe("a host driver that does not let go", () => {
  it("costs a failed step, is put back as it was, and the file says everything that was written", async () => {
    await onGround({ cards: [hostCard], vms: [build] }, async (ground) => {
      ground.write(
        fileFor([["build", ground.sim.socketOf("build")]], [["nvidia", '{ address: "*:01:00.0" }', "build"]]),
      );
      const ended = await runProgram(ground.args("agent", "--once"));
      expect(ended.code).toBe(2);
      const audit = readFileSync(join(ground.state, "audit.jsonl"), "utf8").trim().split("\n");
      const writes = audit
        .map((line) => JSON.parse(line) as { event: string; after?: { path: string; text: string } })
        .flatMap((line) => (line.event === "host-write" && line.after !== undefined ? [line.after] : []))
        .map(({ path, text }) => [path.slice(ground.root.length), text]);
      expect(writes.slice(0, 2)).toEqual([
        ["/sys/bus/pci/devices/0000:01:00.0/driver_override", "vfio-pci\n"],
        ["/sys/bus/pci/drivers/nouveau/unbind", "0000:01:00.0\n"],
      ]);
      expect(readFileSync(join(ground.root, "sys/bus/pci/drivers/nouveau/unbind"), "utf8")).toBe(
        "0000:01:00.0\n",
      );
    });
  });
});
