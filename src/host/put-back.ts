/**
 * The way back to the host: used by release, and by bind when it fails half-way.
 *
 * Promises: what is listed as put back was read back and is so. A driver that somebody else has bound is left alone;
 * only vfio drivers are ever taken away here.
 */
import { isVfioDriver } from "../core/device.js";
import type { OriginalState } from "../core/lease.js";
import { bindByName, confirmOverride, isOnDriver, probe, unbind, writeOverride } from "./driver-move.js";
import { failed, type HostContext, inOrder, type Target, type Trouble } from "./host-write.js";
import { readDriver } from "./sysfs-link.js";

/** How far the way back went. */
export interface PutBack {
  readonly trouble: Trouble | null;
  readonly restored: readonly string[];
}

/** Restores override and driver. `original` null (never known): override cleared, the driver left to the kernel. */
export async function putBack(
  ctx: HostContext,
  target: Target,
  original: OriginalState | null,
): Promise<PutBack> {
  const restored: string[] = [];
  const override = original?.override ?? null;
  const trouble = await inOrder([
    // First: while it says vfio-pci no other driver can be bound (facts.md 9).
    () => writeOverride(ctx, target, override),
    () => confirmOverride(ctx, target, override),
    () => note(restored, `driver_override of ${target.address}`),
    () => leaveVfio(ctx, target, original),
    () => returnToDriver(ctx, target, original),
  ]);
  const driver = trouble === null ? restoredDriver(ctx, target, original) : null;
  return { trouble, restored: driver === null ? restored : [...restored, driver] };
}

function note(list: string[], what: string): Promise<null> {
  list.push(what);
  return Promise.resolve(null);
}

/** Says so only if it is so: a driver that somebody else has bound meanwhile stays, and is not our doing. */
function restoredDriver(ctx: HostContext, target: Target, original: OriginalState | null): string | null {
  const present = readDriver(ctx.root, target.address);
  return original === null || present === original.driver
    ? `driver ${present ?? "(none)"} of ${target.address}`
    : null;
}

async function leaveVfio(
  ctx: HostContext,
  target: Target,
  original: OriginalState | null,
): Promise<Trouble | null> {
  const present = readDriver(ctx.root, target.address);
  if (present === null || !isVfioDriver(present) || present === original?.driver) {
    return null;
  }
  return await unbind(ctx, target, present);
}

async function returnToDriver(
  ctx: HostContext,
  target: Target,
  original: OriginalState | null,
): Promise<Trouble | null> {
  if (readDriver(ctx.root, target.address) !== null || original?.driver === null) {
    return null;
  }
  const trouble = await probe(ctx, target);
  if (trouble !== null || original === null) {
    return trouble;
  }
  return await insistOn(ctx, target, original.driver);
}

/** The probe says success whatever happened: look, and ask the one driver by name if it was passed over. */
async function insistOn(ctx: HostContext, target: Target, driver: string): Promise<Trouble | null> {
  if (readDriver(ctx.root, target.address) === null) {
    const trouble = await bindByName(ctx, target, driver);
    if (trouble?.kind === "stuck") {
      return trouble;
    }
  }
  if (await isOnDriver(ctx, target, driver)) {
    return null;
  }
  const present = readDriver(ctx.root, target.address) ?? "no driver";
  return failed("host.not-restored", `${target.address} is on ${present} instead of ${driver}`);
}
