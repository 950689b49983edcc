/**
 * Whether the moment is right: the checks that must pass before any driver is touched (semantics.md 6).
 */
import type { PciAddress } from "./address.js";
import { backoffOf, type Purpose } from "./backoff.js";
import type { HeldReason } from "./held.js";
import { memlockShortage, refusedMemlock } from "./memlock.js";
import { isPluggableState, migrationPhase, type Port, type VmStatus, type VmView } from "./vm.js";
import { type Backoff, vmStatus, type World } from "./world.js";

/** What is against plugging `needed` devices into the VM now; `null` when it is ready. */
export function vmObjection(vm: string, status: VmStatus, needed: number): HeldReason | null {
  switch (status.kind) {
    case "unknown":
      return { kind: "vm-unknown", vm };
    case "absent":
      return { kind: "vm-down", vm, why: status.reason };
    case "unreachable":
      return { kind: "vm-unreachable", vm, why: status.reason };
    case "up":
      return viewObjection(vm, status.view, needed);
  }
}

/** What is against plugging and unplugging alike: a migration, or a run state in which nobody answers. */
export function stateObjection(vm: string, view: VmView): HeldReason | null {
  const phase = migrationPhase(view);
  if (phase !== null) {
    return { kind: "migrating", vm, phase };
  }
  return isPluggableState(view.runState) ? null : { kind: "vm-not-ready", vm, runState: view.runState };
}

function viewObjection(vm: string, view: VmView, needed: number): HeldReason | null {
  const state = stateObjection(vm, view);
  if (state !== null) {
    return state;
  }
  if (freePorts(view).length < needed) {
    return { kind: "no-free-port", vm, needed, ports: describePorts(view.ports) };
  }
  if (view.process === null) {
    return { kind: "process-unknown", vm };
  }
  const shortage = memlockShortage(view);
  return shortage === null ? null : { kind: "memlock", vm, ...shortage };
}

/** The free ports, in the order in which they are used. */
export function freePorts(view: VmView): readonly Port[] {
  return view.ports.filter((port) => port.state.kind === "free");
}

/** How many ports of each state there are, for people. */
export function describePorts(ports: readonly Port[]): string {
  const count = (kind: Port["state"]["kind"]) => ports.filter((port) => port.state.kind === kind).length;
  return ports.length === 0
    ? "it has no ports at all"
    : `${count("free")} free, ${count("plugged")} plugged, ${count("unusable")} unusable`;
}

/** Whether the pair still rests after a failure; `null` when it may be tried. */
export function retryHeld(
  world: World,
  purpose: Purpose,
  vm: string,
  address: PciAddress,
): HeldReason | null {
  const backoff = backoffOf(world, purpose, vm, address);
  if (backoff === undefined) {
    return null;
  }
  return backoff.untilMs === null || world.nowMs < backoff.untilMs ? restReason(world, backoff) : null;
}

/** What a rest waits for, where it can be named; else how long it has lasted. */
function restReason(world: World, { vm, address, reason, waitsOn, ...backoff }: Backoff): HeldReason {
  const status = vmStatus(world, vm);
  const view = status.kind === "up" ? status.view : null;
  const { detail, failures, untilMs } = backoff;
  const iommuGroup = world.devices.get(address)?.iommuGroup ?? null;
  if (waitsOn?.kind === "sibling-drivers" && iommuGroup !== null) {
    return { kind: "group-not-viable", iommuGroup, siblings: waitsOn.drivers };
  }
  const shortage = waitsOn?.kind === "memory-limit" && view !== null ? refusedMemlock(view) : null;
  if (shortage !== null) {
    return { kind: "memlock", vm, ...shortage };
  }
  if (reason === "node-access" && iommuGroup !== null) {
    return { kind: "node-access", vm, uid: view?.process?.uid ?? null, iommuGroup, detail };
  }
  if (reason === "group-busy" && iommuGroup !== null && !isBeingLeft(world, iommuGroup)) {
    return { kind: "group-busy", iommuGroup, detail };
  }
  return untilMs === null ? { kind: "refused", detail } : { kind: "backing-off", untilMs, failures, detail };
}

/** Whether a VM was asked to let go of a member of the IOMMU group: then who has it open is about to leave. */
function isBeingLeft(world: World, iommuGroup: number): boolean {
  return [...world.unplugs.values()].some(
    ({ address }) => world.devices.get(address)?.iommuGroup === iommuGroup,
  );
}
