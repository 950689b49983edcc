/**
 * The events this program understands: a closed union, so a switch over it is checked for completeness.
 *
 * Events with another name, or with data that has another shape, are not QmpEvents; the client hands them to its
 * `onUnknown` hook and goes on. QMP keeps no history: what happens while nobody is connected is lost (facts.md 6).
 */

import { flag, type Guard, objectOf, optional, record, ShapeError, text } from "./guard.js";

/** The device an event is about; `device` is absent for a device without id. */
export interface DeviceEventData {
  readonly device?: string | undefined;
  readonly path: string;
}

/** Who caused a reset or shutdown: the guest or the host, and QEMU's word for it. */
export interface ShutdownEventData {
  readonly guest: boolean;
  readonly reason: string;
}

/** How far a migration is, in QEMU's word. */
export interface MigrationEventData {
  readonly status: string;
}

export type NoEventData = Readonly<Record<string, unknown>>;

/** Event name -> its data. */
export interface QmpEvents {
  /** The only proof that an unplug is done; also comes unasked when the guest ejects. */
  readonly DEVICE_DELETED: DeviceEventData;
  /** Never seen for PCI on x86 (facts.md 3.1): handle it, do not wait for it. */
  readonly DEVICE_UNPLUG_GUEST_ERROR: DeviceEventData;
  /** Several times for one reboot. */
  readonly RESET: ShutdownEventData;
  readonly SHUTDOWN: ShutdownEventData;
  readonly STOP: NoEventData;
  readonly RESUME: NoEventData;
  readonly POWERDOWN: NoEventData;
  readonly SUSPEND: NoEventData;
  readonly WAKEUP: NoEventData;
  readonly GUEST_PANICKED: NoEventData;
  /** Only where somebody has switched on the migration capability `events`: it is off by default. */
  readonly MIGRATION: MigrationEventData;
}

export type QmpEventName = keyof QmpEvents;

/** One event of a given name. */
export interface QmpEventOf<K extends QmpEventName> {
  readonly name: K;
  readonly data: QmpEvents[K];
  /** QEMU's wall clock, milliseconds since the epoch; undefined when QEMU could not tell. */
  readonly timestampMs: number | undefined;
}

/** Any event of the map, told apart by `name`. */
export type QmpEvent = { readonly [K in QmpEventName]: QmpEventOf<K> }[QmpEventName];

/** An event as it stands on the wire. */
export interface RawQmpEvent {
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly timestampMs: number | undefined;
}

const deviceEventData = objectOf<DeviceEventData>({ device: optional(text), path: text });
const migrationEventData = objectOf<MigrationEventData>({ status: text });
const shutdownEventData = objectOf<ShutdownEventData>({ guest: flag, reason: text });

/** Guards, one row per event. */
export const QMP_EVENTS: { readonly [K in QmpEventName]: Guard<QmpEvents[K]> } = {
  DEVICE_DELETED: deviceEventData,
  DEVICE_UNPLUG_GUEST_ERROR: deviceEventData,
  RESET: shutdownEventData,
  SHUTDOWN: shutdownEventData,
  STOP: record,
  RESUME: record,
  POWERDOWN: record,
  SUSPEND: record,
  WAKEUP: record,
  GUEST_PANICKED: record,
  MIGRATION: migrationEventData,
};

/** The event as one of the closed union, or undefined when this room does not understand it. */
export function recognizeEvent(raw: RawQmpEvent): QmpEvent | undefined {
  if (!Object.hasOwn(QMP_EVENTS, raw.name)) {
    return undefined;
  }
  const name = raw.name as QmpEventName;
  try {
    QMP_EVENTS[name](raw.data, name);
  } catch (error) {
    if (error instanceof ShapeError) {
      return undefined;
    }
    throw error;
  }
  return { name, data: raw.data, timestampMs: raw.timestampMs } as QmpEvent;
}

/** True when `event` is the named one; narrows its data. */
export function isQmpEvent<K extends QmpEventName>(
  event: QmpEvent,
  name: K,
): event is QmpEvent & QmpEventOf<K> {
  return event.name === name;
}
