/** The functions that share a port inside a VM: QEMU lets go of all of them or of none (facts.md 4). */
import { unplugName } from "./unplug.js";
import { type Attached, portKeyOf, type VmView } from "./vm.js";
import { pairKey, vmStatus, type World } from "./world.js";

/** The other devices of the host in the port of this one. */
export function slotMatesOf(view: Pick<VmView, "attached">, entry: Attached): readonly Attached[] {
  const port = portKeyOf(entry);
  return port === null
    ? []
    : view.attached.filter((other) => other.path !== entry.path && portKeyOf(other) === port);
}

/** Whether function 0 stands in a port: from then on the guest knows the card, and nothing can be added to it. */
export function isExposed(view: Pick<VmView, "attached">, port: string): boolean {
  return view.attached.some((entry) => portKeyOf(entry) === port && ((entry.devfn ?? 0) & 7) === 0);
}

/**
 * Whether a function was asked back because function 0 of its card was refused. Until it has gone nothing is added to
 * its port: the guest would throw out both.
 */
export function isOnItsWayBack(world: World, vm: string, entry: Attached): boolean {
  const status = vmStatus(world, vm);
  const port = portKeyOf(entry);
  return (
    world.unplugs.has(pairKey(vm, unplugName(entry))) &&
    status.kind === "up" &&
    port !== null &&
    !isExposed(status.view, port)
  );
}
