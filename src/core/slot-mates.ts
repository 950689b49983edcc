/** The functions that share a port inside a VM: QEMU lets go of all of them or of none (facts.md 4). */
import { type Attached, portKeyOf, type VmView } from "./vm.js";

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
