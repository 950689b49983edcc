/**
 * How long a refused pair of device and VM rests, by the table of next-move.ts: mostly 1 s doubling to 5 min, reset only
 * by a change of the device, the VM's process or the policy; a permanent refusal waits for such a change
 * (semantics.md 6), or for the one thing that it is about.
 */
import type { PciAddress } from "./address.js";
import { isOnVfio } from "./device.js";
import { isBridgeDevice } from "./iommu-group.js";
import { NEXT_MOVES, type NextMove, RESTS } from "./next-move.js";
import { addressesOf, type Outcome, type Step, type StepKind } from "./step.js";
import { processKey } from "./vm.js";
import { type Awaited, type Backoff, pairKey, vmStatus, type World } from "./world.js";

const FIRST_MS = 1_000;
const LONGEST_MS = 300_000;
const MOMENT_MS = 750;
/** A native port blinks for about six seconds (facts.md 3.1); after twice that long it is no moment any more. */
const MOST_MOMENTS = 16;

/** Coming and leaving rest apart: a card that could not come may still be given back at once. */
export type Purpose = "arrive" | "leave";

const purposes: Readonly<Record<StepKind, Purpose>> = {
  bind: "arrive",
  attach: "arrive",
  "raise-memlock": "arrive",
  detach: "leave",
  reset: "leave",
  release: "leave",
  forget: "leave",
  quarantine: "leave",
  renew: "leave",
  adopt: "leave",
};

type Failure = Extract<Outcome, { kind: "refused" | "failed" | "timed-out" }>;

/** The rest after the n-th failure in a row, in milliseconds. */
export function backoffMs(failures: number): number {
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.max(0, failures - 1));
}

/** The back-offs after a step that did not succeed: one for each device of the step. */
export function noteFailure(world: World, step: Step, outcome: Failure): ReadonlyMap<string, Backoff> {
  const next = new Map(world.backoffs);
  const purpose = purposes[step.kind];
  const reason = outcome.kind === "refused" ? outcome.reason : null;
  const move = reason === null ? "wait" : NEXT_MOVES[reason];
  for (const address of addressesOf(step)) {
    const previous = backoffOf(world, purpose, step.vm, address);
    const failures = (previous?.failures ?? 0) + 1;
    const waitsOn = awaitedAfter(world, move, step.vm, address);
    const restMs = waitsOn === null ? restAfter(move, failures) : null;
    next.set(keyOf(purpose, step.vm, address), {
      vm: step.vm,
      address,
      ...presentOf(world, step.vm, address),
      failures,
      reason,
      waitsOn,
      untilMs: restMs === null ? null : world.nowMs + restMs,
      detail: outcome.detail,
    });
  }
  return next;
}

/** In milliseconds; `null`: until something changes. */
function restAfter(move: NextMove, failures: number): number | null {
  switch (RESTS[move]) {
    case "moment":
      return failures <= MOST_MOMENTS ? MOMENT_MS : backoffMs(failures - MOST_MOMENTS);
    case "change":
      // Nobody would tell of the end of what cannot be named: then time has to do.
      return move === "give-up" ? null : backoffMs(failures);
    case "growing":
    case "none":
      return backoffMs(failures);
  }
}

/** The one thing whose change ends the rest as well, as it is now; `null` when there is none or it cannot be seen. */
function awaitedAfter(world: World, move: NextMove, vm: string, address: PciAddress): Awaited | null {
  if (move === "raise-memlock") {
    const status = vmStatus(world, vm);
    const process = status.kind === "up" ? status.view.process : null;
    return process === null ? null : { kind: "memory-limit", bytes: process.memlockBytes };
  }
  if (move === "free-sibling") {
    const drivers = siblingsOnHost(world, address);
    return drivers.length === 0 ? null : { kind: "sibling-drivers", drivers };
  }
  return null;
}

/** The neighbours in a device's IOMMU group that are on a host driver now. */
function siblingsOnHost(
  world: World,
  address: PciAddress,
): Extract<Awaited, { kind: "sibling-drivers" }>["drivers"] {
  const group = world.devices.get(address)?.iommuGroup;
  return [...world.devices.values()].flatMap((device) =>
    typeof group === "number" &&
    device.iommuGroup === group &&
    device.address !== address &&
    !isBridgeDevice(device) &&
    typeof device.driver === "string" &&
    !isOnVfio(device)
      ? [{ address: device.address, driver: device.driver }]
      : [],
  );
}

/** The back-off that is still in force for a pair; one whose device, process or policy has changed is void. */
export function backoffOf(
  world: World,
  purpose: Purpose,
  vm: string,
  address: PciAddress,
): Backoff | undefined {
  const entry = world.backoffs.get(keyOf(purpose, vm, address));
  if (entry === undefined) {
    return undefined;
  }
  const present = presentOf(world, vm, address);
  return entry.appearance === present.appearance &&
    (entry.process === present.process || entry.process === null || present.process === null) &&
    entry.policy === present.policy &&
    isStillSo(world, entry)
    ? entry
    : undefined;
}

/** Whether what a rest waits for is still as it was. A VM that does not answer shows no change. */
function isStillSo(world: World, { vm, waitsOn }: Backoff): boolean {
  if (waitsOn?.kind === "memory-limit") {
    const status = vmStatus(world, vm);
    const process = status.kind === "up" ? status.view.process : null;
    return process === null || process.memlockBytes === waitsOn.bytes;
  }
  return (
    waitsOn === null ||
    waitsOn.drivers.every(({ address, driver }) => world.devices.get(address)?.driver === driver)
  );
}

/** The back-offs without those of a step that has succeeded. */
export function withoutBackoffs(world: World, step: Step): ReadonlyMap<string, Backoff> {
  const next = new Map(world.backoffs);
  for (const address of addressesOf(step)) {
    next.delete(keyOf(purposes[step.kind], step.vm, address));
  }
  return next;
}

function keyOf(purpose: Purpose, vm: string, address: PciAddress): string {
  return `${purpose} ${pairKey(vm, address)}`;
}

function presentOf(
  world: World,
  vm: string,
  address: PciAddress,
): Pick<Backoff, "appearance" | "process" | "policy"> {
  const status = vmStatus(world, vm);
  return {
    appearance: world.devices.get(address)?.appearance ?? "",
    process: status.kind === "up" ? processKey(status.view.process) : null,
    policy: world.policy?.version ?? "",
  };
}
