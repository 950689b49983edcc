/**
 * How much memory a QEMU process has to be allowed to lock: vfio pins the whole guest, and what lies beside its memory
 * (facts.md 8). Compared before any driver is touched.
 */
import type { Scene } from "./scene.js";
import type { StepOf } from "./step.js";
import type { VmView } from "./vm.js";
import { vmStatus, type World } from "./world.js";

const KIB = 1024;
/** What a q35 without video pins beside its memory: measured, nothing is too little and this is enough (facts.md 20). */
const LEAST_MARGIN = 128 * KIB;
/** For video memory, device ROMs and what the measured machines did not have; libvirt adds as much. */
const AMPLE_MARGIN = 1024 * KIB * KIB;

/** What is too little. */
export interface MemlockShortage {
  readonly limitBytes: number;
  /** The least that can do. */
  readonly neededBytes: number;
}

/**
 * How the limit of a VM's process falls short; `null` when it does not, or that is not known. Once a device is in, the
 * memory is pinned, and further ones take none.
 */
export function memlockShortage({ process, memoryBytes, attached }: VmView): MemlockShortage | null {
  if (process === null || memoryBytes === null || attached.length > 0) {
    return null;
  }
  const { canLockAnyMemory, memlockBytes } = process;
  const neededBytes = memoryBytes + LEAST_MARGIN;
  return canLockAnyMemory || memlockBytes === null || memlockBytes >= neededBytes
    ? null
    : { limitBytes: memlockBytes, neededBytes };
}

/** The same, where QEMU has refused a device for it: then it needs more than it has, whatever was reckoned. */
export function refusedMemlock({ process, memoryBytes }: VmView): MemlockShortage | null {
  const limitBytes = process?.memlockBytes ?? null;
  return limitBytes === null
    ? null
    : { limitBytes, neededBytes: Math.max(limitBytes + 1, (memoryBytes ?? 0) + LEAST_MARGIN) };
}

/** A raise that the operator allows (`raiseMemlock` of the VM). */
export type MemlockRaise = Pick<StepOf<"raise-memlock">, "process" | "bytes">;

/** The raise that may be made for a VM; `null` when it has as much, may not, or what the guest needs is not known. */
export function memlockRaise(world: World, vm: string): MemlockRaise | null {
  const status = vmStatus(world, vm);
  const mayRaise = world.policy?.vms.find(({ name }) => name === vm)?.raiseMemlock === true;
  const { process = null, memoryBytes = null } = status.kind === "up" ? status.view : {};
  if (!mayRaise || process === null || process.memlockBytes === null || memoryBytes === null) {
    return null;
  }
  const bytes = memoryBytes + AMPLE_MARGIN;
  const { pid, startTicks, memlockBytes } = process;
  return memlockBytes >= bytes ? null : { process: { pid, startTicks }, bytes };
}

/** The VMs that are to get devices and may not lock enough memory for the first of them, by reckoning or by refusal. */
export function vmsShortOfMemlock({ world, assignment }: Scene): ReadonlyMap<string, VmView> {
  const refused = new Set(
    [...world.backoffs.values()].flatMap(({ vm, waitsOn }) => (waitsOn?.kind === "memory-limit" ? [vm] : [])),
  );
  return new Map(
    [...assignment.byVm.keys()].flatMap((vm) => {
      const status = vmStatus(world, vm);
      return status.kind === "up" && (refused.has(vm) || memlockShortage(status.view) !== null)
        ? [[vm, status.view] as const]
        : [];
    }),
  );
}
