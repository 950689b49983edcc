/** Unplugs that take too long: told as overdue, asked for again by the rules, ended by whatever ends them. */
import { describe, expect, it } from "vitest";
import { renderStatus } from "../../src/cli/status.js";
import { type AgentWorld, aCard, inWorld, ports } from "../support/agent-world.js";
import type { RunningAgent } from "../support/running-agent.js";

const gpu = "0000:01:00.0";
const id = "pciplug-0000-01-00.0";
const file = { rules: [{ name: "gpu", match: { vendor: "10de" }, vm: "build" }] };
const untouched = { driver: "nouveau", override: null };

interface Plot {
  readonly mode?: "acpi" | "native";
  /** Of the VM's entry in the file, once the rule has gone. */
  readonly resetToComplete?: string;
  readonly isRebootEnd?: boolean;
}

/** A VM that has the card and a guest that hangs, and an agent whose file does not name it any more. */
async function withHungGuest(
  { mode = "acpi", resetToComplete, isRebootEnd = false }: Plot,
  story: (world: AgentWorld, agent: RunningAgent) => Promise<void>,
): Promise<void> {
  const vm = { name: "build", ports: ports(3), mode, isRebootEnd };
  await inWorld({ cards: [aCard(gpu)], vms: [vm] }, async (world) => {
    const first = await world.start(file);
    await first.untilIn("build", [gpu]);
    await first.stop();
    world.vm("build").setGuest({ behaviour: "refuses" });
    const qmp = world.sim.socketOf("build");
    const entry = { name: "build", qmp, ...(resetToComplete === undefined ? {} : { resetToComplete }) };
    const agent = await world.start({ rules: [], vms: [entry] });
    await agent.until("a pending unplug", ({ unplugs }) => unplugs.size === 1);
    await story(world, agent);
  });
}

/** Lets time pass until the VM was asked so many times. */
async function untilAsked(world: AgentWorld, agent: RunningAgent, times: number): Promise<void> {
  for (let asked = 1; asked < times; asked += 1) {
    world.advance(10_000);
    await agent.until(
      `request ${asked + 1}`,
      ({ unplugs, running }) =>
        [...unplugs.values()].some((unplug) => unplug.times > asked) && running.size === 0,
    );
  }
}

function resets(world: AgentWorld): number {
  return world.vm("build").commands.filter(({ name }) => name === "system_reset").length;
}

// Side by side: each of them waits two seconds for an answer that does not come.
describe.concurrent("an unplug that takes too long", () => {
  it("is pending, then overdue, in status with how long and how often, until it is gone", async () => {
    await withHungGuest({}, async (world, agent) => {
      expect((await world.status()).vms[0]?.leaving).toMatchObject([
        { address: gpu, id, state: "pending", mode: "acpi", times: 1 },
      ]);
      await untilAsked(world, agent, 3);
      expect(await agent.untilHeld(gpu, "unplug-overdue")).toMatch(
        /^overdue: build was asked 3 times in \d+ s to let go and has not yet$/,
      );
      const { vms, devices } = await world.status();
      expect(vms[0]?.leaving).toMatchObject([{ state: "overdue", times: 3 }]);
      expect(vms[0]?.leaving?.[0]?.forMs).toBeGreaterThan(19_000);
      expect(devices[0]).toMatchObject({ state: "attached", passage: { taken: true } });
      expect(renderStatus(await world.status()).join("\n")).toMatch(
        /build: 0000:01:00\.0 was asked to leave 3 times in \d+ s, by ACPI: overdue/,
      );
      // Nothing is given back before the VM has let go.
      expect(world.hostStateOf(gpu).driver).toBe("vfio-pci");
      expect(resets(world)).toBe(0);

      world.vm("build").ejectFromGuest(id);
      await agent.until("no lease", ({ leases }) => leases.size === 0);
      expect(world.hostStateOf(gpu)).toEqual(untouched);
      expect((await world.status()).vms[0]).not.toHaveProperty("leaving");
      expect(agent.world.holds).toEqual([]);
    });
  });

  it("is completed by a reboot where ACPI tells the guest", async () => {
    await withHungGuest({}, async (world, agent) => {
      await world.vm("build").guestReboot();
      await agent.until("no lease", ({ leases }) => leases.size === 0);
      expect(world.hostStateOf(gpu)).toEqual(untouched);
      expect(agent.world.holds).toEqual([]);
    });
  });

  it("is not completed by a reboot where the port itself tells it: the new guest is asked again", async () => {
    await withHungGuest({ mode: "native" }, async (world, agent) => {
      await untilAsked(world, agent, 2);
      await world.vm("build").guestReboot();
      await agent.until("the reboot", ({ resets }) => resets.size === 1);
      await agent.rest();
      expect(world.hostStateOf(gpu).driver).toBe("vfio-pci");
      world.vm("build").setGuest({ behaviour: "co-operative" });
      world.advance(10_000);
      await agent.until("no lease", ({ leases }) => leases.size === 0);
      expect(world.hostStateOf(gpu)).toEqual(untouched);
    });
  });

  it("is learnt anew by an agent that starts again: it asks once more, and a late answer is its doing", async () => {
    await withHungGuest({ mode: "native" }, async (world, agent) => {
      agent.crash();
      const next = await world.start({ rules: [] });
      await next.until("the unplug", ({ unplugs }) => unplugs.size === 1);
      world.vm("build").ejectFromGuest(id);
      await next.until("no lease", ({ leases }) => leases.size === 0);
      expect(next.world.holds).toEqual([]);
      expect(world.hostStateOf(gpu)).toEqual(untouched);
    });
  });
});

describe.concurrent("resetToComplete", () => {
  it("resets the machine once, after the stated time, with its reason in the audit before", async () => {
    await withHungGuest({ resetToComplete: "60s" }, async (world, agent) => {
      await untilAsked(world, agent, 3);
      world.advance(30_000);
      await agent.rest();
      expect(resets(world)).toBe(0);
      world.advance(30_000);
      await agent.until("no lease", ({ leases }) => leases.size === 0);
      expect(resets(world)).toBe(1);
      expect(world.hostStateOf(gpu)).toEqual(untouched);
      expect(agent.world.holds).toEqual([]);
      const lines = world.audit();
      const begun = lines.findIndex((line) => line.event === "step-started" && line.step.kind === "reset");
      const done = lines.findIndex((line) => line.event === "vm-reset");
      expect(lines[begun]?.why).toMatch(
        /^resetToComplete: its guest has not let go of 0000:01:00\.0 after \d+ requests in \d+ s$/,
      );
      expect(begun).toBeGreaterThan(0);
      expect(done).toBeGreaterThan(begun);
      expect(lines[done]?.what).toBe("build was reset from outside");
    });
  });

  it("never resets for a native slot, where that would not help", async () => {
    await withHungGuest({ mode: "native", resetToComplete: "10s" }, async (world, agent) => {
      await untilAsked(world, agent, 2);
      world.advance(3_600_000);
      await agent.until("another request", ({ unplugs }) =>
        [...unplugs.values()].some(({ times }) => times > 2),
      );
      await agent.rest();
      expect(resets(world)).toBe(0);
    });
  });

  it("never resets a machine whose guest is being migrated", async () => {
    await withHungGuest({ resetToComplete: "10s" }, async (world, agent) => {
      world.vm("build").machine.migrate("active");
      world.vm("build").emitEvent("MIGRATION", { status: "active" });
      await agent.untilHeld(gpu, "migrating");
      world.advance(3_600_000);
      await agent.rest();
      expect(resets(world)).toBe(0);
    });
  });

  it("ends a QEMU that was started with -no-reboot: its card goes back, or to the next process", async () => {
    await withHungGuest({ resetToComplete: "10s", isRebootEnd: true }, async (world, agent) => {
      await untilAsked(world, agent, 2);
      world.advance(20_000);
      await agent.until("no lease", ({ leases }) => leases.size === 0);
      expect(world.vm("build").isAlive).toBe(false);
      expect(world.hostStateOf(gpu)).toEqual(untouched);
    });
  });
});

describe("a card that is to go from one VM to another", () => {
  it("is not released, leased anew or plugged before the first one has let go, however long that takes", async () => {
    const vms = [
      { name: "build", ports: ports(3) },
      { name: "other", ports: ports(3) },
    ];
    await inWorld({ cards: [aCard(gpu)], vms }, async (world) => {
      const first = await world.start(file);
      await first.untilIn("build", [gpu]);
      await first.stop();
      world.vm("build").setGuest({ behaviour: "refuses" });
      const agent = await world.start({ rules: [{ name: "gpu", match: { vendor: "10de" }, vm: "other" }] });
      await agent.until("a pending unplug", ({ unplugs }) => unplugs.size === 1);
      const { writes } = world.deeds();
      await untilAsked(world, agent, 3);
      expect(agent.heldAs(gpu).map(({ kind }) => kind)).toContain("in-vm-elsewhere");
      expect(world.deeds().writes).toBe(writes);
      expect(world.ledger().map(({ vm }) => vm)).toEqual(["build"]);
      expect(world.movesOf("other")).toEqual([]);

      world.vm("build").ejectFromGuest(id);
      await agent.untilIn("other", [gpu]);
      expect(agent.world.holds).toEqual([]);
    });
  });
});

describe("a request of which nobody knows whether it arrived", () => {
  it("is looked after: what has left is gone, and it was our doing", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [{ name: "build", ports: ports(3) }] }, async (world) => {
      const first = await world.start(file);
      await first.untilIn("build", [gpu]);
      await first.stop();
      const stop = world.vm("build").intercept("device_del", () => {
        stop();
        world.vm("build").cutLinks(() => world.vm("build").ejectFromGuest(id));
        return "close";
      });
      const agent = await world.start({ rules: [] });
      await agent.until("no lease", ({ leases }) => leases.size === 0);
      expect(world.hostStateOf(gpu)).toEqual(untouched);
      expect(agent.world.holds).toEqual([]);
      expect(agent.steps()[0]).toBe("detach timed-out");
    });
  });
});

describe("a VM that stands still", () => {
  it("lets go when it goes on, and until then the report says that its guest does not run", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [{ name: "build", ports: ports(3) }] }, async (world) => {
      const first = await world.start(file);
      await first.untilIn("build", [gpu]);
      await first.stop();
      world.vm("build").machine.stop();
      const agent = await world.start({ rules: [] });
      await agent.until("a pending unplug", ({ unplugs }) => unplugs.size === 1);
      await untilAsked(world, agent, 2);
      expect(await agent.untilHeld(gpu, "unplug-overdue")).toContain("its guest does not run: paused");
      world.vm("build").machine.cont();
      await agent.until("no lease", ({ leases }) => leases.size === 0);
      expect(world.hostStateOf(gpu)).toEqual(untouched);
    });
  });
});

describe("a guest that ejects its card while the link to its VM is down", () => {
  it("is believed all the same: the card is on hold when the link is back, and is not pushed in again", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [{ name: "build", ports: ports(3) }] }, async (world) => {
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu]);
      world.vm("build").cutLinks(() => world.vm("build").ejectFromGuest(id));
      expect(await agent.untilHeld(gpu, "hold")).toContain("without being asked");
      await agent.rest();
      expect(world.movesOf("build")).toEqual([`device_add ${id}`]);
      expect(world.audit().filter(({ event }) => event === "hold-made")).toHaveLength(1);
    });
  });
});
