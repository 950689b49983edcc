/**
 * One whole look at a VM: run state, memory, ports, and which of the host's devices it has.
 *
 * Only reads. Everything but the BARs comes from the object tree: right before the firmware has run, while paused, and after an agent's restart
 * (facts.md 2). A pending unplug cannot be seen here: QEMU does not show it (facts.md 2.3).
 */
import { type PciAddress, parseAddress } from "../core/address.js";
import type { Attached, VmProcess, VmView } from "../core/vm.js";
import type { JsonInteger } from "../qmp/json.js";
import type { MemoryInfo } from "../qmp/results.js";
import { guestUse } from "./bars.js";
import { readMigration } from "./migration.js";
import { readInhabitants, readPortsOf } from "./ports.js";
import {
  idOfPath,
  lastPart,
  parentPath,
  type QmpReader,
  type QomChild,
  readProperty,
  readText,
} from "./qom.js";
import { compareNaturally, modeOf } from "./topology.js";

const MACHINE = "/machine";
/** SeaBIOS as QEMU 7.2 brings it along, for q35 and pc. */
const OWN_FIRMWARE: ReadonlySet<string> = new Set(["bios-256k.bin", "bios.bin"]);
const HOTPLUG_VFIO = "vfio-pci";
const VFIO_TYPES: ReadonlySet<string> = new Set([HOTPLUG_VFIO, "vfio-pci-nohotplug"]);

/**
 * Looks at a VM. `process` is what is known of the QEMU process; it is only passed on.
 *
 * @throws {QmpTimeoutError} @throws {QmpInterruptedError} @throws {QmpCommandError} the monitor does not know the
 * commands this program stands on.
 */
export async function readView(client: QmpReader, process: VmProcess | null): Promise<VmView> {
  const [status, migration, machine, hasOwnFirmware, memory, [ports, attached]] = await Promise.all([
    client.execute("query-status"),
    readMigration(client),
    client.execute("qom-get", { path: MACHINE, property: "type" }),
    readHasOwnFirmware(client),
    client.execute("query-memory-size-summary"),
    readInhabitants(client).then((there) =>
      Promise.all([readPortsOf(client, there), readAttachedWithBars(client, there.devices)]),
    ),
  ]);
  return {
    runState: status.status,
    ...(migration === null ? {} : { migration }),
    machine: typeof machine === "string" ? machine : "",
    hasOwnFirmware,
    memoryBytes: memoryBytes(memory),
    ports,
    attached,
    process,
  };
}

/** A flash chip with UEFI in it shows as a property of the machine, and so does a file given with -bios. */
async function readHasOwnFirmware(client: QmpReader): Promise<boolean> {
  const [flash, file] = await Promise.all([
    readText(client, MACHINE, "pflash0"),
    readText(client, MACHINE, "firmware"),
  ]);
  return flash === undefined && OWN_FIRMWARE.has(file ?? "");
}

async function readAttachedWithBars(
  client: QmpReader,
  devices: readonly QomChild[],
): Promise<readonly Attached[]> {
  const attached = await readAttached(client, devices);
  if (attached.length === 0) {
    return attached;
  }
  const uses = guestUse(await client.execute("query-pci"));
  return attached.map((entry) => {
    if (entry.id === null) {
      return entry;
    }
    // What the firmware has not found yet is not listed there.
    const { isInUse, unassigned } = uses.get(entry.id) ?? { isInUse: false };
    return {
      ...entry,
      ...(isInUse === undefined ? {} : { isInUse }),
      ...(unassigned === undefined ? {} : { unassignedBars: unassigned }),
    };
  });
}

/** The host's devices in the VM, whoever put them there. */
export async function readAttached(
  client: QmpReader,
  devices: readonly QomChild[],
): Promise<readonly Attached[]> {
  const found = await Promise.all(
    devices.filter((device) => VFIO_TYPES.has(device.type)).map((device) => readOne(client, device)),
  );
  return found.filter((attached) => attached !== undefined).sort((a, b) => compareNaturally(a.path, b.path));
}

/**
 * The host's address of a device, by `sysfsdev`: right whichever way it was attached. `host` reads ffff:ff:ff.f for
 * one attached by sysfsdev, and serves only where `sysfsdev` is empty (facts.md 2.4).
 */
export async function readHostAddress(client: QmpReader, path: string): Promise<PciAddress | null> {
  const [sysfsdev, host] = await Promise.all([
    readText(client, path, "sysfsdev"),
    readText(client, path, "host"),
  ]);
  return parseAddress(lastPart((sysfsdev ?? "").replace(/\/+$/, ""))) ?? parseAddress(host ?? "") ?? null;
}

async function readOne(client: QmpReader, device: QomChild): Promise<Attached | undefined> {
  const [address, bus, devfn] = await Promise.all([
    readHostAddress(client, device.path),
    readText(client, device.path, "parent_bus"),
    readProperty(client, device.path, "addr"),
  ]);
  if (bus === undefined) {
    // Unplugged since it was listed.
    return undefined;
  }
  const handler = bus === "" ? "" : ((await readText(client, bus, "hotplug-handler")) ?? "");
  return {
    path: device.path,
    id: idOfPath(device.path),
    address,
    bus: bus === "" ? null : lastPart(bus),
    devfn: typeof devfn === "number" && devfn >= 0 ? devfn : null,
    mode: modeOf(handler, parentPath(bus)),
    canUnplug: device.type === HOTPLUG_VFIO && handler !== "",
  };
}

function memoryBytes(memory: MemoryInfo): number {
  const bytes = (value: JsonInteger | undefined): number => Number(value ?? 0);
  return bytes(memory["base-memory"]) + bytes(memory["plugged-memory"]);
}
