/** The host room's own hands and the real QMP client on the simulated world: what the demo rests on. */
import { afterEach, expect, it } from "vitest";
import { identityOf } from "../../src/core/device.js";
import type { Lease } from "../../src/core/lease.js";
import { bindToVfio } from "../../src/host/bind.js";
import type { HostContext } from "../../src/host/host-write.js";
import { readBootId, readOriginal } from "../../src/host/identity.js";
import { findSocketOwner } from "../../src/host/process.js";
import { release } from "../../src/host/release.js";
import { hostRoot } from "../../src/host/root.js";
import { scanOnce } from "../../src/host/scan.js";
import { giveNode } from "../../src/host/vfio-node.js";
import { connectQmp } from "../../src/qmp/client.js";
import { createSimulation, type Simulation } from "../../src/sim/fleet.js";
import { simFolder } from "../support/sim-client.js";

const DEADLINE_MS = 5_000;
const ends: (() => void | Promise<void>)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) {
    await end();
  }
});

async function aWorld(): Promise<{ world: Simulation; ctx: HostContext }> {
  const { dir, remove } = simFolder();
  ends.push(remove);
  const world = await createSimulation({
    dir,
    cards: [
      {
        address: "0000:65:00.0",
        vendor: "10de",
        device: "2684",
        class: "030000",
        driver: "nouveau",
        iommuGroup: 9,
      },
    ],
    vms: [{ name: "vm-a", ports: [{ id: "rp0" }] }],
  });
  ends.push(() => world[Symbol.asyncDispose]());
  const ctx: HostContext = {
    root: hostRoot(dir),
    io: world.host.io,
    announce: async () => {},
    loadModule: async () => ({ kind: "done", text: "" }),
    deadlineMs: DEADLINE_MS,
    settleMs: DEADLINE_MS,
  };
  return { world, ctx };
}

it("carries a card from its host driver into the VM and back to its host driver", async () => {
  const { world, ctx } = await aWorld();
  const device = (await scanOnce(ctx.root))[0] ?? expect.fail("no card");
  const original = await readOriginal(ctx.root, ctx.io, device.address, DEADLINE_MS);
  const lease: Lease = {
    address: device.address,
    vm: "vm-a",
    rule: "r",
    role: "claimed",
    bootId: await readBootId(ctx.root),
    identity: identityOf(device),
    appearance: device.appearance,
    original,
  };
  expect(await bindToVfio(ctx, lease)).toEqual({ kind: "done" });
  const owner = (await findSocketOwner(ctx.root, world.socketOf("vm-a"))) ?? expect.fail("no process");
  expect(await giveNode(ctx, 9, owner.uid, owner.gid)).toMatchObject({ kind: "done" });

  const qmp = await connectQmp({ path: world.socketOf("vm-a") });
  ends.push(() => qmp.close());
  const add = { driver: "vfio-pci", host: device.address, id: "pciplug-0000-65-00.0", bus: "rp0", addr: "0" };
  await qmp.execute("device_add", add);
  expect(world.vm("vm-a").attached()).toEqual([device.address]);
  const gone = qmp.waitFor("DEVICE_DELETED", (data) => data.device === add.id, { timeoutMs: DEADLINE_MS });
  await qmp.execute("device_del", { id: add.id });
  await gone;

  expect(await release(ctx, lease)).toEqual({ kind: "done" });
  expect([world.host.driverOf(device.address), world.host.overrideOf(device.address)]).toEqual([
    "nouveau",
    null,
  ]);
});
