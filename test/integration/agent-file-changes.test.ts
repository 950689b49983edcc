/** The operator's file changes while the agent runs: what takes effect at once, and what is left alone. */
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadConfig } from "../../src/config/load.js";
import { watchConfig } from "../../src/config/watch.js";
import { type AgentWorld, aCard, type FileFacts, inWorld, ports } from "../support/agent-world.js";
import type { RunningAgent } from "../support/running-agent.js";

const cards = ["0000:01:00.0", "0000:02:00.0", "0000:03:00.0"];
const [first = "", second = "", third = ""] = cards;
const build = { name: "build", ports: ports(4) };
const other = { name: "other", ports: ports(4) };
const toBuild = (address: string | readonly string[], name = "some") => ({
  name,
  match: { address },
  vm: "build",
});
const all: FileFacts = { rules: [toBuild(cards, "all")] };
const untouched = { driver: "nouveau", override: null };
const taken = { driver: "vfio-pci", override: "vfio-pci" };

/** A world with three cards and two VMs, and an agent that watches the file. */
async function underFile(
  file: FileFacts,
  story: (world: AgentWorld, agent: RunningAgent) => Promise<void>,
): Promise<void> {
  await inWorld({ cards: cards.map((address) => aCard(address)), vms: [build, other] }, async (world) => {
    await story(world, await world.startOnFile(file));
  });
}

/** The policy in force is that of this text of the file. */
async function inForce(agent: RunningAgent, world: AgentWorld, file: FileFacts): Promise<void> {
  const { version } = world.policy(file);
  await agent.until("the new policy", ({ policy }) => policy?.version === version);
}

describe("a file that changes for the better", () => {
  it("moves the card that a new rule names, and does nothing to the one that stays", async () => {
    await underFile({ rules: [toBuild(first)] }, async (world, agent) => {
      await agent.untilIn("build", [first]);
      const moves = world.movesOf("build");
      const writes = agent.steps();
      world.write(world.text({ rules: [toBuild(first), toBuild(second, "more")] }));
      await agent.untilIn("build", [first, second]);
      expect(world.movesOf("build").slice(moves.length)).toEqual([expect.stringMatching(/^device_add .*02/)]);
      expect(agent.steps().slice(writes.length)).toEqual(["bind done", "attach done"]);
    });
  });

  it("writes down what changed, by name", async () => {
    await underFile({ rules: [toBuild(first, "a"), toBuild(second, "b")] }, async (world, agent) => {
      world.write(
        world.text({ rules: [toBuild(third, "b"), toBuild(second, "c")], limits: { detachPerChange: "2" } }),
      );
      const line = await agent.untilEntry(
        "the second policy",
        (entry) => entry.event === "policy-loaded" && entry.after.change !== undefined,
      );
      expect(line).toMatchObject({
        who: "operator",
        what: "2 rules for 2 VMs (rules: added c, removed a, changed b; limits changed)",
        after: {
          change: {
            rules: { added: ["c"], removed: ["a"], changed: ["b"] },
            vms: { added: [], removed: [], changed: [] },
            settings: ["limits"],
          },
        },
      });
    });
  });

  it("gives a single card back when its rule goes", async () => {
    await underFile(all, async (world, agent) => {
      await agent.untilIn("build", cards);
      world.write(world.text({ rules: [toBuild([first, second])] }));
      await agent.untilIn("build", [first, second]);
      await agent.until("its lease has ended", ({ leases }) => leases.size === 2);
      expect(world.hostStateOf(third)).toEqual(untouched);
    });
  });

  it("takes no card back while the fact that its rule now asks for is yet to be read", async () => {
    await underFile({ rules: [toBuild(first)] }, async (world, agent) => {
      await agent.untilIn("build", [first]);
      const moves = world.movesOf("build").length;
      const rule = { ...toBuild(first), match: { address: first, sysfs: { vendor: "0x10de" } } };
      world.write(JSON.stringify({ ...(JSON.parse(world.text(all)) as object), rules: [rule] }));
      await agent.until("the fact", ({ policy, devices }) => {
        const device = [...devices.values()].find(({ address }) => address === first);
        return device?.attributes?.["vendor"] === "0x10de" && policy?.rules[0]?.name === "some";
      });
      await agent.rest();
      expect(agent.heldAs(first)).toEqual([]);
      expect(world.movesOf("build").length).toBe(moves);
    });
  });

  it("says nothing when it is only touched", async () => {
    await underFile(all, async (world, agent) => {
      await agent.untilIn("build", cards);
      const lines = agent.entries.length;
      world.write(world.text(all));
      expect(await world.reload()).toMatchObject({ applied: true, changed: false, held: [] });
      await agent.rest();
      expect(agent.entries.slice(lines)).toEqual([]);
    });
  });

  it("opens other watch sources when it names them", async () => {
    await underFile(all, async (world, agent) => {
      await agent.until("the source", ({ sources }) => sources.get("udev-database")?.kind === "up");
      const { sources, ...rest } = JSON.parse(world.text(all)) as { sources: object };
      world.write(JSON.stringify({ ...rest, sources: { ...sources, udevDatabase: false, rescan: "1s" } }));
      await agent.until("no such source", ({ sources: now }) => now.get("udev-database")?.kind === "off");
      await agent.until(
        "its period",
        ({ sources: now }) => now.get("rescan")?.detail.includes("1000") === true,
      );
    });
  });
});

describe("a file that is broken", () => {
  it("is refused with its reason, the last good policy stays and goes on working, and status says so", async () => {
    await underFile(all, async (world, agent) => {
      await agent.untilIn("build", cards);
      const { version } = world.policy(all);
      world.write(world.text(all).replace('"match"', '"mach"'));
      const line = await agent.untilEntry("the refusal", (entry) => entry.event === "policy-refused");
      expect(line).toMatchObject({
        who: "operator",
        what: "the file is refused; the last good policy stays",
        why: expect.stringContaining("mach"),
        before: { version },
      });
      const { policy } = await world.status();
      expect(policy).toMatchObject({ file: world.file, version });
      expect(policy?.refused?.reasons.join()).toMatch(/story\.yaml:1:\d+: rules\[0\].*mach/);
      expect(Date.parse(policy?.refused?.at ?? "")).toBeGreaterThanOrEqual(
        Date.parse(policy?.loadedAt ?? ""),
      );

      await world.host.pull(third);
      await agent.untilIn("build", [first, second]);
      await world.host.plug(aCard(third));
      await agent.untilIn("build", cards);
    });
  });

  it("is refused once, however often it is read, and forgotten when the old text is back", async () => {
    await underFile(all, async (world, agent) => {
      world.write("rules: [");
      await agent.until("the refusal", ({ policyRefusal }) => policyRefusal !== null);
      const answers = [await world.reload(), await world.reload(true)];
      for (const { applied, changed, issues } of answers) {
        expect({ applied, changed, issues: issues.length }).toEqual({
          applied: false,
          changed: false,
          issues: 1,
        });
      }
      world.write(world.text(all));
      await agent.until("no refusal", ({ policyRefusal }) => policyRefusal === null);
      const lines = agent.entries.filter((entry) => /^policy|^detach/.test(entry.event));
      expect(lines.map((entry) => entry.event)).toEqual(["policy-loaded", "policy-refused", "policy-loaded"]);
      expect(lines.at(-1)?.what).toBe("1 rule for 2 VMs (it means the same)");
    });
  });

  it("is refused while it is half-written or away, and taken when it is whole", async () => {
    await underFile(all, async (world, agent) => {
      await agent.untilIn("build", cards);
      rmSync(world.file);
      await agent.untilEntry("is not there", (entry) => /is not there/.test(entry.why ?? ""));
      const next: FileFacts = { rules: [toBuild([first, second])] };
      world.write(world.text(next).slice(0, -20));
      await agent.untilEntry(
        "half a file",
        (entry) => entry.event === "policy-refused" && !/is not there/.test(entry.why ?? ""),
      );
      expect(world.inVms()).toEqual({ build: cards, other: [] });
      world.write(world.text(next));
      await agent.untilIn("build", [first, second]);
    });
  });
});

describe("a file that would strip a running VM", () => {
  const none: FileFacts = { rules: [] };

  it("detaches nothing, says how many it would be, and means it only when that is confirmed", async () => {
    await underFile(all, async (world, agent) => {
      await agent.untilIn("build", cards);
      const { writes } = world.deeds();
      world.write(world.text(none));
      await inForce(agent, world, none);
      expect(await agent.untilHeld(third, "detach-limit")).toBe(
        "policy change would detach 3 devices (limit 1): run `pciplug reload --confirm` to mean it",
      );
      await agent.rest();
      expect(world.inVms()).toEqual({ build: cards, other: [] });
      expect(world.deeds().writes).toBe(writes);

      const unconfirmed = await world.reload();
      expect(unconfirmed).toMatchObject({ applied: true, changed: false });
      expect(unconfirmed.held.map(({ address, reason }) => [address, reason.kind])).toEqual(
        cards.map((address) => [address, "detach-limit"]),
      );
      expect(world.inVms()).toEqual({ build: cards, other: [] });

      expect(await world.reload(true)).toMatchObject({ applied: true, held: [] });
      await agent.until("no lease", ({ leases }) => leases.size === 0);
      expect(world.inVms()).toEqual({ build: [], other: [] });
      expect(cards.map((address) => world.hostStateOf(address))).toEqual([untouched, untouched, untouched]);
      expect(agent.entries.map((entry) => entry.event)).toContain("detach-confirmed");
    });
  });

  it("reads and confirms in one go", async () => {
    await underFile(all, async (world, agent) => {
      await agent.untilIn("build", cards);
      world.write(world.text(none));
      expect(await world.reload(true)).toMatchObject({ applied: true, held: [] });
      await agent.until("no lease", ({ leases }) => leases.size === 0);
    });
  });

  it("is not confirmed by a word about an earlier file, nor by that of the start", async () => {
    await inWorld({ cards: cards.map((address) => aCard(address)), vms: [build, other] }, async (world) => {
      const agent = await world.startOnFile(all, { isDetachConfirmed: true });
      await agent.untilIn("build", cards);
      await world.reload(true);
      world.write(world.text(none));
      await agent.untilHeld(first, "detach-limit");
      await agent.rest();
      expect(world.inVms()).toEqual({ build: cards, other: [] });
    });
  });

  it("is as if it had not been when the old file is back", async () => {
    await underFile(all, async (world, agent) => {
      await agent.untilIn("build", cards);
      const moves = world.movesOf("build").length;
      world.write(world.text(none));
      await agent.untilHeld(first, "detach-limit");
      world.write(world.text(all));
      await inForce(agent, world, all);
      await agent.rest();
      expect(agent.heldAs(first)).toEqual([]);
      expect(world.movesOf("build").length).toBe(moves);
    });
  });
});

describe("the VMs of the file", () => {
  const vmsOf = (world: AgentWorld, ...names: readonly string[]) =>
    names.map((name) => ({ name, qmp: world.sim.socketOf(name) }));

  it("come into it at run time: a link is opened and cards move, while the others keep their connections", async () => {
    await inWorld({ cards: cards.map((address) => aCard(address)), vms: [build, other] }, async (world) => {
      const rules = [toBuild(first)];
      const agent = await world.startOnFile({ rules, vms: vmsOf(world, "build") });
      await agent.untilIn("build", [first]);
      expect([world.vm("build").connections, world.vm("other").connections]).toEqual([1, 0]);
      const commands = world.vm("build").commands.length;

      const more = [...rules, { name: "more", match: { address: second }, vm: "other" }];
      world.write(world.text({ rules: more, vms: vmsOf(world, "other", "build") }));
      await agent.untilIn("other", [second]);
      expect([world.vm("build").connections, world.vm("other").connections]).toEqual([1, 1]);
      expect(world.vm("build").commands.length).toBe(commands);
    });
  });

  it("go out of it: their devices are orphaned and untouched, and their links end; they come back as they were", async () => {
    await underFile(all, async (world, agent) => {
      await agent.untilIn("build", cards);
      const { writes } = world.deeds();
      const moves = world.movesOf("build").length;
      const without: FileFacts = { rules: [], vms: vmsOf(world, "other") };
      world.write(world.text(without));
      expect(await agent.untilHeld(first, "vm-missing")).toBe("orphaned: build is not in the file any more");
      await agent.rest();
      expect((await world.status()).vms.map((vm) => vm.name)).toEqual(["other"]);

      // A reboot of its guest would be looked at over a link that still stands.
      const commands = world.vm("build").commands.length;
      world.vm("build").guestReboot();
      await agent.rest();
      expect(world.vm("build").commands.length).toBe(commands);

      world.write(world.text(all));
      await agent.untilIn("build", cards);
      expect(world.vm("build").connections).toBe(2);
      expect(world.vm("other").connections).toBe(1);
      expect(world.movesOf("build").length).toBe(moves);
      expect(world.deeds().writes).toBe(writes);
      expect(cards.map((address) => world.hostStateOf(address))).toEqual([taken, taken, taken]);
    });
  });

  it("may move to another socket: the old link ends, the new one finds everything as it was", async () => {
    await inWorld({ cards: cards.map((address) => aCard(address)), vms: [build, other] }, async (world) => {
      const agent = await world.startOnFile(all);
      await agent.untilIn("build", cards);
      const moves = world.movesOf("build").length;
      const moved = join(world.dir, "moved.sock");
      await world.vm("build").addMonitor(moved);
      const vms = [{ name: "build", qmp: moved }, ...vmsOf(world, "other")];
      world.write(world.text({ ...all, vms }));
      await world.until("a second connection", () => world.vm("build").connections === 2);
      await agent.untilIn("build", cards);
      expect(world.movesOf("build").length).toBe(moves);
      expect(agent.world.vms.get("build")?.kind).toBe("up");
    });
  });
});

describe("a file behind NixOS's links", () => {
  it("takes effect when the link in the middle is swapped", async () => {
    await inWorld({ cards: cards.map((address) => aCard(address)), vms: [build, other] }, async (world) => {
      const at = (...parts: readonly string[]) => join(world.dir, "nixos", ...parts);
      const generation = (name: string, file: FileFacts): string => {
        mkdirSync(at("store", name, "etc", "pciplug"), { recursive: true });
        writeFileSync(at("store", `${name}.yaml`), world.text(file));
        symlinkSync(at("store", `${name}.yaml`), at("store", name, "etc", "pciplug", "config.yaml"));
        return at("store", name, "etc");
      };
      const before: FileFacts = { rules: [toBuild(first)] };
      const old = generation("a", before);
      mkdirSync(at("etc", "pciplug"), { recursive: true });
      symlinkSync(old, at("etc", "static"));
      const path = at("etc", "pciplug", "config.yaml");
      symlinkSync(at("etc", "static", "pciplug", "config.yaml"), path);
      const file = { path, load: () => loadConfig(path), news$: watchConfig(path) };
      const agent = await world.start(before, { file });
      await agent.untilIn("build", [first]);

      symlinkSync(generation("b", { rules: [toBuild([first, second])] }), at("etc", "static.tmp"));
      renameSync(at("etc", "static.tmp"), at("etc", "static"));
      await agent.untilIn("build", [first, second]);
    });
  });
});
