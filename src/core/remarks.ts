/** What a look at a VM shows that its operator should know, and that no device waits for. */
import type { PciAddress } from "./address.js";
import type { VmView } from "./vm.js";

/** `kind` is for programs, `message` for people. */
export interface VmRemark {
  readonly kind: "guest-needs-native-ports" | "bar-unassigned";
  readonly message: string;
  /** The device that it is about, where it is about one. */
  readonly address?: PciAddress;
}

/** The remarks about a VM that answers. */
export function remarksOn(vm: string, view: VmView): readonly VmRemark[] {
  return [...microvmRemarks(vm, view), ...barRemarks(vm, view)];
}

/** Linux leaves hot-plug to the platform there unless it is told not to, and nothing shows that it does (facts.md 3.4). */
function microvmRemarks(vm: string, { machine, ports }: VmView): readonly VmRemark[] {
  if (machine !== "microvm-machine" || ports.length === 0) {
    return [];
  }
  const message = `${vm} is a microvm: a Linux guest sees what is plugged only with pcie_ports=native on its kernel line`;
  return [{ kind: "guest-needs-native-ports", message }];
}

function barRemarks(vm: string, { attached }: VmView): readonly VmRemark[] {
  return attached.flatMap(({ address, bus, unassignedBars = [] }) => {
    if (unassignedBars.length === 0) {
      return [];
    }
    const bars = `BAR ${unassignedBars.join(", ")}`;
    const message = `the guest of ${vm} found no room for ${bars} of ${address ?? "a device"} at port ${bus ?? "?"}: start the VM with a larger mem-reserve or pref64-reserve there`;
    return [{ kind: "bar-unassigned", message, ...(address === null ? {} : { address }) }];
  });
}
