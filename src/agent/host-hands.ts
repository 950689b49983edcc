/** The hands on the host, made from the host room's functions; every write is announced to the audit. */
import type { Lease } from "../core/lease.js";
import { bindToVfio, setCompanionOverride } from "../host/bind.js";
import type { HostContext, HostDeed as RoomDeed } from "../host/host-write.js";
import { readOriginal } from "../host/identity.js";
import type { KernelIo, KernelIoResult } from "../host/kernel-io.js";
import { loadKernelModule } from "../host/kernel-module.js";
import { raiseMemlock } from "../host/memlock.js";
import { findVfioHolders } from "../host/process.js";
import { release } from "../host/release.js";
import type { HostRoot } from "../host/root.js";
import { readSerial } from "../host/serial.js";
import { giveNode, nodeOwner } from "../host/vfio-node.js";
import type { HostDeed, HostHands } from "./tools.js";

/** For one read or write of a kernel file; a host driver's remove function may take seconds. */
const DEADLINE_MS = 20_000;
/** For the kernel to show what a write has brought about. */
const SETTLE_MS = 10_000;

const notLive: KernelIoResult = { kind: "failed", detail: "this is not the live host" };

/** `announce` resolves once the line about a host write is on disk. */
export function createHostHands(root: HostRoot, io: KernelIo, announce: HostContext["announce"]): HostHands {
  const context: HostContext = {
    root,
    io,
    announce,
    // A module is loaded into the kernel that we run on, whatever root was named.
    loadModule: root.isLive ? loadKernelModule : () => Promise.resolve(notLive),
    deadlineMs: DEADLINE_MS,
    settleMs: SETTLE_MS,
  };
  // semantics.md 10: when the audit fails in the middle of a transaction, undoing is still allowed.
  const undoing: HostContext = { ...context, announce: (write) => announce(write).catch(() => undefined) };
  return {
    readSerial: async (address) => (await readSerial(root, io, address, DEADLINE_MS)) ?? null,
    readOriginal: (address) => readOriginal(root, io, address, DEADLINE_MS),
    bind: async (lease: Lease) => toDeed(await bindToVfio(context, lease)),
    reserveCompanion: async (lease: Lease) => toDeed(await setCompanionOverride(context, lease)),
    release: async (lease: Lease) => toDeed(await release(context, lease)),
    undo: async (lease: Lease) => toDeed(await release(undoing, lease)),
    nodeOwner: (iommuGroup) => Promise.resolve(nodeOwner(root, iommuGroup)),
    giveNode: async (iommuGroup, uid, gid) => {
      const deed = await giveNode(context, iommuGroup, uid, gid);
      return deed.kind === "done" ? { kind: "done" } : deed;
    },
    raiseMemlock: async (process, bytes) => (await raiseMemlock(context, process, bytes)) ?? { kind: "done" },
    holders: (iommuGroup) => findVfioHolders(root, iommuGroup),
  };
}

function toDeed(deed: RoomDeed): HostDeed {
  if (deed.kind === "done") {
    return deed;
  }
  const undone = deed.undone.length === 0 ? "" : ` (put back: ${deed.undone.join(", ")})`;
  return deed.kind === "stuck"
    ? { kind: "stuck", detail: `${deed.detail}${undone}` }
    : { kind: "failed", code: deed.code, detail: `${deed.detail}${undone}` };
}
