/**
 * The keeper of the world: takes one signal at a time and makes the next world. Pure, total, idempotent for
 * repeated facts. It decides nothing about devices; it only remembers what was seen and done.
 */
import { unreachable } from "../base/error.js";
import { noteFailure, withoutBackoffs } from "./backoff.js";
import { type Device, isSameDevice } from "./device.js";
import { endHolds, holdForDriverChange, holdForEjection } from "./holds.js";
import { dropCleared, learnFromVms, learnPins, withoutQuarantine, withQuarantine } from "./intents-change.js";
import { asLent, type Lease } from "./lease.js";
import { learnPorts } from "./port-preference.js";
import { landInFlight, noteInFlight, settleInFlight } from "./ports-in-flight.js";
import { isSameDma, isSameProtection } from "./protection.js";
import { adoptFoundVms, adoptPolicy, confirmDetach, isStranger, refusePolicy } from "./reload.js";
import { liftOccupied, liftSeen, noteShunned } from "./shunned-ports.js";
import type { Signal } from "./signal.js";
import { addressesOf, type Step, type StepOf } from "./step.js";
import { noteReset, noteResetFor, noteUnplug, pendingUnplugs, unplugName } from "./unplug.js";
import type { World } from "./world.js";
import { pairKey } from "./world.js";

/** The world after a signal. */
export function reduce(world: World, signal: Signal): World {
  return settled(next(world, signal));
}

/** Once the inventory has been quiet for long enough it is not waited for again (semantics.md 4). */
function settled(world: World): World {
  const { inventoryMovedMs: movedMs, policy } = world;
  return movedMs === null || policy === null || world.nowMs < movedMs + policy.settleMs
    ? world
    : { ...world, inventoryMovedMs: null };
}

function next(world: World, signal: Signal): World {
  switch (signal.kind) {
    case "start":
      return {
        ...world,
        nowMs: signal.atMs,
        bootId: signal.bootId,
        mode: signal.mode,
        isDetachConfirmed: signal.isDetachConfirmed,
        inventoryMovedMs: signal.atMs,
      };
    case "policy-loaded":
      return learning(adoptPolicy({ ...world, nowMs: later(world, signal.atMs) }, signal.policy));
    case "policy-refused":
      return refusePolicy({ ...world, nowMs: later(world, signal.atMs) }, signal.reasons);
    case "detach-confirmed":
      return confirmDetach(world, signal.policy);
    case "look-wanted":
    case "reload-wanted":
      return world;
    case "host-seen":
      return onHostSeen(world, signal);
    case "source-changed":
      return { ...world, sources: new Map(world.sources).set(signal.name, signal.state) };
    case "vms-found":
      return adoptFoundVms(world, signal.found);
    case "vm-seen":
      return onVmSeen(world, signal);
    case "device-deleted":
      return onDeviceDeleted(world, signal);
    case "vm-reset":
      return isStranger(world, signal.vm)
        ? world
        : noteReset({ ...world, nowMs: later(world, signal.atMs) }, signal.vm, signal.isByGuest);
    case "leases-written":
      return onLeasesWritten(world, signal.leases);
    case "intents-read":
      return { ...world, holds: signal.holds, intents: signal.intents, areIntentsLost: signal.isDamaged };
    case "quarantine-made":
      return { ...world, intents: withQuarantine(world.intents, signal.quarantine) };
    case "quarantine-cleared":
      return { ...world, intents: withoutQuarantine(world.intents, signal.address) };
    case "step-started":
      return {
        ...world,
        nowMs: later(world, signal.atMs),
        running: new Map(world.running).set(signal.lane, signal.step),
        portsInFlight: noteInFlight(world.portsInFlight, signal.step),
      };
    case "step-ended":
      return onStepEnded(world, signal);
    case "detach-barred":
      return { ...world, detachBar: { policy: signal.policy, count: signal.count } };
    case "tick":
      return { ...world, nowMs: later(world, signal.atMs) };
    default:
      return unreachable(signal);
  }
}

/** Time never runs backwards in here, whatever the wall clock does. */
function later(world: World, atMs: number): number {
  return Math.max(world.nowMs, atMs);
}

function onHostSeen(world: World, signal: Extract<Signal, { kind: "host-seen" }>): World {
  const seen = signal.devices.map((device) => asLent(device, world.leases.get(device.address)));
  const devices = mergeDevices(world.devices, seen);
  const nowMs = later(world, signal.atMs);
  const hasMoved = world.inventoryMovedMs !== null && !isSameInventory(world.devices, devices);
  const next: World = {
    ...world,
    nowMs,
    isHostSeen: true,
    inventoryMovedMs: hasMoved ? nowMs : world.inventoryMovedMs,
    devices,
    protections: mergeProtections(world.protections, signal.protections),
    dma: isSameDma(world.dma, signal.dma) ? world.dma : signal.dma,
  };
  return { ...next, holds: endHolds(next, [...world.holds, ...holdForDriverChange(world, next)]) };
}

/** Whether the same devices are there; their drivers may have changed. */
function isSameInventory(before: World["devices"], after: World["devices"]): boolean {
  return (
    before.size === after.size &&
    [...after].every(([address, { appearance }]) => before.get(address)?.appearance === appearance)
  );
}

/** What has not changed stays the very same object, also the whole map, so that nothing is decided again for it. */
function mergeDevices(before: World["devices"], seen: readonly Device[]): World["devices"] {
  const merged = seen.map((device) => {
    const known = before.get(device.address);
    return known !== undefined && isSameDevice(known, device) ? known : device;
  });
  const isNothingNew =
    merged.length === before.size && merged.every((device) => before.get(device.address) === device);
  return isNothingNew ? before : new Map(merged.map((device) => [device.address, device]));
}

/** What has not changed stays the very same object here too; the map is new with every look. */
function mergeProtections(before: World["protections"], seen: World["protections"]): World["protections"] {
  return new Map(
    Array.from(seen, ([address, protection]) => {
      const known = before.get(address);
      return [address, known !== undefined && isSameProtection(known, protection) ? known : protection];
    }),
  );
}

function onVmSeen(world: World, signal: Extract<Signal, { kind: "vm-seen" }>): World {
  if (isStranger(world, signal.vm)) {
    return world;
  }
  const before = world.vms.get(signal.vm);
  const stillAbsent = before?.kind === "absent" && signal.status.kind === "absent";
  const status = stillAbsent ? { ...signal.status, sinceMs: before.sinceMs } : signal.status;
  const next: World = {
    ...world,
    nowMs: later(world, signal.atMs),
    vms: new Map(world.vms).set(signal.vm, status),
    portsInFlight: landInFlight(world.portsInFlight, signal.vm, status),
    shunnedPorts: liftSeen(world.shunnedPorts, signal.vm, status),
  };
  return learning({
    ...next,
    holds: endHolds(next, next.holds),
    unplugs: pendingUnplugs(next, signal.vm),
    vmErrors: status.kind === "unreachable" ? withError(next, signal.vm, status.reason) : next.vmErrors,
  });
}

/** With what pinned rules learn from what is in the VMs already. */
function learning(world: World): World {
  const intents = learnFromVms(world);
  return intents === world.intents ? world : { ...world, intents };
}

function onDeviceDeleted(world: World, signal: Extract<Signal, { kind: "device-deleted" }>): World {
  const next = { ...world, nowMs: later(world, signal.atMs) };
  const hold = holdForEjection(next, signal.vm, signal.id);
  const status = world.vms.get(signal.vm);
  const vms =
    status?.kind === "up"
      ? new Map(world.vms).set(signal.vm, {
          ...status,
          view: {
            ...status.view,
            attached: status.view.attached.filter((entry) => unplugName(entry) !== signal.id),
          },
        })
      : world.vms;
  const unplugs = new Map(world.unplugs);
  unplugs.delete(pairKey(signal.vm, signal.id));
  const shunnedPorts = liftOccupied(world.shunnedPorts, signal.vm);
  const holds = hold === null ? world.holds : [...world.holds, hold];
  return { ...next, vms, unplugs, shunnedPorts, holds };
}

function onLeasesWritten(world: World, written: readonly Lease[]): World {
  const leases = new Map(written.map((lease) => [lease.address, lease]));
  const present = [...world.devices.values()].map((device) => asLent(device, leases.get(device.address)));
  const devices = mergeDevices(world.devices, present);
  return { ...world, devices, leases, intents: dropCleared(world.intents, leases) };
}

function onStepEnded(world: World, signal: Extract<Signal, { kind: "step-ended" }>): World {
  const running = new Map(world.running);
  running.delete(signal.lane);
  const { step, outcome } = signal;
  const portsInFlight = settleInFlight(world.portsInFlight, step, outcome);
  // The functions in its port leave with a device, whatever is said of the device itself.
  const unplugs = step.kind === "detach" ? noteMates(world, step) : world.unplugs;
  const next = { ...world, nowMs: later(world, signal.atMs), running, portsInFlight, unplugs };
  switch (outcome.kind) {
    case "done":
      return onStepDone(next, step);
    case "pending":
      return step.kind === "detach" ? { ...next, unplugs: noteUnplug(next, step) } : next;
    case "cancelled":
      return next;
    case "timed-out": {
      // The request may have arrived: a deletion that follows is our doing.
      const unplugs = step.kind === "detach" ? noteUnplug(next, step) : next.unplugs;
      const noted = { ...next, unplugs, backoffs: noteFailure(next, step, outcome) };
      return noteStepError(noted, step, outcome.detail);
    }
    case "refused":
    case "failed": {
      if (step.kind === "detach" && outcome.kind === "refused" && outcome.reason === "guest-busy") {
        // Its slot blinks: the device may be on its way out already, by an earlier request that nobody remembers.
        return noteStepError({ ...next, unplugs: noteUnplug(next, step, true) }, step, outcome.detail);
      }
      const shunnedPorts = noteShunned(next, step, outcome);
      const noted =
        shunnedPorts === null
          ? { ...next, backoffs: noteFailure(next, step, outcome) }
          : { ...next, shunnedPorts };
      return noteStepError(noted, step, outcome.detail);
    }
    default:
      return unreachable(outcome);
  }
}

function onStepDone(world: World, step: Step): World {
  if (step.kind === "bind") {
    // It proves nothing yet: only with its attach is the arrival over.
    return world;
  }
  const unplugs = step.kind === "reset" ? noteResetFor(world, step.vm) : world.unplugs;
  return { ...world, unplugs, backoffs: withoutBackoffs(world, step), intents: learn(world, step) };
}

function learn(world: World, step: Step): World["intents"] {
  return learnPorts({ ...world, intents: learnPins(world, step) }, step);
}

function noteMates(world: World, step: StepOf<"detach">): World["unplugs"] {
  return (step.mates ?? []).reduce(
    (unplugs, { id, address }) => noteUnplug({ ...world, unplugs }, { ...step, id, address }),
    world.unplugs,
  );
}

/** Only what moves devices in or out of the VM is about the VM; the rest is about the host. */
function noteStepError(world: World, step: Step, detail: string): World {
  return step.kind === "attach" || step.kind === "detach"
    ? {
        ...world,
        vmErrors: withError(world, step.vm, `${step.kind} ${addressesOf(step).join(" ")}: ${detail}`),
      }
    : world;
}

function withError(world: World, vm: string, message: string): World["vmErrors"] {
  return new Map(world.vmErrors).set(vm, { atMs: world.nowMs, message });
}
