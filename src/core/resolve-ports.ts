/**
 * Where the resolved devices go in their VM, and how QEMU is told: one function per port, or one card where its rule
 * says `plug: card`.
 */
import { err, ok, type Result } from "../base/result.js";
import {
  addressParts,
  compareAddresses,
  hostProperty,
  type PciAddress,
  qemuIdOf,
  slotOf,
} from "./address.js";
import type { RuleTraits, VmSpec } from "./policy.js";

/** One device of a VM that is about to start. */
export interface ResolvedDevice {
  readonly address: PciAddress;
  /** The QEMU id by which the agent adopts it. */
  readonly id: string;
  /** `null`: QEMU finds a place by itself. */
  readonly bus: string | null;
  /** `0.FUNCTION` of a function that shares its port; absent where it has the port to itself. */
  readonly addr?: string;
  /** Of function 0 of a card in one port. */
  readonly isMultifunction?: true;
  readonly rule: string;
  readonly iommuGroup: number;
  readonly properties: Readonly<Record<string, string>>;
}

/** The same, before it has a place. `port`: the bus that its rule names. */
interface Unplaced extends Omit<ResolvedDevice, "id" | "bus" | "addr" | "isMultifunction"> {
  readonly port: string | null;
  readonly plug: RuleTraits["plug"];
}

/** What goes into one port; sorted by address. */
type Parcel = readonly Unplaced[];

/**
 * Gives each device a port: the one that its rule names, else the next of the VM's list that no rule names. Fails, with
 * a sentence, where there are too few, or where the machine needs one and the VM's entry lists none.
 */
export function placeInPorts(
  vm: VmSpec,
  devices: readonly Unplaced[],
): Result<readonly ResolvedDevice[], string> {
  const parcels = parcelsOf([...devices].sort((a, b) => compareAddresses(a.address, b.address)));
  const named = parcels.flatMap((parcel) => portOf(parcel) ?? []);
  const twice = named.find((port, index) => named.indexOf(port) !== index);
  if (twice !== undefined) {
    const both = parcels.filter((parcel) => portOf(parcel) === twice).map(([first]) => first?.address);
    return err(`port ${twice} is for one device, and rules send ${both.join(" and ")} there`);
  }
  const absent = named.find((port) => vm.ports !== undefined && !vm.ports.includes(port));
  if (absent !== undefined) {
    return err(`a rule names port ${absent}, and the entry of ${vm.name} has ${vm.ports?.join(", ")}`);
  }
  const free = (vm.ports ?? []).filter((port) => !named.includes(port));
  const loose = parcels.length - named.length;
  if (vm.ports !== undefined && loose > free.length) {
    return err(
      `${parcels.length} devices need a port each, and the entry of ${vm.name} has ${vm.ports.length}`,
    );
  }
  const isCardAfloat =
    vm.ports === undefined && parcels.some((parcel) => parcel.length > 1 && portOf(parcel) === null);
  if (isCardAfloat) {
    return err(`a rule with plug: card needs a port for each card: list the ports of ${vm.name}`);
  }
  if (vm.ports === undefined && loose > 0 && !canPlaceByItself(vm.machine)) {
    return err(`machine ${vm.machine} has no place of its own for PCI devices: list the ports of ${vm.name}`);
  }
  const next = free.values();
  return ok(
    parcels.flatMap((parcel) => {
      const bus = portOf(parcel) ?? next.next().value ?? null;
      const zero = parcel.find(({ address }) => functionOf(address) === 0) ?? parcel[0];
      return parcel.map(({ port: _, plug: __, ...device }) => ({
        ...device,
        id: qemuIdOf(device.address),
        bus,
        ...(parcel.length === 1 ? {} : placeInCard(device.address, device.address === zero?.address)),
      }));
    }),
  );
}

function parcelsOf(inOrder: readonly Unplaced[]): readonly Parcel[] {
  const parcels = new Map<string, Unplaced[]>();
  for (const device of inOrder) {
    const key = device.plug === "card" ? slotOf(device.address) : device.address;
    parcels.set(key, [...(parcels.get(key) ?? []), device]);
  }
  return [...parcels.values()];
}

function portOf(parcel: Parcel): string | null {
  return parcel.flatMap(({ port }) => port ?? [])[0] ?? null;
}

function placeInCard(address: PciAddress, isZero: boolean): Pick<ResolvedDevice, "addr" | "isMultifunction"> {
  return isZero ? { addr: "0.0", isMultifunction: true } : { addr: `0.${functionOf(address)}` };
}

function functionOf(address: PciAddress): number {
  return addressParts(address).function;
}

/**
 * Machines on which `-device` finds a place without `bus=` (contrib/doc/facts.md 15): q35 and pc have a root bus that
 * takes any device. `microvm` has one only with `pcie=on`, which the name of its family does not say; others were not
 * measured.
 */
const MACHINES_WITH_ROOM = /^(pc|q35|pc-q35-.*|pc-i440fx-.*)$/;

/** Nothing said counts as q35, the machine that all documentation begins with. */
function canPlaceByItself(machine = "q35"): boolean {
  return MACHINES_WITH_ROOM.test(machine);
}

/** What QEMU is told of one device: no blanks, quotes or glob characters (microvm.nix expands what it is given). */
export function argumentsFor(device: ResolvedDevice): readonly string[] {
  const { address, id, bus, addr = "0", isMultifunction, properties } = device;
  const pairs = [
    ["vfio-pci"],
    ...Object.entries(hostProperty(address)),
    ["id", id],
    ...(bus === null
      ? []
      : [["bus", bus], ["addr", addr], ...(isMultifunction === true ? [["multifunction", "on"]] : [])]),
    ...Object.entries(properties),
  ];
  return ["-device", pairs.map((pair) => pair.join("=")).join(",")];
}
