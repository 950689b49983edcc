/**
 * The policy in the world, and what becomes of the rest of it when another one takes its place (semantics.md 6).
 */
import { type FoundVm, withFoundVms } from "./found-vms.js";
import type { Policy } from "./policy.js";
import type { World } from "./world.js";

/**
 * The world under a policy. What was confirmed or barred was so for one version only. A VM that is not in the file any
 * more, or is now spoken to at another socket, is not known any more; all others stay as they were seen.
 */
export function adoptPolicy(world: World, loaded: Policy): World {
  const policy = withFoundVms(loaded, world.foundVms);
  const before = world.policy;
  // What was confirmed at the start means the first policy, whatever its version.
  const isSame = before === null || before.version === policy.version;
  return {
    ...world,
    policy,
    policyLoadedMs: world.nowMs,
    policyRefusal: null,
    isDetachConfirmed: world.isDetachConfirmed && isSame,
    detachBar: isSame ? world.detachBar : null,
    vms: before === null ? world.vms : stillThere(world.vms, before, policy),
  };
}

/** The world once other VMs are at the places that the policy's patterns name; the policy is the same one. */
export function adoptFoundVms(world: World, found: readonly FoundVm[]): World {
  const { policy: before } = world;
  if (JSON.stringify(found) === JSON.stringify(world.foundVms)) {
    return world;
  }
  if (before === null) {
    return { ...world, foundVms: found };
  }
  const policy = withFoundVms(before, found);
  const isThere = ([name]: readonly [string, unknown]) => policy.vms.some((vm) => vm.name === name);
  return {
    ...world,
    foundVms: found,
    policy,
    vms: stillThere(world.vms, before, policy),
    vmErrors: new Map([...world.vmErrors].filter(isThere)),
  };
}

/** The world after a file that is no policy: nothing changes but what is told. */
export function refusePolicy(world: World, reasons: readonly string[]): World {
  return { ...world, policyRefusal: { atMs: world.nowMs, reasons } };
}

/** Lifts the detach limit for one version of the policy; a word about another one is void. */
export function confirmDetach(world: World, version: string): World {
  return world.policy?.version === version ? { ...world, isDetachConfirmed: true } : world;
}

/** Whether the policy in force does not know the VM: what a step that still runs has seen of it does not count. */
export function isStranger(world: World, vm: string): boolean {
  return world.policy !== null && !world.policy.vms.some((spec) => spec.name === vm);
}

function stillThere(vms: World["vms"], before: Policy, after: Policy): World["vms"] {
  const socketIn = (policy: Policy, name: string) => policy.vms.find((vm) => vm.name === name)?.qmp;
  const kept = [...vms].filter(([name]) => {
    const socket = socketIn(after, name);
    return socket !== undefined && socket === socketIn(before, name);
  });
  return kept.length === vms.size ? vms : new Map(kept);
}
