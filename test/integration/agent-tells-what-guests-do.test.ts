/**
 * That QEMU took a card and that the guest uses it are two facts: both are told, in status, in its JSON and in the audit.
 * What the guest and its machine do by themselves (boot, reboot, end) is followed.
 */
import { describe, expect, it } from "vitest";
import { renderStatus } from "../../src/cli/status.js";
import { type AgentWorld, aCard, inWorld, ports } from "../support/agent-world.js";

const gpu = "0000:01:00.0";
const id = "pciplug-0000-01-00.0";
const file = { rules: [{ name: "gpu", match: { vendor: "10de" }, vm: "build" }] };
const build = { name: "build", ports: ports(3) };
const asleep = { ...build, guest: { behaviour: "not-running" as const } };

async function deviceIn(world: AgentWorld) {
  return (await world.status()).devices.find(({ address }) => address === gpu);
}

function events(world: AgentWorld, event: string): string[] {
  return world.audit().flatMap((line) => (line.event === event ? [line.what] : []));
}

/** Has the VM looked at again: as any event of it does. */
async function untilSeen(world: AgentWorld, seen: boolean): Promise<void> {
  world.vm("build").emitEvent("WAKEUP");
  let now: boolean | null | undefined;
  const poll = setInterval(() => {
    void deviceIn(world).then((device) => {
      now = device?.passage?.seen;
    });
  }, 20);
  try {
    await world.until(`seen by the guest: ${seen}`, () => now === seen);
  } finally {
    clearInterval(poll);
  }
}

describe("a card that QEMU has taken", () => {
  it("is not (yet) in use while no guest looks, and in use once one does: told in status and in the audit", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [asleep] }, async (world) => {
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu]);
      const facts = { leased: true, bound: true, sent: false, taken: true };
      expect(await deviceIn(world)).toMatchObject({
        state: "attached",
        held: null,
        passage: { ...facts, seen: false },
      });
      expect(renderStatus(await world.status()).join("\n")).toMatch(
        /attached +not \(yet\) in use by the guest/,
      );
      expect(events(world, "guest-use")).toEqual([]);

      world.vm("build").setGuest({ behaviour: "co-operative" });
      await untilSeen(world, true);
      expect((await deviceIn(world))?.passage).toEqual({ ...facts, seen: true });
      expect((await world.status()).vms[0]?.attached[0]?.inUse).toBe(true);
      expect(renderStatus(await world.status()).join("\n")).toMatch(/attached +in use by the guest/);
      expect(events(world, "guest-use")).toEqual([`the guest of build has taken ${gpu} into use`]);
      expect(agent.steps()).toEqual(["bind done", "attach done"]);
    });
  });

  it("is looked for again by the agent itself: nobody tells when a guest takes it into use", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [asleep] }, async (world) => {
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu]);
      world.vm("build").setGuest({ behaviour: "co-operative" });
      await agent.untilEntry("the guest's use", ({ event }) => event === "guest-use");
    });
  });

  it("is on its way while QEMU has not answered", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      let answer = (): void => undefined;
      const isAsked = new Promise<void>((asked) => {
        world.vm("build").intercept("device_add", async () => {
          asked();
          await new Promise<void>((resolve) => {
            answer = resolve;
          });
          return undefined;
        });
      });
      const agent = await world.start(file);
      await isAsked;
      expect((await deviceIn(world))?.passage).toEqual({
        leased: true,
        bound: true,
        sent: true,
        taken: false,
        seen: null,
      });
      expect(renderStatus(await world.status()).join("\n")).toContain("QEMU was told to take it");
      answer();
      await agent.untilIn("build", [gpu]);
    });
  });
});

describe("a guest that reboots", () => {
  it("keeps its card, and three RESETs are one reboot", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu]);
      await world.vm("build").guestReboot();
      await agent.until("the reboot", ({ resets }) => resets.size === 1);
      await agent.untilIn("build", [gpu]);
      expect(events(world, "vm-reset")).toEqual(["the guest of build reboots"]);
      expect((await world.status()).vms[0]?.lastReset?.byGuest).toBe(true);
      expect(agent.world.holds).toEqual([]);
      expect(agent.steps()).toEqual(["bind done", "attach done"]);
    });
  });

  it("with -no-reboot ends QEMU: a supervisor's new process gets the card anew, and no hold of the old one stands", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [{ ...build, isRebootEnd: true }] }, async (world) => {
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu]);
      world.vm("build").ejectFromGuest(id);
      await agent.untilHeld(gpu, "hold");
      await world.vm("build").guestReboot();
      expect(world.vm("build").isAlive).toBe(false);
      await world.vm("build").start();
      await agent.untilIn("build", [gpu]);
      expect(agent.world.holds).toEqual([]);
      expect(events(world, "hold-ended")).toHaveLength(1);
      expect(events(world, "vm-reset")).toEqual([]);
    });
  });

  it("with -no-reboot takes its pending unplug with it: the new process, which has the card by its command line, was never asked", async () => {
    const cold = { driver: "vfio-pci", id, host: gpu, bus: "rp0", addr: "0" };
    const vm = { ...build, isRebootEnd: true, guest: { behaviour: "refuses" as const } };
    await inWorld({ cards: [aCard(gpu)], vms: [vm] }, async (world) => {
      const first = await world.start(file);
      await first.untilIn("build", [gpu]);
      await first.stop();
      const agent = await world.start({ rules: [] });
      await agent.until("a pending unplug", ({ unplugs }) => unplugs.size === 1);
      const before = [...agent.world.unplugs.values()][0];
      world.vm("build").coldPlugFromNow([cold]);
      await world.vm("build").guestReboot();
      await world.vm("build").start();
      await agent.until("another unplug", ({ unplugs }) =>
        [...unplugs.values()].some(({ process }) => process !== before?.process),
      );
      expect([...agent.world.unplugs.values()]).toMatchObject([{ times: 1 }]);
      expect(world.hostStateOf(gpu).driver).toBe("vfio-pci");
    });
  });
});

describe("a guest that powers off under -no-shutdown", () => {
  it("leaves a VM in which nothing is plugged or unplugged, until it runs again", async () => {
    await inWorld({ vms: [{ ...build, isShutdownKept: true }] }, async (world) => {
      const agent = await world.start(file);
      await world.vm("build").guestPoweroff();
      await world.host.plug(aCard(gpu));
      expect(await agent.untilHeld(gpu, "vm-not-ready")).toBe("build is in run state shutdown");
      await agent.rest();
      expect(world.hostStateOf(gpu).driver).toBe("nouveau");
      expect(world.movesOf("build")).toEqual([]);
    });
  });
});

describe("a VM whose guest is being migrated", () => {
  it("is left alone, before a driver is touched, and gets its card when that has been called off", async () => {
    await inWorld({ vms: [build] }, async (world) => {
      const agent = await world.start(file);
      world.vm("build").machine.migrate("active");
      world.vm("build").emitEvent("MIGRATION", { status: "active" });
      await agent.until("the migration", ({ vms }) => {
        const status = vms.get("build");
        return status?.kind === "up" && status.view.migration === "active";
      });
      await world.host.plug(aCard(gpu));
      expect(await agent.untilHeld(gpu, "migrating")).toBe(
        "hands off build: its guest is being migrated (active)",
      );
      await agent.rest();
      expect(world.hostStateOf(gpu).driver).toBe("nouveau");
      expect(renderStatus(await world.status()).join("\n")).toContain("running (migration: active)");

      // No event comes of its end: the agent looks by itself.
      world.vm("build").machine.migrate("cancelled");
      await agent.untilIn("build", [gpu]);
    });
  });

  it("refuses what is sent at the moment it begins, which changes nothing: the agent looks, and waits", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      world.vm("build").intercept("device_add", () => {
        world.vm("build").machine.migrate("setup");
        return undefined;
      });
      const agent = await world.start(file);
      await agent.untilHeld(gpu, "migrating");
      expect(world.vm("build").attached()).toEqual([]);
    });
  });

  it("keeps what it has when a rule goes meanwhile, and what has moved away is not asked for anything", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const first = await world.start(file);
      await first.untilIn("build", [gpu]);
      await first.stop();
      world.vm("build").machine.migrate("completed", "postmigrate");
      const agent = await world.start({ rules: [] });
      expect(await agent.untilHeld(gpu, "migrating")).toContain("postmigrate");
      await agent.rest();
      expect(world.movesOf("build")).toEqual([`device_add ${id}`]);
    });
  });
});
