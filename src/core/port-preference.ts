/**
 * The port that a card had before in a VM: guests name interfaces and disks by where they stand, so it goes there
 * again where it can, also after a reboot of the host.
 */
import type { PciAddress } from "./address.js";
import { type Device, identityOf, isSameIdentity } from "./device.js";
import type { Intents, PortPreference } from "./intent.js";
import type { Step } from "./step.js";
import { portKey, portKeyOf } from "./vm.js";
import { vmStatus, type World } from "./world.js";

/** The port where a device was in this VM, as `portKey` writes it; `null` where none is remembered. */
export function preferredPort(world: World, vm: string, address: PciAddress): string | null {
  const device = world.devices.get(address);
  const known =
    device === undefined
      ? undefined
      : world.intents.ports.find((entry) => entry.vm === vm && isOf(entry, device, serialOf(world, device)));
  return known === undefined ? null : portKey(known);
}

/** The ports where other devices were in this VM. */
export function portsPreferredByOthers(
  world: World,
  vm: string,
  addresses: readonly PciAddress[],
): ReadonlySet<string> {
  const own = new Set(addresses.map((address) => preferredPort(world, vm, address)));
  const all = world.intents.ports.filter((entry) => entry.vm === vm).map(portKey);
  return new Set(all.filter((port) => !own.has(port)));
}

/** The intents after a step has succeeded: where its devices are now is where they go the next time. */
export function learnPorts(world: World, step: Step): Intents {
  const { intents } = world;
  const learnt = placesOf(world, step).flatMap(({ address, bus, addr }): PortPreference[] => {
    const device = world.devices.get(address);
    const isKnown = preferredPort(world, step.vm, address) === portKey({ bus, addr });
    if (device === undefined || isKnown) {
      return [];
    }
    return [
      { vm: step.vm, address, serial: serialOf(world, device), identity: identityOf(device), bus, addr },
    ];
  });
  if (learnt.length === 0) {
    return intents;
  }
  const kept = intents.ports.filter((entry) => !learnt.some((fresh) => isReplacedBy(entry, fresh)));
  return { ...intents, ports: [...kept, ...learnt] };
}

interface LearntPlace {
  readonly address: PciAddress;
  readonly bus: string;
  readonly addr: string;
}

function placesOf(world: World, step: Step): readonly LearntPlace[] {
  if (step.kind === "attach") {
    return step.placements.map(({ address, bus, addr }) => ({
      address,
      bus,
      addr: addr.split(".")[0] ?? addr,
    }));
  }
  const status = vmStatus(world, step.vm);
  if (step.kind !== "adopt" || status.kind !== "up") {
    return [];
  }
  const entry = status.view.attached.find(({ address }) => address === step.address);
  const [bus, addr] = (entry === undefined ? null : portKeyOf(entry))?.split(" ") ?? [];
  return bus === undefined || addr === undefined ? [] : [{ address: step.address, bus, addr }];
}

/** By its serial number where both are known, else by its place on the host. */
function isOf(entry: PortPreference, device: Device, serial: string | null): boolean {
  return (
    isSameIdentity(entry.identity, identityOf(device)) &&
    (entry.serial !== null && serial !== null ? entry.serial === serial : entry.address === device.address)
  );
}

/** One place for each card, and one card for each place of the host whose serial number does not tell it apart. */
function isReplacedBy(entry: PortPreference, fresh: PortPreference): boolean {
  const isSameCard =
    entry.serial !== null && fresh.serial !== null
      ? entry.serial === fresh.serial
      : entry.address === fresh.address;
  return entry.vm === fresh.vm && isSameCard;
}

function serialOf(world: World, device: Device): string | null {
  return world.leases.get(device.address)?.serial ?? device.serial ?? null;
}
