/** Where the resolved devices go in their VM, and how QEMU is told: one function per port. */
import { err, ok, type Result } from "../base/result.js";
import { compareAddresses, hostProperty, type PciAddress, qemuIdOf } from "./address.js";
import type { VmSpec } from "./policy.js";

/** One device of a VM that is about to start. */
export interface ResolvedDevice {
  readonly address: PciAddress;
  /** The QEMU id by which the agent adopts it. */
  readonly id: string;
  /** `null`: QEMU finds a place by itself. */
  readonly bus: string | null;
  readonly rule: string;
  readonly iommuGroup: number;
  readonly properties: Readonly<Record<string, string>>;
}

/** The same, before it has a place. `port`: the bus that its rule names. */
interface Unplaced extends Omit<ResolvedDevice, "id" | "bus"> {
  readonly port: string | null;
}

/**
 * Gives each device a port: the one that its rule names, else the next of the VM's list that no rule names. Fails, with
 * a sentence, where there are too few, or where the machine needs one and the VM's entry lists none.
 */
export function placeInPorts(
  vm: VmSpec,
  devices: readonly Unplaced[],
): Result<readonly ResolvedDevice[], string> {
  const inOrder = [...devices].sort((a, b) => compareAddresses(a.address, b.address));
  const named = inOrder.flatMap(({ port }) => port ?? []);
  const twice = named.find((port, index) => named.indexOf(port) !== index);
  if (twice !== undefined) {
    const both = inOrder.filter(({ port }) => port === twice).map(({ address }) => address);
    return err(`port ${twice} is for one device, and rules send ${both.join(" and ")} there`);
  }
  const absent = named.find((port) => vm.ports !== undefined && !vm.ports.includes(port));
  if (absent !== undefined) {
    return err(`a rule names port ${absent}, and the entry of ${vm.name} has ${vm.ports?.join(", ")}`);
  }
  const free = (vm.ports ?? []).filter((port) => !named.includes(port));
  const loose = inOrder.length - named.length;
  if (vm.ports !== undefined && loose > free.length) {
    return err(
      `${inOrder.length} devices need a port each, and the entry of ${vm.name} has ${vm.ports.length}`,
    );
  }
  if (vm.ports === undefined && loose > 0 && !canPlaceByItself(vm.machine)) {
    return err(`machine ${vm.machine} has no place of its own for PCI devices: list the ports of ${vm.name}`);
  }
  const next = free.values();
  return ok(
    inOrder.map(({ port, ...device }) => ({
      ...device,
      id: qemuIdOf(device.address),
      bus: port ?? next.next().value ?? null,
    })),
  );
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
export function argumentsFor({ address, id, bus, properties }: ResolvedDevice): readonly string[] {
  const pairs = [
    ["vfio-pci"],
    ...Object.entries(hostProperty(address)),
    ["id", id],
    ...(bus === null
      ? []
      : [
          ["bus", bus],
          ["addr", "0"],
        ]),
    ...Object.entries(properties),
  ];
  return ["-device", pairs.map((pair) => pair.join("=")).join(",")];
}
