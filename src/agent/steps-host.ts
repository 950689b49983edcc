/**
 * The steps that change the host: bind, release, and the two that only write the ledger.
 */
import { UndoStack } from "../base/undo.js";
import { type Device, identityOf, isOnVfio } from "../core/device.js";
import { isLeaseOf, type Lease, withTerms } from "../core/lease.js";
import type { Signal } from "../core/signal.js";
import type { Outcome, StepOf } from "../core/step.js";
import type { VmProcess } from "../core/vm.js";
import { describeHolders } from "./remedies.js";
import type { Deed, HostDeed, Tools } from "./tools.js";

/** Leases the unit, then moves it to its vfio driver; all of it or nothing. */
export async function bindUnit(step: StepOf<"bind">, tools: Tools): Promise<Deed> {
  const holders = await tools.host.holders(step.iommuGroup);
  const isOpenElsewhere = holders.length > 0 && !isGroupOfVm(step, tools);
  if (isOpenElsewhere) {
    return refusal(
      "group-busy",
      `IOMMU group ${step.iommuGroup} is open in ${describeHolders(holders, tools)}`,
      await seen(tools),
    );
  }
  const leases = await leasesFor(step, tools);
  if (leases === null) {
    return {
      outcome: { kind: "cancelled", detail: "the host has changed since the plan" },
      seen: await seen(tools),
    };
  }
  const standing = leases.flatMap((lease) => tools.leases.get(lease.address) ?? []);
  await tools.leases.put(leases);
  const outcome = await bindAll(step, leases, standing, tools);
  return { outcome, seen: await seen(tools) };
}

/** Whether the VM itself has the IOMMU group open because it has another member of it. */
function isGroupOfVm(step: StepOf<"bind">, tools: Tools): boolean {
  const world = tools.world();
  const status = world.vms.get(step.vm);
  return (
    status?.kind === "up" &&
    status.view.attached.some(
      (entry) => entry.address !== null && world.devices.get(entry.address)?.iommuGroup === step.iommuGroup,
    )
  );
}

async function leasesFor(step: StepOf<"bind">, tools: Tools): Promise<Lease[] | null> {
  const leases: Lease[] = [];
  for (const [addresses, role] of [
    [[...step.companions, ...step.bystanders], "companion"],
    [step.members, "claimed"],
  ] as const) {
    for (const address of addresses) {
      const device = tools.world().devices.get(address);
      if (device === undefined) {
        return null;
      }
      const isClaimed = tools.leases.get(address)?.role === "claimed";
      if (role === "companion" && isClaimed) {
        // It has an owner of its own: whatever the plan saw, it is no bystander.
        return null;
      }
      leases.push(await leaseFor(step, device, role, tools));
    }
  }
  return leases;
}

/** The lease of a device: the one that stands keeps what the device was before we ever touched it. */
async function leaseFor(
  step: StepOf<"bind">,
  device: Device,
  role: Lease["role"],
  tools: Tools,
): Promise<Lease> {
  const { address } = device;
  const terms = step.terms[address] ?? { rule: step.rule };
  const standing = tools.leases.get(address);
  if (standing !== undefined && isLeaseOf(standing, device)) {
    return { ...withTerms(standing, terms), vm: step.vm, role };
  }
  const serial = await tools.host.readSerial(address);
  return {
    address,
    vm: step.vm,
    role,
    ...terms,
    bootId: tools.world().bootId,
    identity: identityOf(device),
    ...(serial === null ? {} : { serial }),
    appearance: device.appearance,
    original: await tools.host.readOriginal(address),
  };
}

async function bindAll(
  step: StepOf<"bind">,
  leases: readonly Lease[],
  standing: readonly Lease[],
  tools: Tools,
): Promise<Outcome> {
  const before = new Map(standing.map((lease) => [lease.address, lease]));
  const isInUse = isGroupOfVm(step, tools);
  const undo = new UndoStack();
  for (const [index, lease] of leases.entries()) {
    const deed = step.companions.includes(lease.address)
      ? await tools.host.reserveCompanion(lease)
      : await tools.host.bind(lease);
    // While one write to a device hangs every other one does, too: that device is left to the ledger (facts.md 5).
    if (deed.kind !== "stuck") {
      const earlier = before.get(lease.address);
      // What an earlier step has brought about is not this step's to undo, where others stand on it.
      const isEarlier = earlier !== undefined && (isInUse || earlier.vm !== lease.vm);
      undo.push(`lease of ${lease.address}`, () =>
        isEarlier ? tools.leases.put([earlier]) : giveBack(lease, tools),
      );
    }
    if (deed.kind !== "done") {
      const { undone, failed } = await undo.unwind();
      // Nothing was written to the rest of the unit: what it is now must not be what it goes back to one day.
      const rest = leases.slice(index + 1).map((entry) => entry.address);
      await tools.leases.end(rest.filter((address) => !before.has(address)));
      await tools.leases.put(standing.filter((lease) => rest.includes(lease.address)));
      const tail = [
        undone.length === 0 ? "" : `; undone: ${undone.join(", ")}`,
        failed.length === 0 ? "" : `; could not undo: ${failed.map((entry) => entry.detail).join(", ")}`,
      ].join("");
      return outcomeOf(deed, `cannot bind ${lease.address}`, tail);
    }
  }
  return { kind: "done" };
}

async function giveBack(lease: Lease, tools: Tools): Promise<void> {
  const deed = await tools.host.undo(lease);
  if (deed.kind !== "done") {
    throw new Error(deed.detail);
  }
  await tools.leases.end([lease.address]);
}

/** Gives one device back to the host, exactly as it was. The lease ends only after that has been read back. */
export async function releaseDevice(step: StepOf<"release">, tools: Tools): Promise<Deed> {
  const lease = tools.leases.get(step.address);
  const device = tools.world().devices.get(step.address);
  if (lease === undefined || !isLeaseOf(lease, device)) {
    return {
      outcome: { kind: "cancelled", detail: "the lease does not speak of this card" },
      seen: await seen(tools),
    };
  }
  const holders = await holdersOf(device, tools);
  if (holders.length > 0) {
    const detail = `IOMMU group ${device?.iommuGroup} is still open in ${describeHolders(holders, tools)}`;
    return refusal("group-busy", detail, await seen(tools));
  }
  const deed = await tools.host.release(lease);
  if (deed.kind === "done") {
    await tools.leases.end([step.address]);
  }
  return { outcome: outcomeOf(deed, `cannot release ${step.address}`, ""), seen: await seen(tools) };
}

/** Notes that a device is kept from everyone. Its lease stands: it stays on its vfio driver, out of the host's reach. */
export async function quarantineDevice(step: StepOf<"quarantine">, tools: Tools): Promise<Deed> {
  const device = tools.world().devices.get(step.address);
  if (device === undefined) {
    return { outcome: { kind: "cancelled", detail: "the card is gone" }, seen: await seen(tools) };
  }
  const { address } = device;
  const why = `${step.vm} had it, and its rule says release: quarantine`;
  const quarantine = { address, identity: identityOf(device), why, atMs: tools.now(), isCleared: false };
  return { outcome: { kind: "done" }, seen: [{ kind: "quarantine-made", quarantine }] };
}

/** Closes the note about a card that is gone. Nothing is written to the host. */
export async function forgetLease(step: StepOf<"forget">, tools: Tools): Promise<Deed> {
  await tools.leases.end([step.address]);
  return { outcome: { kind: "done" }, seen: [] };
}

/** Writes down what the rule of a lease says now. Nothing is written to the host. */
export async function renewLease(step: StepOf<"renew">, tools: Tools): Promise<Deed> {
  const lease = tools.leases.get(step.address);
  if (lease?.vm !== step.vm || lease.rule !== step.terms.rule) {
    return { outcome: { kind: "cancelled", detail: "the lease has changed since the plan" }, seen: [] };
  }
  await tools.leases.put([withTerms(lease, step.terms)]);
  return { outcome: { kind: "done" }, seen: [] };
}

/** Writes down a device of ours that was found in a VM. What it was before is not known. */
export async function adoptDevice(step: StepOf<"adopt">, tools: Tools): Promise<Deed> {
  const device = tools.world().devices.get(step.address);
  if (device === undefined) {
    return { outcome: { kind: "cancelled", detail: "the card is gone" }, seen: await seen(tools) };
  }
  const process = vmProcess(step.vm, tools);
  const holders = await holdersOf(device, tools);
  if (!isOnVfio(device) || process === null || !holders.includes(process.pid)) {
    // A QEMU may list whatever it likes: only what its process really has open is ours to note (semantics.md 9).
    const detail = `${step.vm} lists ${step.address}, but its process does not have the IOMMU group open`;
    return {
      outcome: { kind: "refused", reason: "not-in-vm", detail },
      seen: await seen(tools),
    };
  }
  await tools.leases.put([
    {
      address: step.address,
      vm: step.vm,
      rule: step.rule,
      role: "claimed",
      bootId: tools.world().bootId,
      identity: identityOf(device),
      appearance: device.appearance,
      original: null,
    },
  ]);
  return { outcome: { kind: "done" }, seen: [] };
}

function vmProcess(vm: string, tools: Tools): VmProcess | null {
  const status = tools.world().vms.get(vm);
  return status?.kind === "up" ? status.view.process : null;
}

async function holdersOf(device: Device | undefined, tools: Tools): Promise<readonly number[]> {
  return typeof device?.iommuGroup === "number" ? tools.host.holders(device.iommuGroup) : [];
}

async function seen(tools: Tools): Promise<Signal[]> {
  return [await tools.eye.look("step")];
}

function refusal(reason: "group-busy", detail: string, signals: readonly Signal[]): Deed {
  return { outcome: { kind: "refused", reason, detail }, seen: signals };
}

function outcomeOf(deed: HostDeed, what: string, tail: string): Outcome {
  switch (deed.kind) {
    case "done":
      return { kind: "done" };
    case "stuck":
      return {
        kind: "refused",
        reason: "stuck",
        detail: `${what}: ${deed.detail}${tail}`,
      };
    case "failed":
      // Trying again does not bring a lost driver back: wait for a change, and do not write for ever.
      if (deed.code === "host.not-restored") {
        const detail = `${what}: ${deed.detail}${tail}`;
        return { kind: "refused", reason: "not-restored", detail };
      }
      return { kind: "failed", code: deed.code, detail: `${what}: ${deed.detail}${tail}` };
  }
}
