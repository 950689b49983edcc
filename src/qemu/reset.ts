/** Resets a machine, as its reset button would. */
import type { Outcome } from "../core/step.js";
import type { QmpMover } from "./attach.js";
import { outcomeOfError } from "./refusal.js";

/**
 * Sends system_reset. `done`: QEMU has reset the machine, or, started with -no-reboot, is about to end. What that did to
 * pending unplugs is told by events and looks.
 */
export async function resetMachine(client: Pick<QmpMover, "execute">): Promise<Outcome> {
  try {
    await client.execute("system_reset");
    return { kind: "done" };
  } catch (error) {
    return outcomeOfError(error);
  }
}
