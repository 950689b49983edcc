/**
 * What a step does by itself about a refusal, by its next move (core/next-move.ts): once, and then the same device is
 * tried again. What does not help here rests in the world.
 */
import type { NextMove } from "../core/next-move.js";
import { NEXT_MOVES } from "../core/next-move.js";
import type { Outcome, Placement, StepOf } from "../core/step.js";
import type { HostDeed, Tools } from "./tools.js";

type Attach = StepOf<"attach">;
type Remedy = (step: Attach, placement: Placement, tools: Tools) => Promise<HostDeed>;

const remedies: Partial<Readonly<Record<NextMove, Remedy>>> = {
  // The driver link can show before the probe has ended, and the node come after it (facts.md 12).
  "bind-again": async (step, placement, tools) => {
    const lease = tools.leases.get(placement.address);
    const bound: HostDeed = lease === undefined ? { kind: "done" } : await tools.host.bind(lease);
    return bound.kind === "done" ? grantNodeOf(step, placement, tools) : bound;
  },
  // A bind in between recreates the node as root's.
  "grant-node": grantNodeOf,
};

/** Whether something was done about the refusal, so that the device may be tried once more. */
export async function remedy(
  step: Attach,
  placement: Placement,
  outcome: Outcome,
  tools: Tools,
): Promise<boolean> {
  const act = outcome.kind === "refused" ? remedies[NEXT_MOVES[outcome.reason]] : undefined;
  return act !== undefined && (await act(step, placement, tools)).kind === "done";
}

/** QEMU opens the IOMMU group's node as its own user; each bind recreates it as root's (facts.md 8). */
export async function grantNode(step: Attach, iommuGroup: number, tools: Tools): Promise<HostDeed> {
  if (step.nodeOwner === null || step.nodeOwner.uid === 0) {
    return { kind: "done" };
  }
  const { uid, gid } = step.nodeOwner;
  const before = await tools.host.nodeOwner(iommuGroup);
  if (before.uid === uid) {
    return { kind: "done" };
  }
  const leases = step.placements.flatMap(({ address }) =>
    tools.world().devices.get(address)?.iommuGroup === iommuGroup ? (tools.leases.get(address) ?? []) : [],
  );
  await tools.leases.put(leases.map((lease) => ({ ...lease, nodeOwner: lease.nodeOwner ?? before })));
  return tools.host.giveNode(iommuGroup, uid, gid);
}

function grantNodeOf(step: Attach, { address }: Placement, tools: Tools): Promise<HostDeed> {
  const iommuGroup = tools.world().devices.get(address)?.iommuGroup;
  return typeof iommuGroup === "number"
    ? grantNode(step, iommuGroup, tools)
    : Promise.resolve({ kind: "done" });
}

/** The refusal with what helps a person: whose turn it was, and who has the IOMMU group open. */
export async function explained(
  { vm }: Attach,
  { address }: Placement,
  outcome: Outcome,
  tools: Tools,
): Promise<Outcome> {
  if (outcome.kind !== "refused") {
    return outcome;
  }
  const iommuGroup = tools.world().devices.get(address)?.iommuGroup;
  if (NEXT_MOVES[outcome.reason] !== "wait-for-holder" || typeof iommuGroup !== "number") {
    return { ...outcome, at: address };
  }
  const status = tools.world().vms.get(vm);
  const own = status?.kind === "up" ? status.view.process?.pid : undefined;
  const others = (await tools.host.holders(iommuGroup)).filter((pid) => pid !== own);
  return { ...outcome, at: address, detail: `${outcome.detail}; open in ${describeHolders(others, tools)}` };
}

/** Processes, by the VM's name where it is one of ours. */
export function describeHolders(pids: readonly number[], tools: Tools): string {
  const names = new Map(
    [...tools.world().vms].flatMap(([name, status]) =>
      status.kind === "up" && status.view.process !== null ? [[status.view.process.pid, name] as const] : [],
    ),
  );
  const holders = pids.map((pid) =>
    names.has(pid) ? `process ${pid} (VM ${names.get(pid)})` : `process ${pid}`,
  );
  return holders.length === 0 ? "no other process that we can see" : holders.join(" and ");
}
