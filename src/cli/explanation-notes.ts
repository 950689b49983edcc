/** What stands about a device beside the rules, as labelled sentences. */
import type { DeviceExplanation } from "../core/explanation.js";

const MS_PER_SECOND = 1000;

/** One sentence for each thing that is noted of the device, in no line that is not needed. */
export function notesOf(answer: DeviceExplanation): readonly string[] {
  const { protection, exclusion, lease, inVm, order, reservation, holds, pins, quarantine } = answer;
  return [
    ...note(protection, ({ level, because }) => `${level === "hard" ? "Protected" : "In use"}: ${because}`),
    ...note(exclusion, (by) =>
      by === "unknown"
        ? "Excluded for now: what the file's never or allow asks for is not known"
        : `Excluded: by the file's ${by === "never" ? "never" : "allow"}`,
    ),
    ...note(lease, ({ vm, rule, role }) => `Lease: ${vm}, by rule ${rule}${roleOf(role)}`),
    ...note(
      inVm,
      ({ vm, id, ours }) => `In VM: ${vm}, ${id ?? "without an id"}${ours ? "" : " (foreign: left alone)"}`,
    ),
    ...note(order, (vm) => `Order: an operator wants it in ${vm}`),
    ...note(reservation, ({ vm, detail, endsInMs }) => `Reserved: for ${vm}, ${detail}${endOf(endsInMs)}`),
    ...holds.map(({ vm, detail }) => `On hold: for ${vm}, ${detail}`),
    ...pins.map(
      ({ rule, serial }) => `Pinned: by rule ${rule}${serial === null ? "" : `, serial ${serial}`}`,
    ),
    ...note(quarantine, (why) => `Quarantine: ${why}`),
  ];
}

function note<T>(value: T | null, tell: (value: T) => string): readonly string[] {
  return value === null ? [] : [tell(value)];
}

function roleOf(role: "claimed" | "companion"): string {
  return role === "companion" ? ", only kept from host drivers" : "";
}

function endOf(endsInMs: number | null): string {
  return endsInMs === null ? "" : `, for ${Math.ceil(endsInMs / MS_PER_SECOND)} s more`;
}
