/**
 * The states of an unplug that the guest has not answered, and when it is asked again (facts.md 3.1 and 3.2): QEMU shows
 * no pending state, an ACPI request made during boot is lost, and a native one is refused while the last one's five
 * seconds of guest time run.
 */
import type { HeldReason } from "./held.js";
import type { Attached, PlugMode, VmView } from "./vm.js";
import { processKey } from "./vm.js";
import { pairKey, type Unplug, type World } from "./world.js";

/** A guest that co-operates answers within 0.4 s by ACPI, within 6.6 s natively. */
const PATIENCE_MS: Readonly<Record<PlugMode, number>> = { acpi: 8_000, native: 10_000, unknown: 10_000 };
const NATIVE_AGAIN_MS = 6_000;
/** After this many requests the guest plainly does not co-operate: ask only now and then. */
const EAGER_TIMES = 10;
const SELDOM_MS = 60_000;
/** A slot that blinks takes no request for a second or so. */
const BUSY_MS = 1_000;
/** One reboot of a guest is several RESETs within a moment (facts.md 21). */
const ONE_RESET_MS = 1_000;

/** Time of the next request, in the clock of the world. */
export function unplugDueMs(unplug: Unplug): number {
  return unplug.askedMs + waitMs(unplug);
}

function waitMs({ mode, isBusy, timesSinceReset }: Unplug): number {
  if (timesSinceReset >= EAGER_TIMES) {
    return SELDOM_MS;
  }
  if (isBusy === true) {
    return BUSY_MS;
  }
  return mode === "acpi" || timesSinceReset <= 1 ? PATIENCE_MS[mode] : NATIVE_AGAIN_MS;
}

/** Whether it is time to ask again. */
export function isUnplugDue(unplug: Unplug, nowMs: number): boolean {
  return nowMs >= unplugDueMs(unplug);
}

/** From when on it takes longer than with a guest that co-operates, in the clock of the world. */
export function overdueMs({ firstAskedMs, mode }: Unplug): number {
  return firstAskedMs + PATIENCE_MS[mode];
}

/** Whether it is pending or overdue, as a reason to wait. */
export function unplugHeld(unplug: Unplug, view: Pick<VmView, "runState">, nowMs: number): HeldReason {
  const { vm, times, firstAskedMs: sinceMs, askedMs } = unplug;
  if (nowMs < overdueMs(unplug)) {
    return { kind: "unplug-pending", vm, times, sinceMs };
  }
  const { runState } = view;
  const overdue = { kind: "unplug-overdue", vm, times, sinceMs, askedMs } as const;
  return runState === "running" ? overdue : { ...overdue, runState };
}

/**
 * When the operator's option `resetToComplete` has the machine reset for this unplug; `null`: never. Only by ACPI does a
 * reset complete it (facts.md 3), and once is enough to know.
 */
export function resetDueMs(world: Pick<World, "policy">, unplug: Unplug): number | null {
  const waitMs = world.policy?.vms.find(({ name }) => name === unplug.vm)?.resetToCompleteMs;
  return waitMs === undefined || unplug.mode !== "acpi" || unplug.resetMs !== undefined
    ? null
    : overdueMs(unplug) + waitMs;
}

/** What device_del calls a device: its id, or its QOM path where it has none (facts.md 2.1 step 2). */
export function unplugName(entry: Attached): string {
  return entry.id ?? entry.path;
}

type Unplugs = World["unplugs"];
type Asked = Pick<Unplug, "vm" | "id" | "address">;

/** The pending unplugs once a device was asked for, also if nobody knows whether the request arrived. */
export function noteUnplug(world: World, { vm, id, address }: Asked, isBusy = false): Unplugs {
  const key = pairKey(vm, id);
  const before = world.unplugs.get(key);
  const status = world.vms.get(vm);
  const view = status?.kind === "up" ? status.view : undefined;
  const attached = view?.attached.find((entry) => unplugName(entry) === id);
  if (view !== undefined && attached === undefined) {
    return world.unplugs;
  }
  return new Map(world.unplugs).set(key, {
    vm,
    id,
    address,
    process: processKey(view?.process ?? null) ?? before?.process ?? null,
    mode: attached?.mode ?? before?.mode ?? "unknown",
    firstAskedMs: before?.firstAskedMs ?? world.nowMs,
    askedMs: world.nowMs,
    times: (before?.times ?? 0) + 1,
    timesSinceReset: (before?.timesSinceReset ?? 0) + 1,
    ...(isBusy ? { isBusy: true } : {}),
    ...(before?.resetMs === undefined ? {} : { resetMs: before.resetMs }),
  });
}

/** Those that are still pending after a look: the VM lists the device, and is the process that was asked. */
export function pendingUnplugs(world: World, vm: string): Unplugs {
  const status = world.vms.get(vm);
  if (status === undefined || status.kind === "unknown" || status.kind === "unreachable") {
    return world.unplugs;
  }
  const ids = new Set(status.kind === "up" ? status.view.attached.map(unplugName) : []);
  const now = status.kind === "up" ? processKey(status.view.process) : null;
  const isPending = ({ id, process }: Unplug): boolean =>
    ids.has(id) && (process === null || now === null || process === now);
  const kept = [...world.unplugs].filter(([, unplug]) => unplug.vm !== vm || isPending(unplug));
  return kept.length === world.unplugs.size ? world.unplugs : new Map(kept);
}

/** The world once a machine was reset: the guest that comes up is asked as if for the first time. */
export function noteReset(world: World, vm: string, isByGuest: boolean): World {
  const before = world.resets.get(vm);
  if (before !== undefined && world.nowMs < before.atMs + ONE_RESET_MS) {
    return world;
  }
  const unplugs = [...world.unplugs].map(
    ([key, unplug]) => [key, unplug.vm === vm ? { ...unplug, timesSinceReset: 0 } : unplug] as const,
  );
  return {
    ...world,
    unplugs: new Map(unplugs),
    resets: new Map(world.resets).set(vm, { atMs: world.nowMs, isByGuest }),
  };
}

/** The pending unplugs once their machine was reset to complete them. */
export function noteResetFor({ unplugs, nowMs: resetMs }: World, vm: string): Unplugs {
  return new Map(
    [...unplugs].map(([key, unplug]) => [key, unplug.vm === vm ? { ...unplug, resetMs } : unplug] as const),
  );
}
