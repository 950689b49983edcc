/**
 * The QOM tree of a simulated QEMU, made on demand from its topology: what qom-list and qom-get see.
 *
 * Shapes are those of QEMU 7.2 (fixtures/qmp/7.2: 2-enumeration, 2-hotplug-handler). Left out on purpose: memory
 * regions and interrupt lines, which nobody reads.
 */
import { COMMON_PROPERTIES, DEVICE_MODELS, UNSET_RESERVE } from "./device-models.js";
import { legacyAddress, type SimBus, type SimDevice } from "./qemu-device.js";
import { fault, type SimReply, value } from "./reply.js";
import type { Topology } from "./topology.js";

interface Property {
  readonly name: string;
  readonly type: string;
  readonly value: unknown;
}

interface QomObject {
  readonly type: string;
  readonly properties: readonly Property[];
}

/** qom-list. */
export function qomList(topology: Topology, path: string): SimReply {
  const object = objectAt(topology, path);
  if (object === undefined) {
    return notFound(path);
  }
  return value([
    { name: "type", type: "string" },
    ...object.properties.map(({ name, type }) => ({ name, type })),
  ]);
}

/** qom-get. */
export function qomGet(topology: Topology, path: string, name: string): SimReply {
  const object = objectAt(topology, path);
  if (object === undefined) {
    return notFound(path);
  }
  if (name === "type") {
    return value(object.type);
  }
  const property = object.properties.find((candidate) => candidate.name === name);
  return property === undefined
    ? fault(`Property '${object.type}.${name}' not found`)
    : value(property.value);
}

function notFound(path: string): SimReply {
  return { error: { class: "DeviceNotFound", desc: `Device '${path}' not found` } };
}

function objectAt(topology: Topology, path: string): QomObject | undefined {
  switch (path) {
    case "/machine":
      return { type: topology.machineType, properties: machineProperties(topology) };
    case "/machine/peripheral":
    case "/machine/peripheral-anon":
    case "/machine/unattached":
      return { type: "container", properties: childrenOf(topology, path) };
    default: {
      const bus = topology.buses().find((candidate) => candidate.path === path);
      if (bus !== undefined) {
        return { type: bus.type, properties: busProperties(topology, bus) };
      }
      const device = topology.find(path);
      return device === undefined ? undefined : { type: device.driver, properties: deviceProperties(device) };
    }
  }
}

function machineProperties(topology: Topology): Property[] {
  const chipset = topology.root.path.split("/")[2] ?? "unattached";
  const children = ["peripheral", "peripheral-anon", "unattached", chipset].map((name) => ({
    name,
    type: name === chipset ? `child<${name}-host>` : "child<container>",
    value: `/machine/${name}`,
  }));
  return [...children, { name: "firmware", type: "string", value: topology.firmware }];
}

function childrenOf(topology: Topology, folder: string): Property[] {
  return topology
    .devices()
    .filter((device) => device.path.startsWith(`${folder}/`))
    .map((device) => ({
      name: device.path.slice(folder.length + 1),
      type: `child<${device.driver}>`,
      value: device.path,
    }));
}

function busProperties(topology: Topology, bus: SimBus): Property[] {
  const isAcpi = bus.mode === "acpi";
  const occupants = [...bus.occupants.values()];
  return [
    { name: "realized", type: "bool", value: true },
    ...(isAcpi ? [{ name: "acpi-pcihp-bsel", type: "uint32", value: topology.buses().indexOf(bus) }] : []),
    ...occupants.map((device, index) => ({
      name: `child[${index}]`,
      type: `link<${device.driver}>`,
      value: device.path,
    })),
    { name: "hotplug-handler", type: "link<hotplug-handler>", value: bus.handler },
  ];
}

function deviceProperties(device: SimDevice): Property[] {
  const own = DEVICE_MODELS.get(device.driver)?.properties ?? [];
  const listed = [...COMMON_PROPERTIES, ...own].map(([name, type]) => ({
    name,
    type,
    value: propertyValue(device, name, type),
  }));
  const bus = device.ownBus;
  // The bus of a pxb hangs below a host bridge of its own, not below the pxb.
  const hasBus = bus?.path.startsWith(`${device.path}/`) === true;
  return hasBus ? [...listed, { name: bus.name, type: `child<${bus.type}>`, value: bus.path }] : listed;
}

/** What QEMU itself knows about a device, whatever the user gave. */
function ownFacts(device: SimDevice): Readonly<Record<string, unknown>> {
  const { hostDevice } = device;
  return {
    parent_bus: device.bus.path,
    realized: true,
    hotplugged: device.isHotplugged,
    hotpluggable: device.ownBus === null && device.driver !== "vfio-pci-nohotplug",
    addr: device.devfn,
    multifunction: device.isMultifunction,
    "legacy-addr": legacyAddress(device.devfn),
    // Attached by sysfsdev, the property `host` reads as the address that was never set (facts.md 2.4).
    host: hostDevice?.givenAs === "host" ? hostDevice.address : "ffff:ff:ff.f",
    sysfsdev: hostDevice === null ? "" : `/sys/bus/pci/devices/${hostDevice.address}`,
  };
}

const DEFAULTS: Readonly<Record<string, unknown>> = {
  hotplug: true,
  "x-native-hotplug": true,
  power_controller_present: true,
  "x-pcie-lnksta-dllla": true,
  "x-pcie-extcap-init": true,
  "x-width": "32",
  "x-speed": "16",
};

function propertyValue(device: SimDevice, name: string, type: string): unknown {
  return ownFacts(device)[name] ?? device.properties[name] ?? DEFAULTS[name] ?? unset(type);
}

function unset(type: string): unknown {
  switch (type) {
    case "bool":
      return false;
    case "str":
      return "";
    case "OnOffAuto":
      return "auto";
    case "size":
      return UNSET_RESERVE;
    default:
      return 0;
  }
}
