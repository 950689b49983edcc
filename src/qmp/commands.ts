/**
 * The commands this program sends: one line in the map (types), one in the table (deadline, arguments, reply).
 *
 * A new command is one line in each, and a recording in fixtures/qmp that proves its guard. `npm run qmp-schema` holds
 * both against what the installed QEMU says of itself.
 */

import { anything, flag, type Guard, listOf, objectOf, optional, text } from "./guard.js";
import type { JsonValue } from "./json.js";
import {
  type CommandInfo,
  commandInfos,
  type EmptyResult,
  emptyResult,
  type MemoryInfo,
  type MigrationInfo,
  memoryInfo,
  migrationInfo,
  type NameInfo,
  nameInfo,
  type ObjectPropertyInfo,
  type ObjectTypeInfo,
  objectPropertyInfos,
  objectTypeInfos,
  type PciInfo,
  pciInfos,
  type SchemaInfo,
  type StatusInfo,
  schemaInfos,
  statusInfo,
  type UuidInfo,
  uuidInfo,
  type VersionInfo,
  versionInfo,
} from "./results.js";

/** The arguments of a command that takes none. */
export type NoArguments = Readonly<Record<string, never>>;

/**
 * device_add: `driver` plus the properties of that device, named as on QEMU's command line.
 * Pass `bus` and `addr` always (facts.md 1).
 */
export interface DeviceAddArguments {
  readonly driver: string;
  readonly id?: string | undefined;
  readonly bus?: string | undefined;
  readonly addr?: string | undefined;
  readonly [property: string]: JsonValue | undefined;
}

/** qmp_capabilities. */
export type CapabilitiesArguments = {
  readonly enable?: readonly string[] | undefined;
};

/** qom-list: the QOM path of an object. */
export type ObjectArguments = {
  readonly path: string;
};

/** qom-get. */
export type PropertyArguments = ObjectArguments & { readonly property: string };

/** qom-list-types. Creates an instance of each type: mind facts.md 14 before asking a VM that matters. */
export type TypeArguments = {
  readonly implements?: string | undefined;
  readonly abstract?: boolean | undefined;
};

/** device_del: an id, or the QOM path of a device without one. */
export type DeviceDelArguments = {
  readonly id: string;
};

/** Command name -> what it takes and what it gives. */
export interface QmpCommands {
  readonly qmp_capabilities: { args: CapabilitiesArguments; result: EmptyResult };
  readonly "query-status": { args: NoArguments; result: StatusInfo };
  readonly "query-name": { args: NoArguments; result: NameInfo };
  readonly "query-uuid": { args: NoArguments; result: UuidInfo };
  readonly "query-version": { args: NoArguments; result: VersionInfo };
  readonly "query-commands": { args: NoArguments; result: readonly CommandInfo[] };
  readonly "query-pci": { args: NoArguments; result: readonly PciInfo[] };
  readonly "query-memory-size-summary": { args: NoArguments; result: MemoryInfo };
  readonly "query-migrate": { args: NoArguments; result: MigrationInfo };
  readonly "query-qmp-schema": { args: NoArguments; result: readonly SchemaInfo[] };
  readonly "qom-list": { args: ObjectArguments; result: readonly ObjectPropertyInfo[] };
  readonly "qom-get": { args: PropertyArguments; result: unknown };
  readonly "qom-list-types": { args: TypeArguments; result: readonly ObjectTypeInfo[] };
  /** `{}` means QEMU took the device, not that the guest did. */
  readonly device_add: { args: DeviceAddArguments; result: EmptyResult };
  /** `{}` means the guest was asked; only DEVICE_DELETED or absence in QOM means done. */
  readonly device_del: { args: DeviceDelArguments; result: EmptyResult };
  readonly system_reset: { args: NoArguments; result: EmptyResult };
  readonly stop: { args: NoArguments; result: EmptyResult };
  readonly cont: { args: NoArguments; result: EmptyResult };
  readonly quit: { args: NoArguments; result: EmptyResult };
}

export type QmpCommandName = keyof QmpCommands;
export type QmpArguments<K extends QmpCommandName> = QmpCommands[K]["args"];
export type QmpResult<K extends QmpCommandName> = QmpCommands[K]["result"];

/** How one command is waited for, what we give it, and how its reply is understood. */
export interface QmpCommandSpec<K extends QmpCommandName = QmpCommandName> {
  readonly timeoutMs: number;
  readonly args: Guard<QmpArguments<K>>;
  readonly reply: Guard<QmpResult<K>>;
}

/** The deadline of a command that has no other. */
export const DEFAULT_TIMEOUT_MS = 5_000;
/** Pins guest memory and resets the device: seconds, on large guests far more, and the whole monitor stands still (facts.md 1.2). */
const DEVICE_ADD_TIMEOUT_MS = 120_000;
const DEVICE_DEL_TIMEOUT_MS = 30_000;

const noArguments = objectOf<NoArguments>({});

/** The members that QEMU itself names; the properties of the device, `addr` among them, come on top. */
const deviceAddArguments = objectOf<{ driver: string; id: string | undefined; bus: string | undefined }>({
  driver: text,
  id: optional(text),
  bus: optional(text),
});

function row<K extends QmpCommandName>(
  args: Guard<QmpArguments<K>>,
  reply: Guard<QmpResult<K>>,
  timeoutMs = DEFAULT_TIMEOUT_MS,
): QmpCommandSpec<K> {
  return { args, reply, timeoutMs };
}

/** Arguments, guards and deadlines (milliseconds), one row per command. */
export const QMP_COMMANDS: { readonly [K in QmpCommandName]: QmpCommandSpec<K> } = {
  qmp_capabilities: row(objectOf<CapabilitiesArguments>({ enable: optional(listOf(text)) }), emptyResult),
  "query-status": row(noArguments, statusInfo),
  "query-name": row(noArguments, nameInfo),
  "query-uuid": row(noArguments, uuidInfo),
  "query-version": row(noArguments, versionInfo),
  "query-commands": row(noArguments, commandInfos),
  "query-pci": row(noArguments, pciInfos),
  "query-memory-size-summary": row(noArguments, memoryInfo),
  "query-migrate": row(noArguments, migrationInfo),
  "query-qmp-schema": row(noArguments, schemaInfos),
  "qom-list": row(objectOf<ObjectArguments>({ path: text }), objectPropertyInfos),
  "qom-get": row(objectOf<PropertyArguments>({ path: text, property: text }), anything),
  "qom-list-types": row(
    objectOf<TypeArguments>({ implements: optional(text), abstract: optional(flag) }),
    objectTypeInfos,
  ),
  device_add: row(deviceAddArguments, emptyResult, DEVICE_ADD_TIMEOUT_MS),
  device_del: row(objectOf<DeviceDelArguments>({ id: text }), emptyResult, DEVICE_DEL_TIMEOUT_MS),
  system_reset: row(noArguments, emptyResult),
  stop: row(noArguments, emptyResult),
  cont: row(noArguments, emptyResult),
  quit: row(noArguments, emptyResult),
};
