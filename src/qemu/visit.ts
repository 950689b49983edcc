/** One look during a visit to a shared monitor, and what it shows of the time since the last one. */
import { clearTimeout, setTimeout } from "node:timers";
import { unplugName } from "../core/unplug.js";
import { processKey, type VmProcess, type VmStatus, type VmView } from "../core/vm.js";
import type { QmpClient } from "../qmp/client.js";
import { downStatusOf } from "./dialling.js";
import { readView } from "./view.js";

/** What a look at a VM that has greeted can come to. */
export type Glance = Extract<VmStatus, { kind: "up" | "unreachable" }>;

/** Something that is asked of the VM, for one visit. */
export interface Order {
  readonly run: (client: QmpClient) => Promise<void>;
  /** Ends it without a visit. */
  readonly refuse: () => void;
}

/** The code of a look that was not over while a visit may last. */
const TOO_SLOW = "qmp.timeout";

/** Looks at the VM, and hangs up where that takes longer than `visitMs`. Never rejects but for a bug. */
export async function glanceAt(
  client: QmpClient,
  process: VmProcess | null,
  visitMs: number,
): Promise<Glance> {
  let isLate = false;
  const late = setTimeout(() => {
    isLate = true;
    void client.close();
  }, visitMs);
  try {
    return { kind: "up", view: await readView(client, process) };
  } catch (error) {
    const { reason, ...status } = downStatusOf(error, 0);
    if (isLate || status.kind === "absent") {
      return { kind: "unreachable", code: TOO_SLOW, reason: `no whole answer within ${visitMs} ms` };
    }
    return { ...status, reason };
  } finally {
    clearTimeout(late);
  }
}

/** Whether the look found the link cut: what that means is said better by the next attempt to connect. */
export function isCutOff(glance: Glance, client: QmpClient): boolean {
  return glance.kind === "unreachable" && glance.code !== TOO_SLOW && client.state === "closed";
}

/**
 * What the VM has let go of since an earlier view of the same process, as device_del calls it: nobody was there to hear
 * the DEVICE_DELETED.
 */
export function departedSince(before: VmView | null, now: VmView): readonly string[] {
  const key = processKey(now.process);
  if (before === null || key === null || key !== processKey(before.process)) {
    return [];
  }
  const there = new Set(now.attached.map(unplugName));
  return before.attached.map(unplugName).filter((name) => !there.has(name));
}
