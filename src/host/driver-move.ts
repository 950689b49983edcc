/**
 * The small moves between drivers that bind and release are made of: override, unbind, probe, each read back.
 * Order and traps: facts.md 9. `drivers_probe` says success even if nothing was bound, so the `driver` link decides.
 */
import { comesTrue } from "./condition.js";
import { failed, type HostContext, type Target, type Trouble, troubleOf, writeHost } from "./host-write.js";
import { readOverride } from "./identity.js";
import { readDriver } from "./sysfs-link.js";

/** Sets driver_override; `null` clears it. Does not change which driver is bound. */
export function writeOverride(
  ctx: HostContext,
  target: Target,
  value: string | null,
): Promise<Trouble | null> {
  // A bare newline clears: an empty text would never reach the kernel (facts.md 9).
  return writeHost(ctx, target, ctx.root.driverOverride(target.address), `${value ?? ""}\n`);
}

/** Reads driver_override back. */
export async function confirmOverride(
  ctx: HostContext,
  target: Target,
  wanted: string | null,
): Promise<Trouble | null> {
  const path = ctx.root.driverOverride(target.address);
  const read = await readOverride(ctx.root, ctx.io, target.address, ctx.deadlineMs);
  if (read.kind !== "done") {
    return troubleOf(read, path);
  }
  return read.override === wanted
    ? null
    : failed("host.read-back", `${path} reads ${show(read.override)} instead of ${show(wanted)}`);
}

/** Waits for the end of a probe that may be under way, writing nothing: driver_override is read under the device's lock. */
export async function waitForProbe(ctx: HostContext, target: Target): Promise<Trouble | null> {
  const read = await readOverride(ctx.root, ctx.io, target.address, ctx.deadlineMs);
  return read.kind === "done" ? null : troubleOf(read, ctx.root.driverOverride(target.address));
}

/** Takes a driver away from the device. That it has left by itself meanwhile is no trouble. */
export async function unbind(ctx: HostContext, target: Target, driver: string): Promise<Trouble | null> {
  const trouble = await writeHost(ctx, target, ctx.root.driver(driver, "unbind"), `${target.address}\n`);
  if (trouble?.kind === "stuck") {
    return trouble;
  }
  const present = readDriver(ctx.root, target.address);
  if (present !== driver) {
    return trouble?.kind === "failed" && trouble.code !== "host.write-refused" ? trouble : null;
  }
  return trouble ?? failed("host.read-back", `${target.address} is still on ${driver} after its unbind`);
}

/** Lets the kernel look for a driver. */
export function probe(ctx: HostContext, target: Target): Promise<Trouble | null> {
  return writeHost(ctx, target, ctx.root.driversProbe(), `${target.address}\n`);
}

/** Binds a driver by name. */
export function bindByName(ctx: HostContext, target: Target, driver: string): Promise<Trouble | null> {
  return writeHost(ctx, target, ctx.root.driver(driver, "bind"), `${target.address}\n`);
}

/** Waits for the `driver` link to show this driver. */
export function isOnDriver(ctx: HostContext, target: Target, driver: string): Promise<boolean> {
  return comesTrue(() => readDriver(ctx.root, target.address) === driver, ctx.settleMs);
}

function show(override: string | null): string {
  return override === null ? "unset" : JSON.stringify(override);
}
