/**
 * The steps that change a VM: attach a unit, ask a device to leave.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { PciAddress } from "../core/address.js";
import type { Signal } from "../core/signal.js";
import type { Outcome, Placement, StepOf } from "../core/step.js";
import type { Deed, HostDeed, Tools, VmHands } from "./tools.js";

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
  for (const placement of step.placements) {
    const outcome = await vm.attach(placement);
    if (outcome.kind !== "done") {
      if (outcome.kind === "timed-out") {
        return { outcome, seen: [], seenAfter: [await lookAt(step.vm, vm, tools)] };
      }
      const undone = await plugOut(step, plugged, vm, tools);
      return { outcome, seen: [await lookAt(step.vm, vm, tools), ...undone] };
    }
    plugged.push(placement);
  }
  return { outcome: { kind: "done" }, seen: [await lookAt(step.vm, vm, tools)] };
}

/** QEMU opens the IOMMU group's node as its own user; each bind recreates it as root's (facts.md 8). */
async function grantNode(step: StepOf<"attach">, iommuGroup: number, tools: Tools): Promise<HostDeed> {
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
    const isBusy = outcome.kind === "refused" && outcome.reason === "guest-busy";
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

async function lookAt(name: string, vm: VmHands, tools: Tools): Promise<Signal> {
  return { kind: "vm-seen", atMs: tools.now(), vm: name, status: await vm.look() };
}
