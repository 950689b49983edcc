/**
 * The device models that the simulated QEMU knows: ids, properties, and what kind of bus a port makes.
 *
 * Names, order and types of the properties are those of QEMU 7.2 (fixtures/qmp, 2-enumeration, 2-hotplug-handler).
 */

export interface DeviceModel {
  readonly vendor: number;
  readonly device: number;
  /** Base class and subclass. */
  readonly class: number;
  readonly className: string;
  /** Settable properties besides those of every PCI device: name and QOM type. */
  readonly properties: readonly (readonly [string, string])[];
}

/** What a port or bridge makes of its bus. */
export interface BusModel {
  readonly type: "PCIE" | "PCI";
  /** `none`: nothing can be plugged; `self`: the port's own handler whatever the machine; `machine`: ACPI has it in ACPI mode. */
  readonly plugs: "none" | "self" | "machine";
}

/** Properties of every device, before its own. */
export const COMMON_PROPERTIES: readonly (readonly [string, string])[] = [
  ["parent_bus", "link<bus>"],
  ["realized", "bool"],
  ["hotplugged", "bool"],
  ["hotpluggable", "bool"],
  ["failover_pair_id", "str"],
  ["romfile", "str"],
  ["addr", "int32"],
  ["romsize", "uint32"],
  ["x-pcie-lnksta-dllla", "bool"],
  ["rombar", "uint32"],
  ["x-pcie-extcap-init", "bool"],
  ["acpi-index", "uint32"],
  ["multifunction", "bool"],
  ["legacy-addr", "str"],
];

const RESERVES = [
  ["mem-reserve", "size"],
  ["pref64-reserve", "size"],
  ["bus-reserve", "uint32"],
  ["io-reserve", "size"],
  ["pref32-reserve", "size"],
] as const;

const SLOT = [
  ["port", "uint8"],
  ["aer_log_max", "uint16"],
  ["hotplug", "bool"],
  ["x-native-hotplug", "bool"],
  ["slot", "uint16"],
  ["chassis", "uint8"],
  ["power_controller_present", "bool"],
] as const;

/** Not for their meaning, but because a careless match of "PCIE" meets their types (facts.md 2.1). */
const LINK = [
  ["x-width", "PCIELinkWidth"],
  ["x-speed", "PCIELinkSpeed"],
] as const;

const NIC = [
  ["netdev", "str"],
  ["mac", "str"],
  ["bootindex", "int32"],
] as const;

const E1000E = [
  ["subsys", "uint16"],
  ["subsys_ven", "uint16"],
  ["init-vet", "bool"],
  ["disable_vnet_hdr", "uint8"],
  ...NIC,
] as const;

const VFIO = [
  ["display", "OnOffAuto"],
  ["host", "str"],
  ["sysfsdev", "str"],
  ["x-req", "bool"],
  ["x-vga", "bool"],
  ["x-igd-opregion", "bool"],
  ["x-no-mmap", "bool"],
  ["bootindex", "int32"],
] as const;

function bridge(
  vendor: number,
  device: number,
  properties: readonly (readonly [string, string])[],
): DeviceModel {
  return { vendor, device, class: 0x0604, className: "PCI bridge", properties };
}

const RED_HAT = 0x1b36;
const INTEL = 0x8086;

export const DEVICE_MODELS: ReadonlyMap<string, DeviceModel> = new Map([
  ["pcie-root-port", bridge(RED_HAT, 0x000c, [...SLOT, ["disable-acs", "bool"], ...RESERVES, ...LINK])],
  ["ioh3420", bridge(INTEL, 0x3420, [...SLOT, ["disable-acs", "bool"], ...RESERVES])],
  ["xio3130-downstream", bridge(0x104c, 0x8233, SLOT)],
  ["x3130-upstream", bridge(0x104c, 0x8232, SLOT.slice(0, 2))],
  ["pcie-pci-bridge", bridge(RED_HAT, 0x000e, [["msi", "OnOffAuto"]])],
  [
    "pci-bridge",
    bridge(RED_HAT, 0x0001, [["chassis_nr", "uint8"], ["shpc", "bool"], ["msi", "OnOffAuto"], ...RESERVES]),
  ],
  ["i82801b11-bridge", bridge(INTEL, 0x244e, [])],
  [
    "pxb-pcie",
    bridge(RED_HAT, 0x000b, [
      ["bus_nr", "uint8"],
      ["numa_node", "uint16"],
      ["bypass_iommu", "bool"],
    ]),
  ],
  [
    "e1000",
    { vendor: INTEL, device: 0x100e, class: 0x0200, className: "Ethernet controller", properties: NIC },
  ],
  [
    "e1000e",
    { vendor: INTEL, device: 0x10d3, class: 0x0200, className: "Ethernet controller", properties: E1000E },
  ],
  [
    "nvme",
    {
      vendor: RED_HAT,
      device: 0x0010,
      class: 0x0108,
      className: "NVMe controller",
      properties: [["serial", "str"]],
    },
  ],
  ["virtio-rng-pci", { vendor: 0x1af4, device: 0x1005, class: 0x00ff, className: "", properties: [] }],
  ["vfio-pci", { vendor: 0, device: 0, class: 0, className: "", properties: VFIO }],
  ["vfio-pci-nohotplug", { vendor: 0, device: 0, class: 0, className: "", properties: VFIO }],
]);

export const BUS_MODELS: ReadonlyMap<string, BusModel> = new Map<string, BusModel>([
  ["pcie-root-port", { type: "PCIE", plugs: "machine" }],
  ["ioh3420", { type: "PCIE", plugs: "machine" }],
  ["xio3130-downstream", { type: "PCIE", plugs: "machine" }],
  ["x3130-upstream", { type: "PCIE", plugs: "machine" }],
  ["pcie-pci-bridge", { type: "PCI", plugs: "machine" }],
  ["pci-bridge", { type: "PCI", plugs: "self" }],
  ["i82801b11-bridge", { type: "PCI", plugs: "none" }],
  ["pxb-pcie", { type: "PCIE", plugs: "none" }],
]);

/** What `qom-list-types implements=pcie-slot` gives in 7.2. */
export const PCIE_SLOT_TYPES: readonly { readonly name: string; readonly parent: string }[] = [
  { name: "cxl-rp", parent: "pcie-root-port-base" },
  { name: "xio3130-downstream", parent: "pcie-slot" },
  { name: "ioh3420", parent: "pcie-root-port-base" },
  { name: "cxl-downstream", parent: "pcie-slot" },
  { name: "pcie-root-port", parent: "pcie-root-port-base" },
];

/** QEMU's "not set" for a reserve: more than a JavaScript number can hold. */
export const UNSET_RESERVE = 18_446_744_073_709_551_615n;
