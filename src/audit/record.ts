/**
 * One line of the audit: who did what, why, and what was before and after (contrib/doc/audit-format.md).
 *
 * Pure. Owns the closed list of events and the one way of writing a record down: the same record is always the same
 * bytes, so that a digest over lines means something. Times come in as data.
 */
import { printable } from "../base/printable.js";
import type { PciAddress } from "../core/address.js";
import type { Device } from "../core/device.js";
import type { HeldReason } from "../core/held.js";
import type { Pin, Quarantine } from "../core/intent.js";
import type { Hold, Lease } from "../core/lease.js";
import type { SourceName } from "../core/policy.js";
import type { PolicyChange } from "../core/policy-change.js";
import type { VmRemark } from "../core/remarks.js";
import type { SourceState } from "../core/signal.js";
import type { Outcome, Step } from "../core/step.js";
import type { VmStatus } from "../core/vm.js";

/** The facts of a device that its lines repeat. */
export type DeviceFacts = Partial<Pick<Device, "vendor" | "device" | "class" | "driver" | "iommuGroup">>;

/** The state of a VM that its lines repeat. */
export interface VmFacts {
  readonly state: VmStatus["kind"];
  readonly runState?: string;
  /** QEMU's word for a migration that is under way. */
  readonly migration?: string;
  /** Pid of the QEMU process. */
  readonly pid?: number;
  readonly reason?: string;
  /** Host addresses, or QEMU ids where a device has none. */
  readonly attached?: readonly string[];
}

/** What was decided about a device: whose it is, it waits, a step is meant for it (observing), or it waits no more. */
type Decision =
  | {
      readonly verdict: "assigned";
      readonly iommuGroup: number;
      readonly members: readonly PciAddress[];
      /** Why the host needs it, where an override gives it away all the same. */
      readonly override?: string;
    }
  | { readonly verdict: "held"; readonly reason: HeldReason }
  | { readonly verdict: "planned"; readonly step: Step }
  | { readonly verdict: "clear" };

/** Which source called for the look that showed it first. */
type Seer = SourceName | "start" | "step" | "policy";

/** What each event says beyond what all have in common. */
interface EventFacts {
  readonly "agent-started": {
    readonly after: {
      readonly version: string;
      readonly pid: number;
      readonly bootId: string;
      readonly mode: "act" | "observe";
      /** Bytes of a line that a crash had cut off, closed off when the audit was opened. */
      readonly tornBytes?: number;
    };
  };
  readonly "agent-stopping": { readonly after?: { readonly signal?: string; readonly exitCode?: number } };
  readonly "policy-loaded": {
    readonly before?: { readonly version: string } | null;
    readonly after: {
      readonly version: string;
      readonly rules: number;
      readonly vms: number;
      /** Against the policy before; absent for the first one. */
      readonly change?: PolicyChange;
    };
  };
  /** `before`: the version that stays in force. */
  readonly "policy-refused": {
    readonly before: { readonly version: string } | null;
    readonly after: { readonly reasons: readonly string[] };
  };
  readonly "detach-confirmed": { readonly after: { readonly version: string } };
  readonly "source-changed": {
    readonly source: SourceName;
    readonly before?: SourceState | null;
    readonly after: SourceState;
  };
  readonly "device-appeared": {
    readonly address: PciAddress;
    readonly source: Seer;
    readonly after: DeviceFacts;
  };
  readonly "device-vanished": {
    readonly address: PciAddress;
    readonly source: Seer;
    readonly before: DeviceFacts;
  };
  readonly "device-changed": {
    readonly address: PciAddress;
    readonly source: Seer;
    readonly before: DeviceFacts;
    readonly after: DeviceFacts;
  };
  readonly decision: { readonly address: PciAddress; readonly after: Decision };
  readonly "step-started": {
    readonly vm: string;
    readonly addresses: readonly PciAddress[];
    readonly step: Step;
  };
  readonly "step-ended": {
    readonly vm: string;
    readonly addresses: readonly PciAddress[];
    readonly step: Step;
    readonly after: Outcome;
  };
  readonly "host-write": { readonly after: { readonly path: string; readonly text: string } };
  readonly "vm-changed": { readonly vm: string; readonly before: VmFacts | null; readonly after: VmFacts };
  /** A reboot by the guest, or a reset from outside. */
  readonly "vm-reset": { readonly vm: string; readonly after: { readonly byGuest: boolean } };
  /** The guest has given a device addresses, or has taken them away: the third fact of an attach. */
  readonly "guest-use": {
    readonly address: PciAddress;
    readonly vm: string;
    readonly before: { readonly inUse: boolean };
    readonly after: { readonly inUse: boolean };
  };
  readonly "vm-remark": { readonly vm: string; readonly after: VmRemark };
  readonly "hold-made": { readonly address: PciAddress; readonly vm: string; readonly after: Hold };
  readonly "hold-ended": { readonly address: PciAddress; readonly vm: string; readonly before: Hold };
  readonly "pin-learnt": { readonly address: PciAddress; readonly rule: string; readonly after: Pin };
  readonly "quarantine-made": { readonly address: PciAddress; readonly after: Quarantine };
  readonly "quarantine-ended": { readonly address: PciAddress; readonly before: Quarantine };
  readonly "lease-archived": { readonly address: PciAddress; readonly vm: string; readonly before: Lease };
}

/** What every line can say. */
interface CommonFacts {
  /** Who made it happen: `agent`, `host`, `operator`, or a VM's name. */
  readonly who: string;
  /** One sentence, or the kind of a step. */
  readonly what: string;
  readonly why?: string;
  readonly vm?: string;
  readonly rule?: string;
  readonly address?: PciAddress;
  /** Only observed: this is what would have been done. */
  readonly would?: true;
}

type AuditEventName = keyof EventFacts;
type EntryOf<K extends AuditEventName> = { readonly event: K } & CommonFacts & EventFacts[K];

/** What is to be written down; the sink adds version and number. */
export type AuditEntry = { [K in AuditEventName]: { readonly atMs: number } & EntryOf<K> }[AuditEventName];

/** One line of the file. */
export type AuditRecord = {
  [K in AuditEventName]: { readonly v: 1; readonly seq: number; readonly at: string } & EntryOf<K>;
}[AuditEventName];

const KEY_ORDER: readonly string[] = [
  ..."v seq at event who what why vm rule address addresses source step before after would".split(" "),
];

const EVENTS: Readonly<Record<AuditEventName, true>> = {
  "agent-started": true,
  "agent-stopping": true,
  "policy-loaded": true,
  "policy-refused": true,
  "detach-confirmed": true,
  "source-changed": true,
  "device-appeared": true,
  "device-vanished": true,
  "device-changed": true,
  decision: true,
  "step-started": true,
  "step-ended": true,
  "host-write": true,
  "vm-changed": true,
  "vm-reset": true,
  "guest-use": true,
  "vm-remark": true,
  "hold-made": true,
  "hold-ended": true,
  "pin-learnt": true,
  "quarantine-made": true,
  "quarantine-ended": true,
  "lease-archived": true,
};

/** Numbers an entry. */
export function recordOf(entry: AuditEntry, seq: number): AuditRecord {
  const { atMs, ...facts } = entry;
  return { v: 1, seq, at: new Date(atMs).toISOString(), ...facts } as AuditRecord;
}

/**
 * The record as one line without its end: known keys in the order of the format, all others by name; nothing in it
 * can move a terminal's cursor.
 */
export function serializeRecord(record: AuditRecord): string {
  const rank = (key: string) => (KEY_ORDER.includes(key) ? KEY_ORDER.indexOf(key) : KEY_ORDER.length);
  const keys = Object.keys(record).sort((a, b) => rank(a) - rank(b) || compareText(a, b));
  const facts: Readonly<Record<string, unknown>> = { ...record };
  // Escapes of `printable` are JSON's own, and what they stand for can only be inside JSON's strings.
  return printable(JSON.stringify(Object.fromEntries(keys.map((key) => [key, sorted(facts[key])]))));
}

/** Reads one line; `null` for anything that is no whole record of a version and event that we know. */
export function parseRecord(line: string): AuditRecord | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  return isRecord(value) ? value : null;
}

function isRecord(value: unknown): value is AuditRecord {
  if (typeof value !== "object" || value === null) {
    return false;
  }
  const { v, seq, at, event, who, what } = value as Readonly<Record<string, unknown>>;
  return (
    v === 1 &&
    Number.isSafeInteger(seq) &&
    typeof at === "string" &&
    typeof event === "string" &&
    Object.hasOwn(EVENTS, event) &&
    typeof who === "string" &&
    typeof what === "string"
  );
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(sorted);
  }
  if (typeof value !== "object" || value === null) {
    return value;
  }
  const entries = Object.entries(value).sort(([a], [b]) => compareText(a, b));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
