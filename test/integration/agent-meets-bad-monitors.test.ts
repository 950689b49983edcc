/** Monitors that say nothing, or anything but QMP: that VM is marked with a sentence, and all others go on. */
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { printable } from "../../src/base/printable.js";
import { type AgentWorld, aCard, inWorld, ports } from "../support/agent-world.js";
import type { RunningAgent } from "../support/running-agent.js";

const gpu = "0000:01:00.0";
const nic = "0000:02:00.0";
const good = { name: "good", ports: ports(3) };
const cards = [aCard(gpu), aCard(nic, { vendor: "8086", device: "1533", class: "020000", driver: "igb" })];
const rules = [
  { name: "gpu", match: { class: "display" }, vm: "good" },
  { name: "nic", match: { class: "ethernet" }, vm: "bad" },
];
const greeting =
  '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}\r\n';

/** A world with a good VM, and a socket at which `talk` speaks. */
async function withBadMonitor(
  talk: (socket: Socket) => void,
  story: (world: AgentWorld, agent: RunningAgent) => Promise<void>,
): Promise<void> {
  await inWorld({ cards, vms: [good] }, async (world) => {
    const path = join(world.dir, "bad.sock");
    const sockets = new Set<Socket>();
    const server: Server = createServer((socket) => {
      sockets.add(socket);
      socket.on("error", () => undefined);
      talk(socket);
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    try {
      const vms = [
        { name: "good", qmp: world.sim.socketOf("good") },
        { name: "bad", qmp: path },
      ];
      await story(world, await world.start({ rules, vms }));
    } finally {
      for (const socket of sockets) {
        socket.destroy();
      }
      server.close();
    }
  });
}

describe("a socket that is no QMP monitor", () => {
  it.each([
    ["speaks HTTP", (socket: Socket) => void socket.write("HTTP/1.1 400 Bad Request\r\n\r\n")],
    [
      "sends garbage",
      (socket: Socket) => void socket.write(Buffer.from([0xff, 0xfe, 0x00, 0x0a, 0x7b, 0x0a])),
    ],
    ["greets with something else", (socket: Socket) => void socket.write('{"hello": "world"}\r\n')],
    ["breaks off in the middle of a line", (socket: Socket) => void socket.end(greeting.slice(0, 40))],
    [
      "greets and then answers with garbage",
      (socket: Socket) => {
        socket.write(greeting);
        socket.on("data", () => socket.write("]]]]\r\n"));
      },
    ],
    [
      "greets and hangs up at the first word",
      (socket: Socket) => {
        socket.write(greeting);
        socket.on("data", () => socket.destroy());
      },
    ],
    ["hangs up at once", (socket: Socket) => void socket.destroy()],
  ])("(%s) marks its VM with a sentence, and the other VM gets its card", async (_, talk) => {
    await withBadMonitor(talk, async (world, agent) => {
      await agent.untilIn("good", [gpu]);
      const why = await agent.untilHeld(nic, "vm-unreachable");
      expect(why).toMatch(/^bad cannot be spoken to: \S.{10,}$/);
      expect(printable(why)).toBe(why);
      expect(world.hostStateOf(nic)).toEqual({ driver: "igb", override: null });
      expect(world.host.writes.filter(({ path, text }) => `${path} ${text}`.includes(nic))).toEqual([]);
    });
  });
});

// Side by side: a greeting is waited for for five seconds.
describe.concurrent("a monitor that is silent", () => {
  it("from the start marks its VM, and gets its card as soon as it speaks", async () => {
    await inWorld({ cards, vms: [good, { name: "bad", ports: ports(3) }] }, async (world) => {
      world.vm("bad").hang();
      const agent = await world.start({ rules });
      await agent.untilIn("good", [gpu]);
      expect(await agent.untilHeld(nic, "vm-unreachable")).toMatch(/^bad cannot be spoken to: \S/);
      expect(world.hostStateOf(nic)).toEqual({ driver: "igb", override: null });
      world.vm("bad").wake();
      await agent.untilIn("bad", [nic]);
    });
  });

  it("in the middle of an attach keeps nobody else waiting, and the card is there when it wakes", async () => {
    const bad = { name: "bad", ports: ports(3) };
    await inWorld({ cards: [], vms: [good, bad] }, async (world) => {
      const agent = await world.start({ rules });
      await agent.until("both are up", ({ vms }) =>
        ["good", "bad"].every((name) => vms.get(name)?.kind === "up"),
      );
      world.vm("bad").hang();
      for (const card of cards) {
        await world.host.plug(card);
      }
      await agent.untilEntry(
        "the attach",
        (entry) => entry.event === "step-started" && entry.what === "attach" && entry.vm === "bad",
      );
      await agent.until("the good VM's card", () => agent.inVm("good").length === 1);
      expect(world.inVms()).toEqual({ good: [gpu], bad: [] });
      world.vm("bad").wake();
      await agent.untilIn("bad", [nic]);
    });
  });

  it("with a card of ours in it loses nothing: the card is neither released nor given to anybody", async () => {
    const bad = { name: "bad", ports: ports(3) };
    await inWorld({ cards, vms: [good, bad] }, async (world) => {
      const first = await world.start({ rules });
      await first.untilIn("bad", [nic]);
      await first.untilIn("good", [gpu]);
      await first.stop();
      world.vm("bad").hang();
      const { writes } = world.deeds();
      const agent = await world.start({ rules: [], limits: { detachPerChange: "9", keepAfterVmGone: "0s" } });
      await agent.until("the good one's is given back", ({ leases }) => leases.size === 1);
      expect(await agent.untilHeld(nic, "vm-unreachable")).toContain("bad cannot be spoken to");
      expect(world.hostStateOf(nic).driver).toBe("vfio-pci");
      expect(
        world.host.writes.slice(writes).filter(({ path, text }) => `${path} ${text}`.includes(nic)),
      ).toEqual([]);

      world.vm("bad").wake();
      await agent.until("it is given back, too", ({ leases }) => leases.size === 0);
      expect(world.hostStateOf(nic)).toEqual({ driver: "igb", override: null });
    });
  });
});
