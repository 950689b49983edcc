/**
 * Which VMs somebody waits for: what holds a device up there ends inside the VM, and nobody tells us of it but the VM
 * itself. A monitor that we do not keep has to be visited for that (decisions.md).
 */
import type { Held, HeldReason } from "./held.js";
import type { World } from "./world.js";

/** Whether anything of ours is in a VM, or may be: then it is looked after also while its socket is not there. */
export function isInUse({ leases, unplugs, running }: World, vm: string): boolean {
  return [...leases.values(), ...unplugs.values(), ...running.values()].some((entry) => entry.vm === vm);
}

/** Reasons that only the VM itself can end. */
const ENDS_IN_VM: ReadonlySet<HeldReason["kind"]> = new Set([
  "vm-not-ready",
  "no-free-port",
  "migrating",
  "unplug-pending",
  "unplug-overdue",
  "leased-elsewhere",
]);

/** The names of these VMs, given everything that is held now. */
export function vmsWithNewsToCome(world: World, held: readonly Held[]): ReadonlySet<string> {
  const waiting = held.flatMap(({ reason }) =>
    ENDS_IN_VM.has(reason.kind) && "vm" in reason && reason.vm !== null ? [reason.vm] : [],
  );
  const leaving = [...world.unplugs.values()].map((unplug) => unplug.vm);
  return new Set([...waiting, ...leaving]);
}
