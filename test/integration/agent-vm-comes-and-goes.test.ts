/** VMs start late, die, and come back on the same socket: their cards follow them, and host drivers do not flap. */
import { statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { processKey } from "../../src/core/vm.js";
import type { World } from "../../src/core/world.js";
import { aCard, inWorld, ports } from "../support/agent-world.js";

const gpu = "0000:01:00.0";
const twin = "0000:02:00.0";
const build = { name: "build", ports: ports(3) };
const file = {
  rules: [{ name: "gpu", match: { vendor: "10de" }, vm: "build" }],
  limits: { keepAfterVmGone: "60s" },
};

function processOf(world: World): string | null {
  const status = world.vms.get("build");
  return status?.kind === "up" ? processKey(status.view.process) : null;
}

function isAbsent(world: World): boolean {
  return world.vms.get("build")?.kind === "absent";
}

describe("a VM that is not running yet", () => {
  it("holds its card without touching it, and gets it as soon as it starts", async () => {
    await inWorld({ cards: [aCard(gpu)] }, async (world) => {
      const vms = [{ name: "build", qmp: world.sim.socketOf("build") }];
      const agent = await world.start({ ...file, vms });
      expect(await agent.untilHeld(gpu, "vm-down")).toContain("build is not running");
      await agent.rest();
      expect(world.host.writes).toEqual([]);
      expect(() => world.ledger()).toThrow("ENOENT");

      await world.sim.addVm(build);
      await world.until("the card in the VM", () => world.vm("build").attached().includes(gpu));
      await agent.until("it is seen there", () => agent.inVm("build").includes(gpu));
    });
  });

  it("gets its card also when the folder of its socket is made only then", async () => {
    await inWorld({ cards: [aCard(gpu)] }, async (world) => {
      const folder = `${world.dir}/late/later`;
      const agent = await world.start({ ...file, vms: [{ name: "build", qmp: `${folder}/q.sock` }] });
      await agent.untilHeld(gpu, "vm-down");
      await mkdir(folder, { recursive: true });
      await world.sim.addVm({ ...build, socketPath: `${folder}/q.sock` });
      await world.until("the card in the VM", () => world.vm("build").attached().includes(gpu));
    });
  });
});

describe("a VM that is paused before its first instruction", () => {
  it("gets its card and can give it back", async () => {
    await inWorld({ vms: [{ ...build, isPaused: true }] }, async (world) => {
      const agent = await world.start(file);
      await world.host.plug(aCard(gpu));
      await agent.untilIn("build", [gpu]);
      expect(world.vm("build").runState).toBe("prelaunch");
    });
  });
});

describe("a VM whose QEMU is killed", () => {
  it("finds its cards again when it starts on the same socket, and the host drivers never had them", async () => {
    await inWorld({ cards: [aCard(gpu), aCard(twin)], vms: [build] }, async (world) => {
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu, twin]);
      const first = processOf(agent.world);
      const { length } = world.host.writes;
      await world.vm("build").kill();
      await agent.until("the VM is gone", isAbsent);
      await world.vm("build").start();
      await agent.until("a new process", (now) => ![null, first].includes(processOf(now)));
      await agent.untilIn("build", [gpu, twin]);
      expect(world.host.writes.slice(length)).toEqual([]);
    });
  });

  it("finds its cards again when it was back before anybody noticed", async () => {
    await inWorld({ cards: [aCard(gpu), aCard(twin)], vms: [build] }, async (world) => {
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu, twin]);
      for (let round = 0; round < 3; round += 1) {
        await world.vm("build").kill();
        await world.vm("build").start();
      }
      await agent.untilIn("build", [gpu, twin]);
      expect(world.hostStateOf(gpu).driver).toBe("vfio-pci");
    });
  });

  it("keeps its card bound until the grace is over, and then the host has it back as it was", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu]);
      await world.vm("build").kill();
      await agent.until("the VM is gone", isAbsent);
      world.advance(50_000);
      await agent.rest();
      expect(world.hostStateOf(gpu)).toEqual({ driver: "vfio-pci", override: "vfio-pci" });

      world.advance(11_000);
      await agent.until("the card is given back", ({ leases }) => leases.size === 0);
      expect(world.hostStateOf(gpu)).toEqual({ driver: "nouveau", override: null });
      await agent.rest();
      expect(world.hostStateOf(gpu).driver).toBe("nouveau");

      await world.vm("build").start();
      await agent.untilIn("build", [gpu]);
    });
  });

  it.each([400, -400])(
    "does not lose its card because somebody sets the wall clock by %i days",
    async (days) => {
      await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
        const agent = await world.start(file);
        await agent.untilIn("build", [gpu]);
        await world.vm("build").kill();
        await agent.until("the VM is gone", isAbsent);
        world.setWallClock(days * 24 * 3_600_000);
        await agent.rest();
        expect(world.hostStateOf(gpu).driver).toBe("vfio-pci");
        await world.vm("build").start();
        await agent.untilIn("build", [gpu]);
        const written = Date.parse(world.audit().at(-1)?.at ?? "");
        expect(Math.round((written - Date.now()) / (24 * 3_600_000))).toBe(days);
      });
    },
  );

  it("does not need time made to pass: the agent's own alarm ends a short grace", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const agent = await world.start({ ...file, limits: { keepAfterVmGone: "200ms" } });
      await agent.untilIn("build", [gpu]);
      await world.vm("build").kill();
      await agent.until("the card is given back", ({ leases }) => leases.size === 0);
      expect(world.hostStateOf(gpu)).toEqual({ driver: "nouveau", override: null });
    });
  });

  it("gives up a card that was pulled out while it was gone", async () => {
    await inWorld({ cards: [aCard(gpu), aCard(twin)], vms: [build] }, async (world) => {
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu, twin]);
      await world.vm("build").kill();
      await world.host.pull(gpu);
      await agent.until("its lease is closed", ({ leases }) => leases.size === 1);
      await world.vm("build").start();
      await agent.untilIn("build", [twin]);
    });
  });
});

describe("a VM that ends by itself", () => {
  it("leaves its card bound for its return", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu]);
      await world.vm("build").guestPoweroff();
      await agent.until("the VM is gone", isAbsent);
      await agent.rest();
      expect(world.hostStateOf(gpu).driver).toBe("vfio-pci");
      await world.vm("build").start();
      await agent.untilIn("build", [gpu]);
    });
  });
});

describe("a VM whose QEMU runs as another user", () => {
  it("is given the IOMMU group's node before its card, once, and the ledger knows whose it was", async () => {
    const root = process.getuid?.() ?? 0;
    // Only root can give a file away; for anybody else the VM is one of their own.
    const uid = root === 0 ? 1000 : root;
    const gid = root === 0 ? 1000 : (process.getgid?.() ?? 0);
    await inWorld(
      { cards: [aCard(gpu, { iommuGroup: 13 })], vms: [{ ...build, uid, gid }] },
      async (world) => {
        const agent = await world.start(file);
        await agent.untilIn("build", [gpu]);
        const { uid: owner, gid: group } = statSync(join(world.host.dir, "dev/vfio/13"));
        expect([owner, group]).toEqual([uid, gid]);
        expect(world.ledger()[0]?.nodeOwner?.uid).toBe(root === 0 ? 0 : undefined);
        await world.vm("build").kill();
        await world.vm("build").start();
        await agent.untilIn("build", [gpu]);
        const given = world
          .audit()
          .filter((line) => line.event === "host-write" && line.after.text.startsWith("owner"));
        expect(given).toHaveLength(root === 0 ? 1 : 0);
      },
    );
  });
});
