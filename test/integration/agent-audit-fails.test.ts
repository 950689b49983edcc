/** What cannot be written down is not done: the audit's disk is full in the middle of the agent's work. */
import { mkdirSync, readlinkSync, rmdirSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type AgentWorld, aCard, inWorld, ports } from "../support/agent-world.js";

const gpu = "0000:01:00.0";
const twin = "0000:02:00.0";
const build = { name: "build", ports: ports(3) };
const file = { rules: [{ name: "gpu", match: { vendor: "10de" }, vm: "build" }] };
const untouched = { driver: "nouveau", override: null };

afterEach(() => {
  vi.restoreAllMocks();
});

/** Makes writing to the audit file fail as on a full disk, from the first text on that `isLast` says so of. */
async function fillDisk(world: AgentWorld, isLast: (text: string) => boolean = () => true): Promise<void> {
  const any = await open(join(world.dir, "any"), "w");
  const handles = Object.getPrototypeOf(any) as Pick<FileHandle, "appendFile" | "fd">;
  await any.close();
  const append = handles.appendFile;
  let isFull = false;
  vi.spyOn(handles, "appendFile").mockImplementation(function (this: FileHandle, data, options) {
    const isAudit = readlinkSync(`/proc/self/fd/${this.fd}`).endsWith("/audit.jsonl");
    isFull ||= isAudit && isLast(String(data));
    return isFull && isAudit
      ? Promise.reject(new Error("ENOSPC: no space left on device, write"))
      : append.call(this, data, options);
  });
}

describe("an audit that cannot be written any more", () => {
  it("lets no new step begin, leaves what is attached, and goes on when there is room again", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu]);
      const before = world.deeds();
      const moves = world.movesOf("build");
      await fillDisk(world);
      await world.host.plug(aCard(twin));
      expect(await agent.untilHeld(twin, "backing-off")).toContain("ENOSPC");
      world.advance(1_000);
      await agent.until("another attempt", ({ backoffs }) =>
        [...backoffs.values()].some((e) => e.failures === 2),
      );
      expect(world.deeds().writes).toBe(before.writes);
      expect(world.movesOf("build")).toEqual(moves);
      expect(world.hostStateOf(twin)).toEqual(untouched);
      expect(world.ledger().map((lease) => lease.address)).toEqual([gpu]);
      expect(world.inVms()).toEqual({ build: [gpu] });

      vi.restoreAllMocks();
      world.advance(2_000);
      await agent.untilIn("build", [gpu, twin]);
      const numbers = world.audit().map(({ seq }) => seq);
      expect(numbers).toEqual(numbers.map((_, index) => index + 1));
    });
  });

  it("in the middle of a bind stops it, and what was done is undone", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      await fillDisk(world, (text) => text.includes('"host-write"') && text.includes("/unbind"));
      const agent = await world.start(file);
      expect(await agent.untilHeld(gpu, "backing-off")).toContain("ENOSPC");
      expect(world.host.writes.map(({ path, text }) => [path.split("/").at(-1), text])).toEqual(
        expect.arrayContaining([
          ["driver_override", "vfio-pci\n"],
          ["driver_override", "\n"],
        ]),
      );
      expect(world.host.writes.some(({ path }) => path.endsWith("/nouveau/unbind"))).toBe(false);
      expect(world.hostStateOf(gpu)).toEqual(untouched);
      expect(world.movesOf("build")).toEqual([]);
    });
  });

  it("does not keep the agent from ending", async () => {
    await inWorld({ cards: [aCard(gpu)], vms: [build] }, async (world) => {
      const agent = await world.start(file);
      await agent.untilIn("build", [gpu]);
      await fillDisk(world);
      await agent.stop();
      expect(world.inVms()).toEqual({ build: [gpu] });
    });
  });
});

describe("a ledger that cannot be written", () => {
  it("keeps the device from being touched, until it can", async () => {
    await inWorld({ vms: [build] }, async (world) => {
      const agent = await world.start(file);
      // A folder in the place of the file: nothing can be renamed over it.
      const inTheWay = join(world.stateDir, "ledger.json");
      mkdirSync(inTheWay);
      await world.host.plug(aCard(gpu));
      expect(await agent.untilHeld(gpu, "backing-off")).toContain("ledger.json");
      expect(world.host.writes).toEqual([]);
      expect(agent.world.leases.size).toBe(0);
      rmdirSync(inTheWay);
      world.advance(1_000);
      await agent.untilIn("build", [gpu]);
    });
  });
});
