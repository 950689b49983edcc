/**
 * What is plugged where inside one simulated QEMU: buses by name, devices by id and QOM path.
 *
 * Owns the tree of devices; knows nothing of sockets, guests or the host.
 */
import { SimulationError } from "./card.js";
import { BUS_MODELS } from "./device-models.js";
import type { HostDevice, SimBus, SimDevice } from "./qemu-device.js";
import { deviceNotFound, fault, type SimReply } from "./reply.js";
import { placeOn } from "./slot-rules.js";

export type SimMachineType = "q35" | "pc" | "microvm";

/** Whether hot-plug below bridges goes through ACPI or through the ports themselves. */
export type SimPlugMode = "acpi" | "native";

/** A device to insert. `id: null` makes it anonymous. */
export interface Insertion {
  readonly driver: string;
  readonly id: string | null;
  readonly bus: SimBus;
  readonly devfn: number;
  readonly isMultifunction: boolean;
  readonly isHotplugged: boolean;
  readonly properties: Readonly<Record<string, unknown>>;
  readonly hostDevice: HostDevice | null;
}

/** QOM type, path of the ACPI hot-plug handler, and root bus of each machine (fixtures/qmp, 2-handler-*). */
const MACHINES = {
  q35: {
    type: "pc-q35-7.2-machine",
    acpi: "/machine/unattached/device[2]",
    root: "/machine/q35/pcie.0",
    reserved: [0, 31],
  },
  pc: {
    type: "pc-i440fx-7.2-machine",
    acpi: "/machine/unattached/device[18]",
    root: "/machine/i440fx/pci.0",
    reserved: [0, 1],
  },
  microvm: { type: "microvm-machine", acpi: "", root: "/machine/unattached/device[9]/pcie.0", reserved: [0] },
} as const;

export class Topology {
  readonly machineType: string;
  readonly root: SimBus;
  /** The firmware's file, as the machine's property shows it. */
  readonly firmware: string;
  readonly #acpi: string;
  readonly #devices = new Map<string, SimDevice>();
  #anonymous = 0;
  #autoBuses = 0;

  constructor(machine: SimMachineType, mode: SimPlugMode, firmware?: string) {
    const { type, acpi, root, reserved } = MACHINES[machine];
    this.machineType = type;
    this.firmware = firmware ?? (machine === "microvm" ? "bios-microvm.bin" : "bios-256k.bin");
    this.#acpi = mode === "acpi" ? acpi : "";
    const isHotpluggable = machine === "pc" && mode === "acpi";
    this.root = {
      name: machine === "pc" ? "pci.0" : "pcie.0",
      path: root,
      type: machine === "pc" ? "PCI" : "PCIE",
      handler: isHotpluggable ? acpi : "",
      mode: isHotpluggable ? "acpi" : null,
      isBelowPxb: false,
      firstSlot: 0,
      reservedSlots: new Set(reserved),
      occupants: new Map(),
      reserves: {},
    };
  }

  /** Every device, oldest first. */
  devices(): SimDevice[] {
    return [...this.#devices.values()];
  }

  /** A device by its id or its QOM path. */
  find(idOrPath: string): SimDevice | undefined {
    return this.#devices.get(idOrPath.startsWith("/") ? idOrPath : `/machine/peripheral/${idOrPath}`);
  }

  /** The bus that `bus=` names: the root bus first, then the oldest (facts.md 2.5). */
  findBus(name: string): SimBus | SimReply {
    if (name.includes("/")) {
      return deviceNotFound(name.split("/").find((part) => part !== "") ?? name);
    }
    return this.buses().find((bus) => bus.name === name) ?? fault(`Bus '${name}' not found`);
  }

  buses(): SimBus[] {
    return [this.root, ...this.devices().flatMap((device) => device.ownBus ?? [])];
  }

  insert(wanted: Insertion): SimDevice {
    const path =
      wanted.id === null
        ? `/machine/peripheral-anon/device[${this.#anonymous++}]`
        : `/machine/peripheral/${wanted.id}`;
    const device: SimDevice = { ...wanted, path, ownBus: null, isSeen: false };
    device.ownBus = this.#busOf(device);
    wanted.bus.occupants.set(wanted.devfn, device);
    this.#devices.set(path, device);
    return device;
  }

  /** Inserts a device of the command line. @throws {SimulationError} sim.misuse where QEMU would not start. */
  insertCold(
    spec: Readonly<Record<string, unknown>> & { readonly driver: string; readonly id?: string },
    hostDevice: HostDevice | null,
  ): SimDevice {
    const bus = spec["bus"] === undefined ? this.root : this.findBus(String(spec["bus"]));
    const isMultifunction = spec["multifunction"] === true;
    const devfn =
      "occupants" in bus
        ? placeOn(bus, { driver: spec.driver, isMultifunction, isHotplugged: false }, spec["addr"])
        : bus;
    if (!("occupants" in bus) || typeof devfn !== "number") {
      throw new SimulationError(`cannot start QEMU: -device ${spec.driver}: ${JSON.stringify(devfn)}`);
    }
    return this.insert({
      driver: spec.driver,
      id: spec.id ?? null,
      bus,
      devfn,
      isMultifunction,
      isHotplugged: false,
      properties: spec,
      hostDevice,
    });
  }

  remove(device: SimDevice): void {
    device.bus.occupants.delete(device.devfn);
    this.#devices.delete(device.path);
  }

  #busOf(device: SimDevice): SimBus | null {
    const model = BUS_MODELS.get(device.driver);
    if (model === undefined) {
      return null;
    }
    const isPxb = device.driver === "pxb-pcie";
    const isBelowPxb = isPxb || device.bus.isBelowPxb;
    const canPlug = model.plugs !== "none" && device.properties["hotplug"] !== false;
    const isAcpi = canPlug && model.plugs === "machine" && this.#acpi !== "" && !isBelowPxb;
    const name = device.id ?? `${model.type === "PCIE" ? "pcie" : "pci"}.${this.#autoBuses++}`;
    const isShpc = canPlug && !isAcpi && model.type === "PCI";
    return {
      name,
      path: isPxb ? `/machine/unattached/device[25]/${name}` : `${device.path}/${name}`,
      type: model.type,
      handler: handlerOf(device.path, canPlug, isAcpi ? this.#acpi : ""),
      mode: canPlug ? modeOf(isAcpi) : null,
      isBelowPxb,
      firstSlot: isShpc ? 1 : 0,
      reservedSlots: new Set(),
      occupants: new Map(),
      reserves: device.properties,
    };
  }
}

function handlerOf(portPath: string, canPlug: boolean, acpi: string): string {
  if (!canPlug) {
    return "";
  }
  return acpi === "" ? portPath : acpi;
}

function modeOf(isAcpi: boolean): SimPlugMode {
  return isAcpi ? "acpi" : "native";
}
