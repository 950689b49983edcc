/**
 * How long a refused pair of device and VM rests: 1 s doubling to 5 min, reset only by a change of the device,
 * the VM's process or the policy; a permanent refusal waits for such a change (semantics.md 6).
 */
import type { PciAddress } from "./address.js";
import { addressesOf, type Outcome, type Step, type StepKind } from "./step.js";
import { processKey } from "./vm.js";
import { type Backoff, pairKey, vmStatus, type World } from "./world.js";

const FIRST_MS = 1_000;
const LONGEST_MS = 300_000;

/** Coming and leaving rest apart: a card that could not come may still be given back at once. */
export type Purpose = "arrive" | "leave";

const purposes: Readonly<Record<StepKind, Purpose>> = {
  bind: "arrive",
  attach: "arrive",
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
  for (const address of addressesOf(step)) {
    const previous = backoffOf(world, purpose, step.vm, address);
    const failures = (previous?.failures ?? 0) + 1;
    const isFinal = outcome.kind === "refused" && !outcome.isWorthRetrying;
    next.set(keyOf(purpose, step.vm, address), {
      vm: step.vm,
      address,
      ...presentOf(world, step.vm, address),
      failures,
      untilMs: isFinal ? null : world.nowMs + backoffMs(failures),
      detail: outcome.detail,
    });
  }
  return next;
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
    entry.policy === present.policy
    ? entry
    : undefined;
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
