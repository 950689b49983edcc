/** The agent as a process: observing it touches nothing, once it does one plan, and it ends in time whatever hangs. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import type { AgentOptions } from "../../src/agent/options.js";
import { runProcess } from "../../src/agent/run.js";
import { type AgentWorld, aCard, type FileFacts, inWorld, ports } from "../support/agent-world.js";
import { agentOptions, anEdge } from "../support/running-agent.js";

const gpu = "0000:01:00.0";
const nic = "0000:02:00.0";
const build = { name: "build", ports: ports(3) };
const other = { name: "other", ports: ports(3) };
const file: FileFacts = { rules: [{ name: "gpu", match: { vendor: "10de" }, vm: "build" }] };
const untouched = { driver: "nouveau", override: null };

interface Ended {
  readonly code: number;
  readonly out: readonly string[];
  readonly log: string;
}

/** Runs the process on the world's host; `untilStop` says when SIGTERM comes. */
async function run(
  world: AgentWorld,
  text: string,
  options: Partial<AgentOptions> = {},
  untilStop: () => Promise<unknown> = () => new Promise(() => undefined),
): Promise<Ended> {
  const out: string[] = [];
  const log = new PassThrough();
  const base = { ...agentOptions(world), ...options };
  writeFileSync(base.configPath, text, { mode: 0o600 });
  const edge = {
    ...anEdge(world),
    out: (line: string) => void out.push(line),
    errStream: log as unknown as NodeJS.WriteStream,
    stopSignal: () => untilStop().then(() => "SIGTERM"),
  };
  const code = await runProcess(base, edge, { io: world.host.io, trustedAbove: world.dir });
  return { code, out, log: String(log.read() ?? "") };
}

describe("an agent that only observes", () => {
  it("writes nothing to the host and orders nothing of a VM, and the audit says what would be done", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const agent = await world.start(file, { isObserving: true });
      const would = await agent.untilEntry(
        "a decision",
        (entry) => entry.event === "decision" && entry.would === true,
      );
      expect(would).toMatchObject({
        what: `${gpu}: would bind`,
        vm: "build",
        address: gpu,
        after: { verdict: "planned", step: { kind: "bind" } },
      });
      await world.host.pull(gpu);
      await agent.until("the card is gone", ({ devices }) => devices.size === 0);
      await agent.look();
      expect(world.host.writes).toEqual([]);
      expect(world.movesOf("build")).toEqual([]);
      expect(existsSync(join(world.stateDir, "ledger.json"))).toBe(false);
      expect(agent.entries.filter(({ event }) => event === "step-started" || event === "host-write")).toEqual(
        [],
      );
    });
  });

  it("leaves alone what an acting one would take away", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const first = await world.start(file);
      await first.untilIn("build", [gpu]);
      await first.stop();
      const { writes } = world.deeds();
      const moves = world.movesOf("build");
      const agent = await world.start({ rules: [] }, { isObserving: true });
      await agent.untilEntry(
        "a decision",
        (entry) => entry.event === "decision" && entry.what.endsWith("would detach"),
      );
      await agent.look();
      expect(world.inVms()).toEqual({ build: [gpu] });
      expect(world.deeds().writes).toBe(writes);
      expect(world.movesOf("build")).toEqual(moves);
    });
  });
});

describe("an agent that runs once", () => {
  it("ends with 0 when everything is where it belongs", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const ended = await run(world, world.text(file), { isOnce: true });
      expect(ended.code).toBe(0);
      expect(ended.out).toHaveLength(1);
      expect(ended.out[0]).toMatch(/^Ready: 1 VM \(1 up\), .*, 1 device$/);
      expect(world.inVms()).toEqual({ build: [gpu] });
      const again = await run(world, world.text(file), { isOnce: true });
      expect(again.code).toBe(0);
      expect(world.movesOf("build")).toHaveLength(1);
    });
  });

  it("ends with 2 when something wanted is held", async () => {
    await inWorld({ cards: [aCard(gpu), aCard(nic, { class: "020000" })], vms: [build] }, async (world) => {
      const vms = [
        { name: "build", qmp: world.sim.socketOf("build") },
        { name: "down", qmp: world.sim.socketOf("down") },
      ];
      const rules = [
        { name: "gpu", match: { class: "display" }, vm: "build" },
        { name: "nic", match: { class: "ethernet" }, vm: "down" },
      ];
      const ended = await run(world, world.text({ vms, rules }), { isOnce: true });
      expect(ended.code).toBe(2);
      expect(ended.out[0]).toMatch(/^Ready: 2 VMs \(1 up, 1 absent\)/);
      expect(world.inVms()).toEqual({ build: [gpu] });
      expect(world.hostStateOf(nic)).toEqual(untouched);
    });
  });

  it("ends with 2 when an unplug is still pending, without waiting for the guest", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      await run(world, world.text(file), { isOnce: true });
      world.vm("build").setGuest({ behaviour: "refuses" });
      const ended = await run(world, world.text({ rules: [] }), { isOnce: true });
      expect(ended.code).toBe(2);
      expect(world.inVms()).toEqual({ build: [gpu] });
    });
  });
});

describe("an agent that is asked to end", () => {
  it("ends with 0 and leaves VMs and devices as they are", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const ended = await run(world, world.text(file), {}, () =>
        world.until("the card in the VM", () => world.vm("build").attached().length === 1),
      );
      expect(ended.code).toBe(0);
      expect(world.inVms()).toEqual({ build: [gpu] });
      expect(world.hostStateOf(gpu).driver).toBe("vfio-pci");
    });
  });

  it("ends in time although a write to the host hangs, and the next one finishes what it began", async () => {
    await inWorld(
      { cards: [aCard(gpu), aCard(nic, { class: "020000" })], vms: [build, other] },
      async (world) => {
        const rules = [
          { name: "gpu", match: { class: "display" }, vm: "build" },
          { name: "nic", match: { class: "ethernet" }, vm: "other" },
        ];
        const disarm = world.host.intercept((path, text) =>
          path.endsWith("/nouveau/unbind") && text.startsWith(gpu) ? "stuck" : undefined,
        );
        let askedAtMs = 0;
        const ended = await run(world, world.text({ rules }), {}, async () => {
          await world.until("the other VM's card", () => world.vm("other").attached().length === 1);
          askedAtMs = Date.now();
        });
        // The aim is two seconds; a write has a deadline of twenty.
        expect(Date.now() - askedAtMs).toBeLessThan(10_000);
        expect(ended.code).toBe(0);
        expect(world.ledger().map((lease) => lease.address)).toEqual([gpu, nic]);
        expect(world.hostStateOf(gpu)).toEqual({ driver: "nouveau", override: "vfio-pci" });
        disarm();
        const next = await world.start({ rules });
        await next.untilIn("build", [gpu]);
        await next.untilIn("other", [nic]);
      },
    );
  });
});

describe("an agent that cannot begin", () => {
  it("ends with 78 for a broken file, with the line, and changes nothing", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const ended = await run(world, `${world.text(file).slice(0, -1)},\n"oops": 1}`);
      expect(ended.code).toBe(78);
      expect(ended.log).toContain("story.yaml:2:");
      expect(ended.out).toEqual([]);
      expect(existsSync(world.stateDir)).toBe(false);
      expect(world.host.writes).toEqual([]);
    });
  });

  it("says so when the host has no IOMMU, and changes nothing", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build], hasIommu: false }, async (world) => {
      await expect(run(world, world.text(file))).rejects.toMatchObject({ code: "agent.no-iommu" });
      expect(world.host.writes).toEqual([]);
    });
  });
});
