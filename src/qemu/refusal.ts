/**
 * What QEMU's refusals mean. The only file that reads QEMU's texts: nearly all come as GenericError, so that nothing
 * but the text tells them apart (facts.md 1.1).
 *
 * Texts are no interface: they are matched loosely, and one that is not known is `unknown`, never a guess.
 */
import type { Outcome, RefusalReason } from "../core/step.js";
import { QmpCommandError, QmpInterruptedError, QmpTimeoutError } from "../qmp/errors.js";

/** What QEMU's error reply says, as on the wire. */
export interface QmpRefusal {
  readonly qmpClass: string;
  readonly desc: string;
}

export interface Refusal {
  readonly reason: RefusalReason;
  /** False: the same attempt cannot succeed before the device, the VM's process or the policy changes. */
  readonly isWorthRetrying: boolean;
}

interface Row extends Refusal {
  readonly text: RegExp;
}

const AGAIN = true;
const NEVER = false;

/** In the order in which they are tried: first what is said about the VM's side, then about the host's. */
const TABLE: readonly Row[] = [
  row(/does not support hot-?plugging/i, "port-unusable", NEVER),
  row(/^Unsupported PCI slot /i, "port-unusable", NEVER),
  row(/^No '.*' bus found for device/i, "port-unusable", NEVER),
  // The next look shows which buses there are.
  row(/^Bus '.*' not found/i, "port-unusable", AGAIN),
  row(/no slot\/function available for /i, "port-occupied", AGAIN),
  row(/slot \d+ function \d+ not available for .*(in use by|reserved)/i, "port-occupied", AGAIN),
  row(/function 0 already occupied by .* cannot be exposed to guest/i, "port-occupied", NEVER),
  row(/indicates single function, but .* is already populated/i, "bad-arguments", NEVER),
  row(/^Duplicate (device )?ID /i, "id-in-use", AGAIN),
  row(/is not a valid device model name/i, "bad-arguments", NEVER),
  row(/^Property '.*' (not found|doesn't take value)/i, "bad-arguments", NEVER),
  row(/^Parameter '.*' (expects|is missing|is unexpected)/i, "bad-arguments", NEVER),
  row(/^No provided host device/i, "bad-arguments", NEVER),
  row(/guest is busy/i, "guest-busy", AGAIN),
  row(/not allowed while migrating/i, "migrating", AGAIN),
  row(/no such host device/i, "device-absent", NEVER),
  row(/no iommu_group found/i, "no-iommu", NEVER),
  row(/device is already attached/i, "already-attached", NEVER),
  row(/group \d+ is not viable/i, "group-not-viable", AGAIN),
  row(/dma_map\(.*-12\b|RLIMIT_MEMLOCK|Cannot allocate memory/i, "memlock", NEVER),
  row(/\/dev\/vfio\/.*: (Permission denied|Operation not permitted)/i, "node-access", AGAIN),
  row(/\/dev\/vfio\/.*: Device or resource busy/i, "group-busy", AGAIN),
  // Also the moment between the driver link and the end of its probe (facts.md 12).
  row(/\/dev\/vfio\/.*: (No such file or directory|No such device)/i, "not-bound", AGAIN),
  // Deliberately without a reason of its own: QEMU is still being configured (--preconfig).
  row(/permitted only after machine initialization has completed/i, "unknown", AGAIN),
  // The answer to a second device_del: detach.ts asks isUnplugPending first.
  row(/already in the process of unplug/i, "guest-busy", AGAIN),
];

/** Why QEMU said no, and whether the same attempt may succeed later without any change that is announced to us. */
export function refusalOf(error: QmpRefusal): Refusal {
  if (error.qmpClass === "DeviceNotFound") {
    // device_add names only buses by path; device_del's answer is told apart by isDeviceGone.
    return { reason: "port-unusable", isWorthRetrying: AGAIN };
  }
  if (error.qmpClass === "CommandNotFound") {
    return { reason: "unknown", isWorthRetrying: NEVER };
  }
  const found = TABLE.find(({ text }) => text.test(error.desc));
  return found === undefined
    ? { reason: "unknown", isWorthRetrying: AGAIN }
    : { reason: found.reason, isWorthRetrying: found.isWorthRetrying };
}

/** Whether device_del was refused because there is no such device: what was wanted is so. */
export function isDeviceGone(error: QmpRefusal): boolean {
  return error.qmpClass === "DeviceNotFound";
}

/** Whether device_del was refused because an unplug is under way (native mode, facts.md 3.1). */
export function isUnplugPending(error: QmpRefusal): boolean {
  return /already in the process of unplug/i.test(error.desc);
}

/**
 * What a command that threw has come to: refused, not known (sent, but no answer), or never sent.
 *
 * @throws the error itself when it is none of a session's: then it is not about the VM.
 */
export function outcomeOfError(error: unknown): Outcome {
  if (error instanceof QmpCommandError) {
    return { kind: "refused", detail: error.desc, ...refusalOf(error) };
  }
  if (error instanceof QmpTimeoutError || error instanceof QmpInterruptedError) {
    return { kind: error.wasSent ? "timed-out" : "cancelled", detail: error.message };
  }
  throw error;
}

function row(text: RegExp, reason: RefusalReason, isWorthRetrying: boolean): Row {
  return { text, reason, isWorthRetrying };
}
