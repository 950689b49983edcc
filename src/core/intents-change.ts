/** How the intents change: what pinned rules learn, and what goes into quarantine and out of it. */
import type { PciAddress } from "./address.js";
import type { Intents, Pin, Quarantine } from "./intent.js";
import { isLeaseOf, type Lease } from "./lease.js";
import { isCardOf, pinOf } from "./pinning.js";
import type { Step } from "./step.js";
import type { World } from "./world.js";

/** The intents after a step has succeeded: a pinned rule remembers each card that a VM got by it. */
export function learnPins(world: World, step: Step): Intents {
  const taken =
    step.kind === "attach"
      ? step.placements.map(({ address, rule }) => ({ address, rule }))
      : step.kind === "adopt"
        ? [{ address: step.address, rule: step.rule }]
        : [];
  const learnt = taken.flatMap(({ address, rule }) => newPin(world, rule, address));
  return learnt.length === 0 ? world.intents : { ...world.intents, pins: [...world.intents.pins, ...learnt] };
}

/** The intents after a change of the file: what a VM has by a rule that is pinned from now on is learnt, too. */
export function learnFromVms(world: World): Intents {
  const learnt: Pin[] = [];
  for (const [vm, status] of world.vms) {
    for (const { address } of status.kind === "up" ? status.view.attached : []) {
      const lease = address === null ? undefined : world.leases.get(address);
      if (lease?.vm === vm && isLeaseOf(lease, world.devices.get(lease.address))) {
        learnt.push(...newPin(world, lease.rule, lease.address));
      }
    }
  }
  return learnt.length === 0 ? world.intents : { ...world.intents, pins: [...world.intents.pins, ...learnt] };
}

function newPin(world: World, name: string, address: PciAddress): readonly Pin[] {
  const rule = world.policy?.rules.find((entry) => entry.name === name);
  const device = world.devices.get(address);
  if (rule?.isPinned !== true || device === undefined) {
    return [];
  }
  const pin = pinOf(name, device, world.leases.get(address)?.serial ?? null);
  const isKnown = world.intents.pins.some(
    (entry) =>
      entry.rule === name &&
      // A place that another card is pinned to is not learnt anew: what stands there is not the one that was meant.
      (isCardOf(entry, device) ? isPlaceOf(entry, pin) : entry.address === address),
  );
  return isKnown ? [] : [pin];
}

/** A card that is followed is the same pin wherever it is: by its serial, else by its path, else by its address. */
function isPlaceOf(known: Pin, seen: Pin): boolean {
  if (known.serial !== null || seen.serial !== null) {
    return known.serial === seen.serial;
  }
  return known.path === null ? known.address === seen.address : known.path === seen.path;
}

/** The intents with one more device in quarantine. */
export function withQuarantine(intents: Intents, quarantine: Quarantine): Intents {
  const others = intents.quarantines.filter((entry) => entry.address !== quarantine.address);
  return { ...intents, quarantines: [...others, quarantine] };
}

/** The intents after somebody has cleared a device. */
export function withoutQuarantine(intents: Intents, address: PciAddress): Intents {
  return {
    ...intents,
    quarantines: intents.quarantines.map((entry) =>
      entry.address === address ? { ...entry, isCleared: true } : entry,
    ),
  };
}

/** The intents without what was cleared and has been given back. */
export function dropCleared(intents: Intents, leases: ReadonlyMap<PciAddress, Lease>): Intents {
  const kept = intents.quarantines.filter((entry) => !entry.isCleared || leases.has(entry.address));
  return kept.length === intents.quarantines.length ? intents : { ...intents, quarantines: kept };
}
