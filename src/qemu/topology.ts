/**
 * From what QEMU says about its buses to ports: which are free, which are plugged, which are of no use and why.
 *
 * Pure. The rules are facts.md 1 and 2: a PCI Express port holds one card at address 0; a conventional bus has a
 * port for each of its slots 1 to 31 (slot 0 is refused by SHPC, and is the host bridge on a root bus).
 */
import type { PlugMode, Port, PortReserve } from "../core/vm.js";
import { idOfPath, lastPart, parentPath } from "./qom.js";

/** A device on a bus. */
export interface BusOccupant {
  /** QOM path. */
  readonly path: string;
  /** Slot on a conventional bus; `null` where it was not asked for or QEMU did not say. */
  readonly slot: number | null;
}

/** A place with a bus of its own, as read from QOM. */
export interface PluggableBus {
  /** What kind of place: decides the number of ports and their rank. */
  readonly kind: "pcie-port" | "root-bus" | "bridge";
  /** QOM path of the port or bridge (for a root bus: of the host bridge). */
  readonly owner: string;
  /** QOM type of the owner. */
  readonly type: string;
  /** QOM path of the bus; `null` when the owner has none for PCI (a CXL port). */
  readonly path: string | null;
  /** QOM path of the controller that does hot-plug for this bus; empty when there is none. */
  readonly handler: string;
  /** Whether the owner was started with `hotplug=off`. */
  readonly isSwitchedOff: boolean;
  /** Address space that the owner was started with; absent for owners without such properties. */
  readonly reserve?: PortReserve | undefined;
  readonly occupants: readonly BusOccupant[];
}

const SLOTS_OF_CONVENTIONAL_BUS = 31;
const PCIE_ADDR = "0";
/** Names that root buses have: an automatic name of a port may be the same, and then QEMU means the root bus. */
const ROOT_BUS_NAMES = ["pcie.0", "pci.0"];
const RANK = { "pcie-port": 0, "root-bus": 1, bridge: 2 } as const;

/** The ports of a VM in the order in which they are to be used: PCI Express first, then by name, rp2 before rp10. */
export function portsOf(buses: readonly PluggableBus[]): readonly Port[] {
  const names = countNames(buses);
  return [...buses]
    .sort((a, b) => RANK[a.kind] - RANK[b.kind] || compareNaturally(busName(a), busName(b)))
    .flatMap((bus) => {
      const fault = faultOf(bus, names);
      if (fault !== null) {
        return [toPort(bus, bus.kind === "pcie-port" ? PCIE_ADDR : "1", { kind: "unusable", reason: fault })];
      }
      return bus.kind === "pcie-port" ? [toExpressPort(bus)] : toConventionalPorts(bus);
    });
}

/** How a bus tells the guest, from the path of its hot-plug controller (facts.md 2.1 step 4). */
export function modeOf(handler: string, owner: string): PlugMode {
  if (handler === "") {
    return "unknown";
  }
  // The port (or SHPC bridge) itself: native. Anything else is the chipset's ACPI controller.
  return handler === owner ? "native" : "acpi";
}

/** Orders names as people do: digits by their value. */
export function compareNaturally(a: string, b: string): number {
  return NATURAL.compare(a, b) || (a < b ? -1 : Number(a > b));
}

const NATURAL = new Intl.Collator("en", { numeric: true });

function busName(bus: PluggableBus): string {
  return lastPart(bus.path ?? bus.owner);
}

function countNames(buses: readonly PluggableBus[]): ReadonlyMap<string, number> {
  const counts = new Map(ROOT_BUS_NAMES.map((name) => [name, 1]));
  for (const bus of buses) {
    if (bus.kind !== "root-bus" && bus.path !== null) {
      const name = lastPart(bus.path);
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  return counts;
}

function faultOf(bus: PluggableBus, names: ReadonlyMap<string, number>): string | null {
  if (bus.path === null) {
    return `${bus.type} has no PCI bus`;
  }
  if (bus.isSwitchedOff) {
    return "hot-plug is switched off (hotplug=off)";
  }
  if (bus.handler === "") {
    return "its bus has no hot-plug controller";
  }
  const name = lastPart(bus.path);
  if (bus.kind !== "root-bus" && (names.get(name) ?? 0) > 1) {
    const why = `more than one bus is named ${name}`;
    return idOfPath(bus.owner) === null ? `the port has no id, and ${why}; give it an id` : why;
  }
  return null;
}

function toExpressPort(bus: PluggableBus): Port {
  const by = bus.occupants.map(nameOf).sort(compareNaturally);
  return toPort(bus, PCIE_ADDR, by.length === 0 ? { kind: "free" } : { kind: "plugged", by });
}

/** One port per slot. Slots taken by the machine's own chips are no ports. */
function toConventionalPorts(bus: PluggableBus): readonly Port[] {
  const hasUnknownSlot = bus.occupants.some((occupant) => occupant.slot === null);
  if (hasUnknownSlot) {
    return [toPort(bus, "1", { kind: "unusable", reason: "a device on this bus did not tell its slot" })];
  }
  const ports: Port[] = [];
  for (let slot = 1; slot <= SLOTS_OF_CONVENTIONAL_BUS; slot += 1) {
    const there = bus.occupants.filter((occupant) => occupant.slot === slot);
    if (there.some((occupant) => !isPeripheral(occupant.path))) {
      continue;
    }
    const by = there.map(nameOf).sort(compareNaturally);
    ports.push(toPort(bus, slot.toString(16), by.length === 0 ? { kind: "free" } : { kind: "plugged", by }));
  }
  return ports;
}

function isPeripheral(path: string): boolean {
  return path.startsWith("/machine/peripheral");
}

function nameOf(occupant: BusOccupant): string {
  return idOfPath(occupant.path) ?? occupant.path;
}

function toPort(bus: PluggableBus, addr: string, state: Port["state"]): Port {
  return {
    bus: busName(bus),
    path: bus.path ?? bus.owner,
    type: bus.type,
    mode: bus.path === null ? "unknown" : modeOf(bus.handler, parentPath(bus.path)),
    state,
    addr,
    ...(bus.reserve === undefined ? {} : { reserve: bus.reserve }),
  };
}
