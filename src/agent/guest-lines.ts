/** What a turn has to say to the audit of the guests themselves: which devices they use, and that they were reset. */
import type { AuditEntry } from "../audit/record.js";
import { type Attached, processKey, type VmStatus } from "../core/vm.js";
import type { Turn } from "./pipeline.js";

/** The lines of a turn, by VM. */
export function narrateGuests(turn: Turn): AuditEntry[] {
  return [...narrateResets(turn), ...narrateUse(turn)];
}

function narrateResets({ before, world }: Turn): AuditEntry[] {
  return [...world.resets]
    .filter(([vm, reset]) => before.resets.get(vm) !== reset)
    .map(([vm, { isByGuest }]): AuditEntry => {
      const what = isByGuest ? `the guest of ${vm} reboots` : `${vm} was reset from outside`;
      return { atMs: world.nowMs, event: "vm-reset", who: vm, what, vm, after: { byGuest: isByGuest } };
    });
}

function narrateUse({ before, world }: Turn): AuditEntry[] {
  return [...world.vms].flatMap(([vm, status]): AuditEntry[] => {
    const was = before.vms.get(vm);
    return was === status
      ? []
      : attachedTo(status).flatMap((entry) => useLine(world.nowMs, vm, entry, was, status));
  });
}

/** That it is not in use yet is no news: only what comes after it. */
function useLine(
  atMs: number,
  vm: string,
  { address, path, isInUse }: Attached,
  was: VmStatus | undefined,
  now: VmStatus,
): AuditEntry[] {
  const isSameProcess = keyOf(was) === keyOf(now);
  const before = isSameProcess && attachedTo(was).find((entry) => entry.path === path)?.isInUse === true;
  if (address === null || isInUse === undefined || isInUse === before) {
    return [];
  }
  const what = isInUse
    ? `the guest of ${vm} has taken ${address} into use`
    : `the guest of ${vm} does not use ${address} any more`;
  return [
    {
      atMs,
      event: "guest-use",
      who: vm,
      what,
      vm,
      address,
      before: { inUse: before },
      after: { inUse: isInUse },
    },
  ];
}

function attachedTo(status: VmStatus | undefined): readonly Attached[] {
  return status?.kind === "up" ? status.view.attached : [];
}

function keyOf(status: VmStatus | undefined): string | null {
  return status?.kind === "up" ? processKey(status.view.process) : null;
}
