/**
 * The steps that change a VM or its process: attach a unit, ask a device to leave, raise a limit.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { PciAddress } from "../core/address.js";
import { NEXT_MOVES } from "../core/next-move.js";
import type { Signal } from "../core/signal.js";
import type { Outcome, Placement, StepOf } from "../core/step.js";
import { explained, grantNode, remedy } from "./remedies.js";
import type { Deed, Tools, VmHands } from "./tools.js";

/** A native port blinks for about six seconds. */
const BUSY_ATTEMPTS = 16;
const BUSY_WAIT_MS = 500;

/** Hands a bound unit to the VM, one device after the other; on a refusal what went in is asked out again. */
export async function attachUnit(step: StepOf<"attach">, tools: Tools): Promise<Deed> {
  const vm = tools.vm(step.vm);
  if (vm === undefined) {
    return { outcome: { kind: "cancelled", detail: `no VM named ${step.vm}` }, seen: [] };
  }
  for (const iommuGroup of step.iommuGroups) {
    const access = await grantNode(step, iommuGroup, tools);
    if (access.kind !== "done") {
      const detail = `cannot give the node of IOMMU group ${iommuGroup} to QEMU's user: ${access.detail}`;
      return { outcome: { kind: "failed", code: "host.node-access", detail }, seen: [] };
    }
  }
  const plugged: Placement[] = [];
  const details: string[] = [];
  for (const placement of step.placements) {
    const outcome = await plugIn(step, placement, vm, tools);
    if (outcome.kind !== "done") {
      if (outcome.kind === "timed-out") {
        return { outcome, seen: [], seenAfter: [await lookAt(step.vm, vm, tools)] };
      }
      const undone = await plugOut(step, plugged, vm, tools);
      return {
        outcome,
        seen: [...(await neighbours(outcome, tools)), await lookAt(step.vm, vm, tools), ...undone],
      };
    }
    plugged.push(placement);
    details.push(...(outcome.detail === undefined ? [] : [outcome.detail]));
  }
  const detail = details.length === 0 ? {} : { detail: details.join("; ") };
  return { outcome: { kind: "done", ...detail }, seen: [await lookAt(step.vm, vm, tools)] };
}

/** Plugs one device; what can be done about a refusal by ourselves is done once, and then it is tried again. */
async function plugIn(
  step: StepOf<"attach">,
  placement: Placement,
  vm: VmHands,
  tools: Tools,
): Promise<Outcome> {
  const outcome = await vm.attach(placement);
  if (outcome.kind !== "refused" || !(await remedy(step, placement, outcome, tools))) {
    return explained(step, placement, outcome, tools);
  }
  const second = await vm.attach(placement);
  return second.kind === "done"
    ? { kind: "done", detail: `at the second attempt; the first was refused: ${outcome.detail}` }
    : explained(step, placement, second, tools);
}

/** The way back: last in, first out. A guest that does not let go at once leaves a pending unplug behind. */
async function plugOut(
  step: StepOf<"attach">,
  plugged: readonly Placement[],
  vm: VmHands,
  tools: Tools,
): Promise<Signal[]> {
  const signals: Signal[] = [];
  for (const { address, id } of [...plugged].reverse()) {
    const outcome = await detachPatiently(vm, id, address);
    if (outcome.kind === "pending" || outcome.kind === "timed-out") {
      const why = "another device of its unit was refused";
      signals.push({
        kind: "step-ended",
        atMs: tools.now(),
        lane: step.vm,
        step: { kind: "detach", vm: step.vm, id, address, why },
        outcome: { kind: "pending" },
      });
    }
  }
  return signals;
}

/** Right after a plug a guest's slot is busy for some seconds and refuses the unplug (facts.md 3.1). */
async function detachPatiently(vm: VmHands, id: string, address: PciAddress): Promise<Outcome> {
  for (let attempt = 1; ; attempt += 1) {
    const outcome = await vm.detach(id, address);
    const isBusy = outcome.kind === "refused" && NEXT_MOVES[outcome.reason] === "wait-a-moment";
    if (!isBusy || attempt === BUSY_ATTEMPTS) {
      return outcome;
    }
    await delay(BUSY_WAIT_MS);
  }
}

/** Asks the VM to let go of a device. `pending` is a good answer: the lane does not wait for a guest. */
export async function detachDevice(step: StepOf<"detach">, tools: Tools): Promise<Deed> {
  const vm = tools.vm(step.vm);
  if (vm === undefined) {
    return { outcome: { kind: "cancelled", detail: `no VM named ${step.vm}` }, seen: [] };
  }
  const outcome: Outcome = await vm.detach(step.id, step.address);
  return { outcome, seen: [await lookAt(step.vm, vm, tools)] };
}

/** Resets the machine: the audit has the reason, on disk, before. */
export async function resetMachine(step: StepOf<"reset">, tools: Tools): Promise<Deed> {
  const vm = tools.vm(step.vm);
  if (vm === undefined) {
    return { outcome: { kind: "cancelled", detail: `no VM named ${step.vm}` }, seen: [] };
  }
  const outcome = await vm.reset();
  return { outcome, seen: [await lookAt(step.vm, vm, tools)] };
}

/** Lets the VM's process lock more memory; the look after it shows the new limit. */
export async function raiseVmMemlock(step: StepOf<"raise-memlock">, tools: Tools): Promise<Deed> {
  const vm = tools.vm(step.vm);
  if (vm === undefined) {
    return { outcome: { kind: "cancelled", detail: `no VM named ${step.vm}` }, seen: [] };
  }
  const deed = await tools.host.raiseMemlock(step.process, step.bytes);
  const code = deed.kind === "failed" ? deed.code : "host.stuck";
  const outcome: Outcome =
    deed.kind === "done"
      ? { kind: "done" }
      : { kind: "failed", code, detail: `cannot raise the memory limit of ${step.vm}: ${deed.detail}` };
  return { outcome, seen: [await lookAt(step.vm, vm, tools)] };
}

/** A refusal for a neighbour's sake is only understood by a fresh look at the host. */
async function neighbours(outcome: Outcome, tools: Tools): Promise<Signal[]> {
  const isTheirs = outcome.kind === "refused" && NEXT_MOVES[outcome.reason] === "free-sibling";
  return isTheirs ? [await tools.eye.look("step")] : [];
}

async function lookAt(name: string, vm: VmHands, tools: Tools): Promise<Signal> {
  return { kind: "vm-seen", atMs: tools.now(), vm: name, status: await vm.look() };
}
