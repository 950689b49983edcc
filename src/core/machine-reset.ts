/**
 * The option `resetToComplete`: a machine whose guest does not answer an ACPI unplug lets go of the device when it is
 * reset (facts.md 3). It costs the guest all that it has not saved, so it is never done unless the operator says so.
 */
import { retryHeld } from "./readiness.js";
import type { StepOf } from "./step.js";
import { resetDueMs } from "./unplug.js";
import { migrationPhase, type VmView } from "./vm.js";
import type { Unplug, World } from "./world.js";

/** Run states in which a reset brings the guest up again. */
const RESETTABLE: ReadonlySet<string> = new Set(["running", "paused", "guest-panicked"]);

/** The reset that completes an unplug; `null` unless the operator wants it and the guest has had its time. */
export function resetStep(world: World, view: VmView, unplug: Unplug): StepOf<"reset"> | null {
  const { vm, address, times } = unplug;
  const due = resetDueMs(world, unplug);
  const isDue = due !== null && world.nowMs >= due;
  if (!isDue || !RESETTABLE.has(view.runState) || migrationPhase(view) !== null) {
    return null;
  }
  if (retryHeld(world, "leave", vm, address) !== null) {
    return null;
  }
  const seconds = Math.round((world.nowMs - unplug.firstAskedMs) / 1000);
  const asked = `${times} ${times === 1 ? "request" : "requests"} in ${seconds} s`;
  const why = `resetToComplete: its guest has not let go of ${address} after ${asked}`;
  return { kind: "reset", vm, addresses: [address], why };
}
