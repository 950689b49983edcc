/**
 * Reads the hot-pluggable places of a VM from QEMU's object tree (the recipe of facts.md 2.1).
 *
 * Right at any moment of a VM's life: query-pci is never asked, because before the guest's firmware has numbered the
 * buses it shows occupied ports as free (facts.md 2.2). Questions that do not depend on each other are sent at once.
 */
import type { Port, PortReserve } from "../core/vm.js";
import {
  PERIPHERAL,
  PERIPHERAL_ANON,
  type QmpReader,
  type QomChild,
  readChildren,
  readProperties,
  readProperty,
  readText,
} from "./qom.js";
import { type BusOccupant, type PluggableBus, portsOf } from "./topology.js";

/**
 * The PCI Express ports of QEMU, as it lists them itself for `qom-list-types implements=pcie-slot`. Never asked of a
 * running VM: the question makes QEMU load all its modules, and if those on disk are of another build (a package that
 * was upgraded under it) QEMU aborts (facts.md 14).
 */
export const PORT_TYPES: ReadonlySet<string> = new Set([
  "pcie-root-port",
  "ioh3420",
  "xio3130-downstream",
  "cxl-rp",
  "cxl-downstream",
]);
/** The one kind of port that can be started with more address space than the firmware gives by itself. */
const ROOT_PORT_TYPE = "pcie-root-port";
/** Bridges with a conventional bus that can hot-plug: by SHPC or by ACPI. */
const BRIDGE_TYPES: ReadonlySet<string> = new Set(["pci-bridge", "pci-bridge-seat", "pcie-pci-bridge"]);
/** Host bridge of `pc`, the one machine whose root bus can hot-plug. */
const I440FX_TYPE = "i440FX-pcihost";
const BUS_TYPES: ReadonlySet<string> = new Set(["PCIE", "PCI"]);

/** What is there, before any bus was looked at. */
export interface Inhabitants {
  /** Every device of the command line and of device_add. */
  readonly devices: readonly QomChild[];
  /** The host bridge whose root bus may hot-plug. */
  readonly hostBridge: QomChild | undefined;
}

/** Lists the devices of a VM. @throws what the session throws. */
export async function readInhabitants(client: QmpReader): Promise<Inhabitants> {
  const [named, anonymous, machine] = await Promise.all([
    readChildren(client, PERIPHERAL),
    readChildren(client, PERIPHERAL_ANON),
    readChildren(client, "/machine"),
  ]);
  return {
    devices: [...(named ?? []), ...(anonymous ?? [])],
    hostBridge: machine?.find((child) => child.type === I440FX_TYPE),
  };
}

/** The ports of a VM, in the order in which they are to be used. @throws what the session throws. */
export async function readPorts(client: QmpReader): Promise<readonly Port[]> {
  return readPortsOf(client, await readInhabitants(client));
}

/** As {@link readPorts}, with the devices already listed. */
export async function readPortsOf(client: QmpReader, there: Inhabitants): Promise<readonly Port[]> {
  const places = there.devices.flatMap((device): Promise<PluggableBus | undefined>[] => {
    if (PORT_TYPES.has(device.type)) {
      return [readBus(client, device, "pcie-port")];
    }
    return BRIDGE_TYPES.has(device.type) ? [readBus(client, device, "bridge")] : [];
  });
  if (there.hostBridge !== undefined) {
    places.push(readBus(client, there.hostBridge, "root-bus"));
  }
  return portsOf((await Promise.all(places)).filter((place) => place !== undefined));
}

async function readBus(
  client: QmpReader,
  owner: QomChild,
  kind: PluggableBus["kind"],
): Promise<PluggableBus | undefined> {
  const [children, hotplug, reserve] = await Promise.all([
    readChildren(client, owner.path),
    kind === "pcie-port" ? readProperty(client, owner.path, "hotplug") : undefined,
    owner.type === ROOT_PORT_TYPE ? readReserve(client, owner.path) : undefined,
  ]);
  if (children === undefined) {
    // Unplugged since it was listed.
    return undefined;
  }
  // Only these two types: properties such as `x-speed` have types that merely begin alike (facts.md 2.1 step 3).
  const path = children.find((child) => BUS_TYPES.has(child.type))?.path ?? null;
  const [handler, occupants] =
    path === null
      ? ["", []]
      : await Promise.all([
          readText(client, path, "hotplug-handler"),
          readOccupants(client, path, kind !== "pcie-port"),
        ]);
  return {
    kind,
    owner: owner.path,
    type: owner.type,
    path,
    handler: handler ?? "",
    isSwitchedOff: hotplug === false,
    reserve,
    occupants,
  };
}

async function readReserve(client: QmpReader, port: string): Promise<PortReserve> {
  const [memory, prefetchable] = await Promise.all([
    readProperty(client, port, "mem-reserve"),
    readProperty(client, port, "pref64-reserve"),
  ]);
  return { memory: bytesOf(memory), prefetchable: bytesOf(prefetchable) };
}

/** An unset reserve reads 2^64-1, which is more than a number holds exactly (facts.md 13). */
function bytesOf(value: unknown): number | null {
  const bytes = typeof value === "bigint" ? Number(value) : value;
  return typeof bytes === "number" && Number.isSafeInteger(bytes) ? bytes : null;
}

async function readOccupants(client: QmpReader, bus: string, hasSlots: boolean): Promise<BusOccupant[]> {
  const properties = (await readProperties(client, bus)) ?? [];
  const links = properties.filter(
    ({ name, type }) => /^child\[\d+\]$/.test(name) && type.startsWith("link<"),
  );
  const occupants = await Promise.all(
    links.map(async ({ name }): Promise<BusOccupant | undefined> => {
      const path = await readText(client, bus, name);
      if (path === undefined || path === "") {
        return undefined;
      }
      return { path, slot: hasSlots ? await readSlot(client, path) : null };
    }),
  );
  return occupants.filter((occupant) => occupant !== undefined);
}

/** Slot of a device: the property `addr` is slot times eight plus function, as a number. */
async function readSlot(client: QmpReader, device: string): Promise<number | null> {
  const addr = await readProperty(client, device, "addr");
  return typeof addr === "number" && addr >= 0 ? addr >> 3 : null;
}
