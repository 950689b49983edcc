/**
 * Devices in VMs that no rule of their VM claims any more, and how many a change may cost (semantics.md 6).
 */
import { type PciAddress, qemuIdOf } from "./address.js";
import type { Assignment } from "./assignment.js";
import type { HeldReason } from "./held.js";
import { type Lease, type LeaseTerms, termsOf } from "./lease.js";
import { isOurs, isVmTransparent } from "./occupancy.js";
import type { Rule } from "./policy.js";
import { unplugName } from "./unplug.js";
import { pairKey, type World } from "./world.js";

/** Whether no rule gives the device to this VM any more. A fact that is not known takes nothing away. */
export function isUnclaimed(assignment: Assignment, vm: string, address: PciAddress): boolean {
  return assignment.staying.get(address)?.has(vm) !== true;
}

/**
 * The rule of another VM that preempts a claim of this one which still stands; `null` when there is none. Where this
 * VM's own claim is gone, nobody preempts it: it leaves within the limits of a change.
 */
export function preemptorOf(assignment: Assignment, vm: string, address: PciAddress): Rule | null {
  const unit = assignment.byDevice.get(address);
  const rule = unit?.rules.get(address);
  if (unit === undefined || unit.vm === vm || rule?.preempt !== true) {
    return null;
  }
  const own = [
    ...(assignment.exact.get(address) ?? []).flatMap((claim) => (claim.vm === vm ? [claim.rule] : [])),
    ...(assignment.findings.get(address)?.matches ?? []).flatMap((entry) =>
      entry.rule.mode === "select" && entry.rule.vm === vm ? [entry.rule] : [],
    ),
  ];
  return own.some(({ priority }) => priority < rule.priority) ? rule : null;
}

/** What the rule of a lease says now; what it said when it took the device, where it is not in the file any more. */
export function termsNow({ policy }: Pick<World, "policy">, lease: Lease): LeaseTerms {
  const rule = policy?.rules.find(({ name }) => name === lease.rule);
  return rule === undefined ? lease : termsOf(rule);
}

/** Whether a device stays in its VM although the rule that gave it is gone: `onRuleGone: keep`. */
export function isKeptWithoutRule(world: World, lease: Lease): boolean {
  return (
    lease.isKeptWithoutRule === true && world.policy?.rules.every((rule) => rule.name !== lease.rule) === true
  );
}

/**
 * Why the devices lost by the present policy may not be detached; `null` when they may.
 *
 * What was asked to leave already does not count again.
 */
export function detachObjection(world: World, assignment: Assignment): HeldReason | null {
  if (world.policy === null || world.isDetachConfirmed) {
    return null;
  }
  const known = new Set(world.policy.vms.map((vm) => vm.name));
  const missing = [...world.leases.values()].find((lease) => !known.has(lease.vm));
  if (missing !== undefined) {
    return { kind: "vm-missing", vm: missing.vm };
  }
  const limit = world.policy.limits.detachPerChange;
  if (world.detachBar?.policy === world.policy.version) {
    return { kind: "detach-limit", count: world.detachBar.count, limit };
  }
  const count = countLost(world, assignment);
  return count > limit ? { kind: "detach-limit", count, limit } : null;
}

function isKeptByLease(world: World, address: PciAddress): boolean {
  const lease = world.leases.get(address);
  return lease !== undefined && isKeptWithoutRule(world, lease);
}

/** What the present policy would take from VMs. */
function countLost(world: World, assignment: Assignment): number {
  const lost = inVms(world).filter(
    ({ vm, address, id }) =>
      world.devices.has(address) &&
      isUnclaimed(assignment, vm, address) &&
      preemptorOf(assignment, vm, address) === null &&
      !isKeptByLease(world, address) &&
      !world.unplugs.has(pairKey(vm, id)),
  );
  return new Set(lost.map(({ vm, address }) => pairKey(vm, address))).size;
}

/** A device of ours in a VM, and the name by which it is asked out. */
interface InVm {
  readonly vm: string;
  readonly address: PciAddress;
  readonly id: string;
}

/** What is in VMs, or on its way into them at this moment. What a silent VM holds by the ledger counts as being in it. */
function inVms(world: World): readonly InVm[] {
  const listed = [...world.vms].flatMap(([vm, status]) =>
    status.kind === "up"
      ? status.view.attached.flatMap((entry) =>
          isOurs(world, vm, entry) && entry.address !== null
            ? [{ vm, address: entry.address, id: unplugName(entry) }]
            : [],
        )
      : [],
  );
  const arriving = [...world.running.values()].flatMap((step) =>
    step.kind === "attach" ? step.placements.map(({ address, id }) => ({ vm: step.vm, address, id })) : [],
  );
  const unseen = [...world.leases.values()].flatMap(({ role, vm, address }) =>
    role === "claimed" && !isVmTransparent(world, vm) ? [{ vm, address, id: qemuIdOf(address) }] : [],
  );
  return [...listed, ...arriving, ...unseen];
}
