/**
 * Giving a device back to the host: exactly what it was before its lease, read back before anyone says so.
 *
 * The caller has made sure that no process holds the device any more. Can be repeated after any failure or crash.
 */
import type { Lease } from "../core/lease.js";
import { checkCard, failed, type HostContext, type HostDeed, type Trouble } from "./host-write.js";
import { findVfioHolders } from "./process.js";
import { putBack } from "./put-back.js";
import { readGroupNumber } from "./sysfs-link.js";
import { giveNode, hasNode } from "./vfio-node.js";

/**
 * Restores override, driver and node owner. A device whose original is not known gets its override cleared and the
 * driver that the kernel finds for it.
 */
export async function release(ctx: HostContext, lease: Lease): Promise<HostDeed> {
  const obstacle = checkCard(ctx, lease);
  if (obstacle !== null) {
    return { ...obstacle, undone: [] };
  }
  const group = readGroupNumber(ctx.root, lease.address);
  const { trouble, restored } = await putBack(ctx, lease, lease.original);
  const rest = trouble ?? (await returnNode(ctx, lease, group));
  if (rest === null) {
    return { kind: "done" };
  }
  return { ...(await withHolders(ctx, rest, group)), undone: restored };
}

/** The node outlives the release of one device when others of the IOMMU group are still on a vfio driver. */
async function returnNode(ctx: HostContext, lease: Lease, group: number | null): Promise<Trouble | null> {
  if (lease.nodeOwner === undefined || group === null || !hasNode(ctx.root, group)) {
    return null;
  }
  const given = await giveNode(ctx, group, lease.nodeOwner.uid, lease.nodeOwner.gid);
  return given.kind === "done" || !hasNode(ctx.root, group) ? null : failed(given.code, given.detail);
}

/** Says who has the device: what a person needs to know about a write that hangs. */
async function withHolders(ctx: HostContext, trouble: Trouble, group: number | null): Promise<Trouble> {
  if (trouble.kind !== "stuck" || group === null) {
    return trouble;
  }
  const pids = await findVfioHolders(ctx.root, group);
  const who = pids.length === 0 ? "nobody we can see" : `process ${pids.join(", ")}`;
  return { ...trouble, detail: `${trouble.detail}; IOMMU group ${group} is held by ${who}` };
}
