/**
 * The owner of /dev/vfio/N. QEMU opens it as its own user; each bind recreates it as root's (facts.md 8), so it is
 * given after every bind.
 */
import { lstatSync, type Stats } from "node:fs";
import { messageOf } from "../base/error.js";
import { HostError } from "./error.js";
import type { HostContext, HostFailureCode } from "./host-write.js";
import type { HostRoot } from "./root.js";

export interface NodeOwner {
  readonly uid: number;
  readonly gid: number;
}

/** What came of giving a node away. `previous`: who had it before. */
export type NodeDeed =
  | { readonly kind: "done"; readonly previous: NodeOwner }
  | { readonly kind: "failed"; readonly code: HostFailureCode; readonly detail: string };

/** Whether there is a node for the IOMMU group. */
export function hasNode(root: HostRoot, group: number): boolean {
  return statOf(root.vfioNode(group)) !== null;
}

/** Who owns the node of an IOMMU group. @throws {HostError} `host.no-vfio-node` */
export function nodeOwner(root: HostRoot, group: number): NodeOwner {
  const node = root.vfioNode(group);
  const stat = statOf(node);
  if (stat === null) {
    throw new HostError("host.no-vfio-node", `cannot tell the owner of ${node}: there is no such node`);
  }
  return { uid: stat.uid, gid: stat.gid };
}

/** Makes a user the owner of the node, and reads it back. Writes nothing when it is so already. */
export async function giveNode(ctx: HostContext, group: number, uid: number, gid: number): Promise<NodeDeed> {
  const path = ctx.root.vfioNode(group);
  const before = statOf(path);
  if (before === null || before.isSymbolicLink()) {
    return failure("host.no-vfio-node", `there is no ${path}`);
  }
  const previous: NodeOwner = { uid: before.uid, gid: before.gid };
  if (previous.uid === uid && previous.gid === gid) {
    return { kind: "done", previous };
  }
  try {
    await ctx.announce({ path, text: `owner ${uid}:${gid}` });
  } catch (error) {
    return failure("host.not-announced", `cannot write down the new owner of ${path}: ${messageOf(error)}`);
  }
  const result = await ctx.io.chown(path, uid, gid);
  if (result.kind !== "done") {
    return failure("host.write-refused", `${path}: ${result.detail}`);
  }
  const after = statOf(path);
  return after?.uid === uid && after.gid === gid
    ? { kind: "done", previous }
    : failure("host.read-back", `${path} did not change its owner`);
}

function failure(code: HostFailureCode, detail: string): NodeDeed {
  return { kind: "failed", code, detail };
}

function statOf(path: string): Stats | null {
  try {
    return lstatSync(path);
  } catch {
    return null;
  }
}
