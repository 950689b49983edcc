/**
 * When a pending unplug is asked for again (facts.md 3.1 and 3.2): QEMU shows no pending state, an ACPI request made
 * during boot is lost, and a native one is refused while the last one's five seconds of guest time run.
 */
import type { Attached } from "./vm.js";
import type { Unplug } from "./world.js";

const ACPI_MS = 8_000;
const NATIVE_FIRST_MS = 10_000;
const NATIVE_MS = 6_000;
/** After this many requests the guest plainly does not co-operate: ask only now and then. */
const EAGER_TIMES = 10;
const OVERDUE_MS = 60_000;

/** Time of the next request, in the clock of the world. */
export function unplugDueMs(unplug: Unplug): number {
  if (unplug.times >= EAGER_TIMES) {
    return unplug.askedMs + OVERDUE_MS;
  }
  if (unplug.mode === "acpi") {
    return unplug.askedMs + ACPI_MS;
  }
  return unplug.askedMs + (unplug.times <= 1 ? NATIVE_FIRST_MS : NATIVE_MS);
}

/** Whether it is time to ask again. */
export function isUnplugDue(unplug: Unplug, nowMs: number): boolean {
  return nowMs >= unplugDueMs(unplug);
}

/** What device_del calls a device: its id, or its QOM path where it has none (facts.md 2.1 step 2). */
export function unplugName(entry: Attached): string {
  return entry.id ?? entry.path;
}
