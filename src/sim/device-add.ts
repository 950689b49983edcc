/**
 * device_add in a simulated QEMU: the checks in QEMU's order, with QEMU's texts (softmmu/qdev-monitor.c,
 * hw/vfio/pci.c; facts.md 1.1), then the insertion. For vfio-pci the simulated host decides.
 */
import { type PciAddress, parseAddress } from "../core/address.js";
import { COMMON_PROPERTIES, DEVICE_MODELS } from "./device-models.js";
import type { HostDevice, SimBus, SimDevice } from "./qemu-device.js";
import { fault, type SimArguments, type SimReply } from "./reply.js";
import { placeOn } from "./slot-rules.js";
import type { Topology } from "./topology.js";
import type { SimVfio, VfioRefusal, VfioUser } from "./vfio.js";

/** What device_add works on. */
export interface DeviceAddContext {
  readonly topology: Topology;
  readonly vfio: SimVfio;
  readonly user: VfioUser;
  readonly memoryBytes: number;
  /** RLIMIT_MEMLOCK as of now; `null` when unlimited or void. */
  readonly memlockBytes: () => number | null;
}

const IDENTIFIER = /^[A-Za-z][A-Za-z0-9\-._]*$/;
/** Keys of the command itself. */
const COMMAND_KEYS = ["driver", "bus", "id"];

/** Adds a device: the device, or QEMU's refusal. */
export function addDevice(context: DeviceAddContext, args: SimArguments): SimDevice | SimReply {
  const driver = args["driver"];
  const model = typeof driver === "string" ? DEVICE_MODELS.get(driver) : undefined;
  const id = args["id"] === undefined ? null : String(args["id"]);
  if (typeof driver !== "string") {
    return fault("Parameter 'driver' is missing");
  }
  if (id !== null && !IDENTIFIER.test(id)) {
    return fault("Parameter 'id' expects an identifier");
  }
  if (model === undefined || driver === "vfio-pci-nohotplug") {
    return fault(`'${driver}' is not a valid device model name`);
  }
  const bus = busFor(context.topology, args);
  if (!("occupants" in bus)) {
    return bus;
  }
  const refusal = idRefusal(context.topology, id) ?? propertyRefusal(driver, args);
  if (refusal !== undefined) {
    return refusal;
  }
  const isMultifunction = isOn(args["multifunction"]);
  const devfn = placeOn(bus, { driver, isMultifunction, isHotplugged: true }, args["addr"]);
  if (typeof devfn !== "number") {
    return devfn;
  }
  const hostDevice = driver === "vfio-pci" ? openHostDevice(context, args) : null;
  if (hostDevice !== null && !("address" in hostDevice)) {
    return hostDevice;
  }
  return context.topology.insert({
    driver,
    id,
    bus,
    devfn,
    isMultifunction,
    isHotplugged: true,
    properties: args,
    hostDevice,
  });
}

function busFor(topology: Topology, args: SimArguments): SimBus | SimReply {
  const bus = args["bus"] === undefined ? topology.root : topology.findBus(String(args["bus"]));
  if ("occupants" in bus && bus.mode === null) {
    return fault(`Bus '${bus.name}' does not support hotplugging`);
  }
  return bus;
}

function idRefusal(topology: Topology, id: string | null): SimReply | undefined {
  return id !== null && topology.find(id) !== undefined ? fault(`Duplicate device ID '${id}'`) : undefined;
}

function propertyRefusal(driver: string, args: SimArguments): SimReply | undefined {
  const own = DEVICE_MODELS.get(driver)?.properties ?? [];
  const known = new Set([...COMMAND_KEYS, ...[...COMMON_PROPERTIES, ...own].map(([name]) => name)]);
  const unknown = Object.keys(args).find((name) => !known.has(name));
  if (unknown !== undefined) {
    return fault(`Property '${driver}.${unknown}' not found`);
  }
  const host = args["host"];
  return typeof host === "string" && hostAddress(host) === undefined
    ? fault(`Property '${driver}.host' doesn't take value '${host}'`)
    : undefined;
}

/** Opens the host's device for a vfio-pci, or says why not in QEMU's words. */
export function openHostDevice(context: DeviceAddContext, args: SimArguments): HostDevice | SimReply {
  const wanted = wantedDevice(args);
  if (wanted === undefined) {
    return fault("No provided host device");
  }
  const { address } = wanted;
  const isSecond = context.topology.devices().some((device) => device.hostDevice?.address === address);
  if (isSecond) {
    return fault(`vfio ${address}: device is already attached`);
  }
  const isFirst = context.vfio.heldBy(context.user).length === 0;
  const opening = context.vfio.open(address, context.user);
  if (opening.kind === "refused") {
    return fault(refusalText(address, opening.why, opening.group));
  }
  const memlockBytes = context.memlockBytes();
  if (isFirst && memlockBytes !== null && memlockBytes <= context.memoryBytes) {
    context.vfio.close(address);
    return fault(
      `vfio ${address}: failed to setup container for group ${opening.group}: memory listener initialization ` +
        "failed: Region pc.ram: vfio_dma_map(0x55e033c45a00, 0x100000, 0x7f00000, 0x7f4307f00000) = -12 " +
        "(Cannot allocate memory)",
    );
  }
  return wanted;
}

function wantedDevice(args: SimArguments): HostDevice | undefined {
  const sysfsdev = args["sysfsdev"];
  if (typeof sysfsdev === "string") {
    const address = parseAddress(sysfsdev.slice(sysfsdev.lastIndexOf("/") + 1));
    return address === undefined ? undefined : { address, givenAs: "sysfsdev" };
  }
  const host = args["host"];
  const address = typeof host === "string" ? hostAddress(host) : undefined;
  return address === undefined ? undefined : { address, givenAs: "host" };
}

/** QEMU reads `[domain:]bus:slot.function`. */
function hostAddress(text: string): PciAddress | undefined {
  return parseAddress(text) ?? parseAddress(`0000:${text}`);
}

function refusalText(address: PciAddress, why: VfioRefusal, group: number | null): string {
  const node = `failed to open /dev/vfio/${group}`;
  switch (why) {
    case "no-such-device":
      return `vfio /sys/bus/pci/devices/${address}: no such host device: No such file or directory`;
    case "no-iommu-group":
      return `vfio ${address}: no iommu_group found: No such file or directory`;
    case "no-node":
      return `vfio ${address}: ${node}: No such file or directory`;
    case "no-access":
      return `vfio ${address}: ${node}: Permission denied`;
    case "group-busy":
      return `vfio ${address}: ${node}: Device or resource busy`;
    case "not-viable":
      return `vfio ${address}: group ${group} is not viable`;
    case "not-on-vfio":
      return `vfio ${address}: error getting device from group ${group}: No such device`;
  }
}

function isOn(value: unknown): boolean {
  return value === true || value === "on" || value === "true" || value === "yes";
}
