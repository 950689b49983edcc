/**
 * query-pci of a simulated QEMU: the guest's view of the buses, with its two traps (facts.md 2.2): before the guest
 * has numbered the buses an occupied port looks empty, and BARs read -1 until a guest driver enables the device.
 */
import { DEVICE_MODELS } from "./device-models.js";
import { functionOfDevfn, type SimBus, type SimDevice, slotOfDevfn } from "./qemu-device.js";
import type { Topology } from "./topology.js";

/** What a host's device shows of itself; sizes in bytes. */
export interface HostFacts {
  readonly vendor: number;
  readonly device: number;
  readonly class: number;
  readonly memory?: number | undefined;
  readonly prefetchable?: number | undefined;
}
export type HostIds = (device: SimDevice) => HostFacts;

/** Where a simulated guest puts the first BAR. */
const BAR_BASE = 0xfe00_0000;
const BAR_SIZE = 0x2_0000;
/** What SeaBIOS gives to a port by itself. */
const DEFAULT_WINDOW = 0x20_0000;
const BRIDGE_BAR_SIZE = 0x1000;
const HOST_BRIDGE = {
  irq_pin: 0,
  bus: 0,
  qdev_id: "",
  slot: 0,
  class_info: { class: 1536, desc: "Host bridge" },
  id: { device: 10688, "subsystem-vendor": 6900, vendor: 32902, subsystem: 4352 },
  function: 0,
  regions: [],
};
const CLOSED_RANGE = { limit: 1_048_575, base: 4_293_918_720 };

/** The reply. `isNumbered`: whether the guest has given the buses their numbers. */
export function queryPci(topology: Topology, isNumbered: boolean, hostIds: HostIds): unknown[] {
  const numbers = new Map(topology.buses().map((bus, index) => [bus, index]));
  const describe = (device: SimDevice): unknown => {
    const model = DEVICE_MODELS.get(device.driver);
    const ids = (device.hostDevice === null ? model : hostIds(device)) ?? { vendor: 0, device: 0, class: 0 };
    const number = numbers.get(device.bus) ?? 0;
    return {
      irq_pin: 1,
      bus: number,
      ...(device.ownBus === null ? {} : { pci_bridge: bridge(device.ownBus) }),
      qdev_id: device.id ?? "",
      irq: 0,
      slot: slotOfDevfn(device.devfn),
      class_info: { class: ids.class, desc: model?.className ?? "" },
      id: { device: ids.device, vendor: ids.vendor },
      function: functionOfDevfn(device.devfn),
      regions: regionsOf(
        device,
        number,
        isNumbered,
        device.hostDevice === null ? undefined : hostIds(device),
      ),
    };
  };
  const bridge = (bus: SimBus): unknown => {
    const number = isNumbered ? (numbers.get(bus) ?? 0) : 0;
    return {
      bus: {
        prefetchable_range: CLOSED_RANGE,
        memory_range: CLOSED_RANGE,
        secondary: number,
        io_range: { limit: 4095, base: 61440 },
        number: 0,
        subordinate: number,
      },
      ...(isNumbered ? { devices: [...bus.occupants.values()].map(describe) } : {}),
    };
  };
  return [{ bus: 0, devices: [HOST_BRIDGE, ...[...topology.root.occupants.values()].map(describe)] }];
}

/** A bridge's registers get their place with the bus numbers, a card's when a driver of the guest enables it. */
function regionsOf(
  device: SimDevice,
  bus: number,
  isNumbered: boolean,
  facts: HostFacts | undefined,
): unknown[] {
  const isEnabled = device.ownBus === null ? device.isSeen : isNumbered;
  const start = BAR_BASE + bus * BAR_SIZE;
  const region = (bar: number, size: number, prefetch: boolean, hasRoom: boolean): unknown => ({
    prefetch,
    mem_type_64: prefetch,
    bar,
    size,
    address: isEnabled && hasRoom ? start + bar * BAR_SIZE : -1,
    type: "memory",
  });
  const { memory = BAR_SIZE, prefetchable = 0 } = facts ?? {};
  const size = device.ownBus === null ? Math.max(BRIDGE_BAR_SIZE, memory - prefetchable) : BRIDGE_BAR_SIZE;
  const first = region(0, size, false, hasRoomFor(device.bus, size, "mem-reserve"));
  return prefetchable === 0
    ? [first]
    : [first, region(2, prefetchable, true, hasRoomFor(device.bus, prefetchable, "pref64-reserve"))];
}

/** By ACPI hot-plug a Linux guest keeps to what the firmware gave to the port (facts.md 19). */
function hasRoomFor({ mode, reserves }: SimBus, size: number, window: keyof SimBus["reserves"]): boolean {
  return mode !== "acpi" || size <= Math.max(DEFAULT_WINDOW, reserves[window] ?? 0);
}
