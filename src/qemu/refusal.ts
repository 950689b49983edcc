/**
 * What QEMU's refusals mean. The only file that reads QEMU's texts: nearly all come as GenericError, so that nothing
 * but the text tells them apart (facts.md 1.1). What follows from a reason is core/next-move.ts.
 *
 * Texts are no interface: they are matched loosely, and one that is not known is `unknown`, never a guess.
 */
import { NEXT_MOVES, type NextMove, type RefusalReason } from "../core/next-move.js";
import type { Outcome } from "../core/step.js";
import { QmpCommandError, QmpInterruptedError, QmpTimeoutError } from "../qmp/errors.js";

/** What QEMU's error reply says, as on the wire. */
export interface QmpRefusal {
  readonly qmpClass: string;
  readonly desc: string;
}

export interface Refusal {
  /** The cause, as contrib/doc/refusals.md lists it; `null` for a text that is not known. */
  readonly row: RefusalRow | null;
  readonly reason: RefusalReason;
  readonly next: NextMove;
}

/**
 * One cause each, in the order in which they are tried: first what is said about the VM's side, then about the host's.
 * test/support/refusal-proofs.ts says for each where a real QEMU was brought to say it.
 */
const TABLE = [
  row("bus-cannot-hotplug", /does not support hot-?plugging/i, "port-unusable"),
  row("slot-invalid", /^Unsupported PCI slot /i, "port-unusable"),
  row("no-bus-of-its-kind", /^No '.*' bus found for device/i, "port-unusable"),
  row("bus-unknown", /^Bus '.*' not found/i, "port-unusable"),
  row("bus-full", /no slot\/function available for /i, "port-occupied"),
  row("slot-in-use", /slot \d+ function \d+ not available for .*(in use by|reserved)/i, "port-occupied"),
  row("function-0-live", /function 0 already occupied by .* cannot be exposed to guest/i, "port-occupied"),
  // A port named by us is single only where somebody else has put another function into it.
  row("single-function", /indicates single function, but .* is already populated/i, "port-occupied"),
  row("id-in-use", /^Duplicate (device )?ID /i, "id-in-use"),
  row("driver-unknown", /is not a valid device model name/i, "bad-arguments"),
  row("property-unknown", /^Property '.*' not found/i, "bad-arguments"),
  row("address-malformed", /^Property '.*' doesn't take value/i, "bad-arguments"),
  row("argument-wrong", /^Parameter '.*' (expects|is missing|is unexpected)/i, "bad-arguments"),
  row("no-host-given", /^No provided host device/i, "bad-arguments"),
  row("guest-blinking", /guest is busy/i, "guest-busy"),
  row("migrating", /not allowed while migrating/i, "migrating"),
  row("unplug-pending", /already in the process of unplug/i, "unplug-pending"),
  // With --preconfig QEMU is still being configured.
  row("machine-not-made", /permitted only after machine initialization has completed/i, "vm-not-ready"),
  row("device-absent", /no such host device/i, "device-absent"),
  row("no-iommu-group", /no iommu_group found/i, "no-iommu"),
  row("already-attached", /device is already attached/i, "already-attached"),
  row("group-not-viable", /group \d+ is not viable/i, "group-not-viable"),
  row("memlock", /dma_map\(.*-12\b|RLIMIT_MEMLOCK|Cannot allocate memory/i, "memlock"),
  row(
    "container-denied",
    /\/dev\/vfio\/vfio: (Permission denied|Operation not permitted)/i,
    "container-access",
  ),
  row("node-denied", /\/dev\/vfio\/.*: (Permission denied|Operation not permitted)/i, "node-access"),
  row("group-busy", /\/dev\/vfio\/.*: Device or resource busy/i, "group-busy"),
  row("not-bound", /\/dev\/vfio\/.*: (No such file or directory|No such device)/i, "not-bound"),
  // The moment between the driver link and the end of its probe (facts.md 12).
  row("not-probed", /getting device from group \d+: No such device/i, "not-bound"),
] as const;

/** The causes that only the error's class tells. */
const BY_CLASS = ["bus-path-wrong", "device-unknown", "not-negotiated"] as const;

/** A cause of a refusal: a row of facts.md 1.1, or one that was met since. */
export type RefusalRow = (typeof TABLE)[number]["row"] | (typeof BY_CLASS)[number];

/** Every cause that is told apart. */
export const REFUSAL_ROWS: readonly RefusalRow[] = [...TABLE.map((entry) => entry.row), ...BY_CLASS];

/** Why QEMU said no, and what may help. */
export function refusalOf(error: QmpRefusal): Refusal {
  const { row: cause, reason } = causeOf(error);
  return { row: cause, reason, next: NEXT_MOVES[reason] };
}

function causeOf({ qmpClass, desc }: QmpRefusal): Pick<Refusal, "row" | "reason"> {
  if (qmpClass === "DeviceNotFound") {
    // Of the devices that device_del names the desc says the id; device_add names only buses, and by path.
    const isPath = /^Device '(\/|machine\b)/.test(desc);
    return isPath
      ? { row: "bus-path-wrong", reason: "port-unusable" }
      : { row: "device-unknown", reason: "not-there" };
  }
  if (qmpClass === "CommandNotFound" && /capabilities negotiation/i.test(desc)) {
    return { row: "not-negotiated", reason: "vm-not-ready" };
  }
  return TABLE.find(({ text }) => text.test(desc)) ?? { row: null, reason: "unknown" };
}

/** Whether device_del was refused because there is no such device: what was wanted is so. */
export function isDeviceGone(error: QmpRefusal): boolean {
  return error.qmpClass === "DeviceNotFound";
}

/** Whether device_del was refused because an unplug is under way (native mode, facts.md 3.1). */
export function isUnplugPending(error: QmpRefusal): boolean {
  return refusalOf(error).reason === "unplug-pending";
}

/**
 * What a command that threw has come to: refused, not known (sent, but no answer), or never sent.
 *
 * @throws the error itself when it is none of a session's: then it is not about the VM.
 */
export function outcomeOfError(error: unknown): Outcome {
  if (error instanceof QmpCommandError) {
    return { kind: "refused", detail: error.desc, reason: refusalOf(error).reason };
  }
  if (error instanceof QmpTimeoutError || error instanceof QmpInterruptedError) {
    return { kind: error.wasSent ? "timed-out" : "cancelled", detail: error.message };
  }
  throw error;
}

function row<const R extends string>(name: R, text: RegExp, reason: RefusalReason) {
  return { row: name, text, reason };
}
