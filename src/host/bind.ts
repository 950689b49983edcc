/**
 * Taking a device from its host driver to a vfio driver, and keeping a driverless neighbour from host drivers.
 *
 * The caller has made sure that no VM holds the device, that the host does not need it, and that its lease is on disk.
 * `driver_override` and `drivers_probe`, never new_id, which grabs every card of the same kind (facts.md 9).
 */
import { existsSync } from "node:fs";
import { messageOf } from "../base/error.js";
import { isVfioDriver } from "../core/device.js";
import type { Lease } from "../core/lease.js";
import { comesTrue } from "./condition.js";
import { confirmOverride, isOnDriver, probe, unbind, waitForProbe, writeOverride } from "./driver-move.js";
import {
  checkCard,
  failed,
  type HostContext,
  type HostDeed,
  inOrder,
  type Target,
  type Trouble,
} from "./host-write.js";
import { putBack } from "./put-back.js";
import { readDriver, readGroupNumber } from "./sysfs-link.js";

/** The part of a lease that binding needs: the card, and what to go back to when it fails half-way. */
export type BindTarget = Pick<Lease, "address" | "appearance" | "original">;

/**
 * Moves the device to a vfio driver and resolves when a VM can have it: the driver is bound, its probe has ended and
 * the IOMMU group's node is there. On trouble everything is put back, unless a write hangs.
 */
export async function bindToVfio(
  ctx: HostContext,
  target: BindTarget,
  driver = "vfio-pci",
): Promise<HostDeed> {
  const obstacle = checkCard(ctx, target) ?? checkGroup(ctx, target) ?? (await provideDriver(ctx, driver));
  if (obstacle !== null) {
    return { ...obstacle, undone: [] };
  }
  if (readDriver(ctx.root, target.address) === driver) {
    return done((await waitForProbe(ctx, target)) ?? (await waitForNode(ctx, target)));
  }
  const trouble = await writeOverride(ctx, target, driver);
  if (trouble !== null) {
    return { ...trouble, undone: [] };
  }
  const half = await inOrder([
    // Before the probe: without the override it would bind the host's driver.
    () => confirmOverride(ctx, target, driver),
    () => leaveHostDriver(ctx, target),
    // Waits, under the device's lock, for the end of any other probe: the `driver` link alone shows a driver before
    // its probe has ended, and a VM that opens the device then fails (facts.md 12).
    () => probe(ctx, target),
    () => waitForDriver(ctx, target, driver),
    () => waitForNode(ctx, target),
  ]);
  return half === null ? { kind: "done" } : await undo(ctx, target, half);
}

/** Sets the override of a driverless device, so that no host driver takes it while its IOMMU group is in use. */
export async function setCompanionOverride(ctx: HostContext, target: BindTarget): Promise<HostDeed> {
  const obstacle = checkCard(ctx, target) ?? checkDriverless(ctx, target);
  const trouble = obstacle ?? (await writeOverride(ctx, target, "vfio-pci"));
  if (trouble !== null) {
    return { ...trouble, undone: [] };
  }
  const half = await inOrder([
    () => confirmOverride(ctx, target, "vfio-pci"),
    // A host driver may have come in just before the override: then the IOMMU group is not ours to take.
    () => Promise.resolve(checkDriverless(ctx, target)),
  ]);
  return half === null ? { kind: "done" } : await undo(ctx, target, half);
}

async function undo(ctx: HostContext, target: BindTarget, trouble: Trouble): Promise<HostDeed> {
  // While one write to a device hangs every other one does, too (facts.md 5): leave the rest to the ledger.
  if (trouble.kind === "stuck") {
    return { ...trouble, undone: [] };
  }
  const unwritten: string[] = [];
  const back = await putBack({ ...ctx, announce: announceAnyway(ctx, unwritten) }, target, target.original);
  const tail = [
    back.trouble === null ? "" : `; going back ended early: ${back.trouble.detail}`,
    unwritten.length === 0 ? "" : `; on the way back not written down: ${unwritten.join(", ")}`,
  ].join("");
  return { ...trouble, detail: `${trouble.detail}${tail}`, undone: back.restored };
}

/** semantics.md 10: when the audit fails in the middle of a transaction, undoing is still allowed, and marked. */
function announceAnyway(ctx: HostContext, unwritten: string[]): HostContext["announce"] {
  return (write) =>
    ctx.announce(write).catch(() => {
      unwritten.push(write.path);
    });
}

function done(trouble: Trouble | null): HostDeed {
  return trouble === null ? { kind: "done" } : { ...trouble, undone: [] };
}

function checkGroup(ctx: HostContext, target: Target): Trouble | null {
  return readGroupNumber(ctx.root, target.address) === null
    ? failed("host.no-iommu-group", `${target.address} has no IOMMU group`)
    : null;
}

function checkDriverless(ctx: HostContext, target: Target): Trouble | null {
  const driver = readDriver(ctx.root, target.address);
  return driver === null || isVfioDriver(driver)
    ? null
    : failed("host.companion-bound", `${target.address} is on ${driver}`);
}

/** Makes sure that the vfio driver is there, loading its module on a live host. */
async function provideDriver(ctx: HostContext, driver: string): Promise<Trouble | null> {
  const folder = ctx.root.driver(driver);
  if (existsSync(folder)) {
    return null;
  }
  const why = await loadDriver(ctx, driver, folder);
  return existsSync(folder)
    ? null
    : failed("host.no-vfio-driver", `the kernel has no driver ${driver}${why}: load its module first`);
}

async function loadDriver(ctx: HostContext, driver: string, folder: string): Promise<string> {
  try {
    await ctx.announce({ path: folder, text: `modprobe ${driver}` });
  } catch (error) {
    return ` and the loading could not be written down (${messageOf(error)})`;
  }
  const result = await ctx.loadModule(driver, ctx.deadlineMs);
  return result.kind === "done" ? "" : ` and modprobe could not load it (${result.detail})`;
}

async function leaveHostDriver(ctx: HostContext, target: Target): Promise<Trouble | null> {
  const present = readDriver(ctx.root, target.address);
  return present === null ? null : await unbind(ctx, target, present);
}

async function waitForDriver(ctx: HostContext, target: Target, driver: string): Promise<Trouble | null> {
  if (await isOnDriver(ctx, target, driver)) {
    return null;
  }
  const present = readDriver(ctx.root, target.address) ?? "no driver";
  return failed("host.not-bound", `${target.address} is on ${present} after the probe, not on ${driver}`);
}

async function waitForNode(ctx: HostContext, target: Target): Promise<Trouble | null> {
  const group = readGroupNumber(ctx.root, target.address);
  if (group === null) {
    return failed("host.no-iommu-group", `${target.address} has no IOMMU group any more`);
  }
  const node = ctx.root.vfioNode(group);
  return (await comesTrue(() => existsSync(node), ctx.settleMs))
    ? null
    : failed("host.no-vfio-node", `${target.address} is on its vfio driver, but there is no ${node}`);
}
