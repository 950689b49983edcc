/**
 * What has to leave one VM, and what has to go back to the host after it has left.
 */
import type { PciAddress } from "./address.js";
import { backoffOf } from "./backoff.js";
import { isInQuarantine } from "./eligibility.js";
import type { HeldReason } from "./held.js";
import { isLeaseOf, isSameTerms, type Lease } from "./lease.js";
import { detachObjection, isKeptWithoutRule, isUnclaimed, preemptorOf, termsNow } from "./lost.js";
import { resetStep } from "./machine-reset.js";
import { memlockRaise } from "./memlock.js";
import { groupObjection, isOurs, isVmTransparent } from "./occupancy.js";
import { retryHeld, stateObjection } from "./readiness.js";
import type { Move, Scene } from "./scene.js";
import { isOnItsWayBack, slotMatesOf } from "./slot-mates.js";
import type { StepOf } from "./step.js";
import { isUnplugDue, unplugHeld, unplugName } from "./unplug.js";
import type { Attached, VmView } from "./vm.js";
import { pairKey, vmStatus } from "./world.js";

/** The detach and adopt moves of a VM that answers. */
export function planDetaches(scene: Scene, vm: string): Move[] {
  const status = vmStatus(scene.world, vm);
  if (status.kind !== "up") {
    return [];
  }
  const home: Home = { vm, view: status.view };
  return status.view.attached.filter(hasAddress).flatMap((entry) => {
    if (!isOurs(scene.world, vm, entry)) {
      return [];
    }
    const lease = scene.world.leases.get(entry.address);
    const device = scene.world.devices.get(entry.address);
    const isGone = device === undefined || (lease !== undefined && !isLeaseOf(lease, device));
    if (isGone) {
      return [detachMove(scene, home, entry, "the card is gone from the host", null)];
    }
    if (lease === undefined) {
      const rule = scene.assignment.byDevice.get(entry.address)?.rule ?? "";
      return [rested(scene, rule, { kind: "adopt", vm, rule, address: entry.address })];
    }
    if (isUnclaimed(scene.assignment, vm, entry.address)) {
      return [unclaimedMove(scene, home, entry, lease)];
    }
    return isOnItsWayBack(scene.world, vm, entry)
      ? [detachMove(scene, home, entry, "its card did not go in whole", null)]
      : [];
  });
}

/** What no rule of its VM claims leaves it: for a rule that goes first at once, else within the limits. */
function unclaimedMove(scene: Scene, home: Home, entry: Located, lease: Lease): Move {
  const { world, assignment } = scene;
  const { vm } = home;
  const { address } = entry;
  const staying = stayingMates(scene, home, entry);
  if (staying.length > 0) {
    return { held: { address, vm, rule: lease.rule, reason: { kind: "card-stays", vm, staying } } };
  }
  const preemptor = preemptorOf(assignment, vm, address);
  if (preemptor !== null) {
    return detachMove(scene, home, entry, `rule ${preemptor.name} goes first and preempts`, null);
  }
  if (isKeptWithoutRule(world, lease)) {
    const reason: HeldReason = { kind: "kept-without-rule", vm, rule: lease.rule };
    return { held: { address, vm, rule: lease.rule, reason } };
  }
  return detachMove(scene, home, entry, "no rule claims it any more", detachObjection(world, assignment));
}

/** The functions in its port that the VM keeps: claimed, kept without their rule, or not ours. */
function stayingMates(scene: Scene, { vm, view }: Home, entry: Located): readonly PciAddress[] {
  const { world, assignment } = scene;
  return slotMatesOf(view, entry)
    .filter(hasAddress)
    .filter((mate) => {
      const lease = world.leases.get(mate.address);
      return (
        !isOurs(world, vm, mate) ||
        !isUnclaimed(assignment, vm, mate.address) ||
        (lease !== undefined && isKeptWithoutRule(world, lease))
      );
    })
    .map((mate) => mate.address);
}

/** A VM that answers. */
interface Home {
  readonly vm: string;
  readonly view: VmView;
}

/** A device of the host in a VM. One whose address QEMU does not tell is never ours. */
type Located = Attached & { readonly address: PciAddress };

function hasAddress(entry: Attached): entry is Located {
  return entry.address !== null;
}

function detachMove(
  scene: Scene,
  { vm, view }: Home,
  entry: Located,
  why: string,
  objection: HeldReason | null,
): Move {
  const { world } = scene;
  const { address } = entry;
  const id = unplugName(entry);
  const held = (reason: HeldReason): Move => ({
    held: { address, vm, rule: world.leases.get(address)?.rule ?? null, reason },
  });
  if (!entry.canUnplug) {
    return held({ kind: "cannot-unplug", vm, id: entry.id });
  }
  const state = stateObjection(vm, view);
  const unplug = world.unplugs.get(pairKey(vm, id));
  if (unplug !== undefined && (state !== null || !isUnplugDue(unplug, world.nowMs))) {
    const step = resetStep(world, view, unplug);
    const waits = state?.kind === "migrating" ? state : unplugHeld(unplug, view, world.nowMs);
    return step === null ? held(waits) : { step };
  }
  if (objection !== null && unplug === undefined) {
    return held(objection);
  }
  const rest = state ?? retryHeld(world, "leave", vm, address);
  return rest === null
    ? { step: { kind: "detach", vm, id, address, why, ...matesOf(view, entry) } }
    : held(rest);
}

function matesOf(view: VmView, entry: Located): Pick<StepOf<"detach">, "mates"> {
  const mates = slotMatesOf(view, entry).filter(hasAddress);
  return mates.length === 0
    ? {}
    : { mates: mates.map((mate) => ({ id: unplugName(mate), address: mate.address })) };
}

/** The release and forget moves of the leases of one VM, whether or not it runs. */
export function planReleases(scene: Scene, vm: string, isOrphaned = false): Move[] {
  return [...scene.world.leases.values()]
    .filter((lease) => lease.vm === vm)
    .flatMap((lease) =>
      lease.role === "companion"
        ? companionMove(scene, lease)
        : [...renewMove(scene, lease), ...releaseMove(scene, lease)],
    )
    .filter((move) => !isOrphaned || ("step" in move && move.step.kind === "forget"));
}

/** What a rule says of its end must be known when it is gone. */
function renewMove(scene: Scene, lease: Lease): Move[] {
  const { world } = scene;
  const { vm, address } = lease;
  const terms = termsNow(world, lease);
  return isSameTerms(lease, terms) || !isWanted(scene, lease)
    ? []
    : [rested(scene, lease.rule, { kind: "renew", vm, address, terms })];
}

function releaseMove(scene: Scene, lease: Lease): Move[] {
  const { world, taken } = scene;
  const { address, vm } = lease;
  if (taken.has(address)) {
    return [];
  }
  const held = (reason: HeldReason): Move[] => [{ held: { address, vm, rule: lease.rule, reason } }];
  const device = world.devices.get(address);
  const isGone = device === undefined || !isLeaseOf(lease, device);
  if (!isVmTransparent(world, vm) && isKnownVm(scene, vm)) {
    return isGone || !isWanted(scene, lease) ? held(describeOpaque(scene, vm)) : [];
  }
  if (isGone) {
    return [rested(scene, lease.rule, { kind: "forget", vm, address, why: "the card is gone" })];
  }
  const why = releaseReason(scene, lease);
  if (why === null) {
    return [];
  }
  const { iommuGroup } = device;
  const busy = typeof iommuGroup === "number" ? groupObjection(world, taken, iommuGroup, null) : null;
  if (busy !== null) {
    return held(busy);
  }
  const rest = retryHeld(world, "leave", vm, address);
  if (rest !== null) {
    return held(rest);
  }
  return leaveMoves(scene, lease, why);
}

/** Where a device goes that its VM has done with: back to the host, to nobody, or nowhere for now. */
function leaveMoves(scene: Scene, lease: Lease, why: string): Move[] {
  const { address, vm, rule } = lease;
  const device = scene.world.devices.get(address);
  const quarantine = scene.world.intents.quarantines.find(
    (entry) => device !== undefined && isInQuarantine(entry, device),
  );
  const { release } = termsNow(scene.world, lease);
  if (release === "vfio") {
    // It waits on vfio-pci for the next VM; whoever claims it takes over the lease.
    return [];
  }
  if (release === "quarantine" && quarantine === undefined) {
    return [{ step: { kind: "quarantine", vm, address, why } }];
  }
  if (quarantine !== undefined && !quarantine.isCleared) {
    return [{ held: { address, vm, rule, reason: { kind: "quarantined", why: quarantine.why } } }];
  }
  return [{ step: { kind: "release", vm, address, why } }];
}

function isKnownVm(scene: Scene, vm: string): boolean {
  return scene.world.policy?.vms.some((spec) => spec.name === vm) === true;
}

function isWanted(scene: Scene, lease: Lease): boolean {
  return scene.assignment.byDevice.get(lease.address)?.vm === lease.vm;
}

/** Why a leased device that is in no VM goes back to the host; `null` while it is to stay bound. */
function releaseReason(scene: Scene, lease: Lease): string | null {
  const { world } = scene;
  if (!isWanted(scene, lease)) {
    return "no rule gives it to this VM any more";
  }
  const rest = backoffOf(world, "arrive", lease.vm, lease.address);
  const isAboutToBeRaised = rest?.waitsOn?.kind === "memory-limit" && memlockRaise(world, lease.vm) !== null;
  if (rest?.untilMs === null && !isAboutToBeRaised) {
    return "QEMU refused it for good";
  }
  const status = vmStatus(world, lease.vm);
  const keepMs = world.policy?.limits.keepAfterVmGoneMs ?? Number.POSITIVE_INFINITY;
  return status.kind === "absent" && world.nowMs >= status.sinceMs + keepMs
    ? `the VM has been gone for ${Math.round(keepMs / 1000)} s`
    : null;
}

function describeOpaque(scene: Scene, vm: string): HeldReason {
  const status = vmStatus(scene.world, vm);
  return status.kind === "unreachable"
    ? { kind: "vm-unreachable", vm, why: status.reason }
    : { kind: "vm-unknown", vm };
}

/** A companion's override goes when the last claimed member of its IOMMU group has gone. */
function companionMove(scene: Scene, lease: Lease): Move[] {
  const { world } = scene;
  const device = world.devices.get(lease.address);
  if (!isLeaseOf(lease, device)) {
    return [
      rested(scene, lease.rule, {
        kind: "forget",
        vm: lease.vm,
        address: lease.address,
        why: "the card is gone",
      }),
    ];
  }
  const isNeeded = [...world.leases.values()].some(
    (other) =>
      other.role === "claimed" && world.devices.get(other.address)?.iommuGroup === device?.iommuGroup,
  );
  const rest = retryHeld(world, "leave", lease.vm, lease.address);
  if (isNeeded || rest !== null) {
    return [];
  }
  return [
    {
      step: {
        kind: "release",
        vm: lease.vm,
        address: lease.address,
        why: "its IOMMU group is not in use any more",
      },
    },
  ];
}

/** The step, unless it still rests after a failure: also a note in the ledger can fail. */
function rested(
  scene: Scene,
  rule: string,
  step: StepOf<"adopt"> | StepOf<"forget"> | StepOf<"renew">,
): Move {
  const { vm, address } = step;
  const reason = retryHeld(scene.world, "leave", vm, address);
  return reason === null ? { step } : { held: { address, vm, rule, reason } };
}
