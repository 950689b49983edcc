/**
 * The commands this program sends: one line in the map (types), one in the table (deadline, guard of the reply).
 *
 * A new command is one line in each, and a recording in fixtures/qmp that proves its guard.
 */

import { anything, type Guard } from "./guard.js";
import type { JsonValue } from "./json.js";
import {
  type CommandInfo,
  commandInfos,
  type EmptyResult,
  emptyResult,
  type MemoryInfo,
  memoryInfo,
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
  readonly id?: string;
  readonly bus?: string;
  readonly addr?: string;
  readonly [property: string]: JsonValue | undefined;
}

/** Command name -> what it takes and what it gives. */
export interface QmpCommands {
  readonly qmp_capabilities: { args: { readonly enable?: readonly string[] }; result: EmptyResult };
  readonly "query-status": { args: NoArguments; result: StatusInfo };
  readonly "query-name": { args: NoArguments; result: NameInfo };
  readonly "query-uuid": { args: NoArguments; result: UuidInfo };
  readonly "query-version": { args: NoArguments; result: VersionInfo };
  readonly "query-commands": { args: NoArguments; result: readonly CommandInfo[] };
  readonly "query-pci": { args: NoArguments; result: readonly PciInfo[] };
  readonly "query-memory-size-summary": { args: NoArguments; result: MemoryInfo };
  readonly "query-qmp-schema": { args: NoArguments; result: readonly SchemaInfo[] };
  readonly "qom-list": { args: { readonly path: string }; result: readonly ObjectPropertyInfo[] };
  readonly "qom-get": { args: { readonly path: string; readonly property: string }; result: unknown };
  readonly "qom-list-types": {
    args: { readonly implements?: string; readonly abstract?: boolean };
    result: readonly ObjectTypeInfo[];
  };
  /** `{}` means QEMU took the device, not that the guest did. */
  readonly device_add: { args: DeviceAddArguments; result: EmptyResult };
  /** `{}` means the guest was asked; only DEVICE_DELETED or absence in QOM means done. `id` may be a QOM path. */
  readonly device_del: { args: { readonly id: string }; result: EmptyResult };
  readonly system_reset: { args: NoArguments; result: EmptyResult };
  readonly stop: { args: NoArguments; result: EmptyResult };
  readonly cont: { args: NoArguments; result: EmptyResult };
  readonly quit: { args: NoArguments; result: EmptyResult };
}

export type QmpCommandName = keyof QmpCommands;
export type QmpArguments<K extends QmpCommandName> = QmpCommands[K]["args"];
export type QmpResult<K extends QmpCommandName> = QmpCommands[K]["result"];

/** How one command is waited for and its reply understood. */
export interface QmpCommandSpec<T> {
  readonly timeoutMs: number;
  readonly reply: Guard<T>;
}

const DEFAULT_TIMEOUT_MS = 5_000;
/** Pins guest memory and resets the device: seconds, on large guests far more, and the whole monitor stands still (facts.md 1.2). */
const DEVICE_ADD_TIMEOUT_MS = 120_000;
const DEVICE_DEL_TIMEOUT_MS = 30_000;

/** Deadlines and guards, one row per command. */
export const QMP_COMMANDS: { readonly [K in QmpCommandName]: QmpCommandSpec<QmpResult<K>> } = {
  qmp_capabilities: { timeoutMs: DEFAULT_TIMEOUT_MS, reply: emptyResult },
  "query-status": { timeoutMs: DEFAULT_TIMEOUT_MS, reply: statusInfo },
  "query-name": { timeoutMs: DEFAULT_TIMEOUT_MS, reply: nameInfo },
  "query-uuid": { timeoutMs: DEFAULT_TIMEOUT_MS, reply: uuidInfo },
  "query-version": { timeoutMs: DEFAULT_TIMEOUT_MS, reply: versionInfo },
  "query-commands": { timeoutMs: DEFAULT_TIMEOUT_MS, reply: commandInfos },
  "query-pci": { timeoutMs: DEFAULT_TIMEOUT_MS, reply: pciInfos },
  "query-memory-size-summary": { timeoutMs: DEFAULT_TIMEOUT_MS, reply: memoryInfo },
  "query-qmp-schema": { timeoutMs: DEFAULT_TIMEOUT_MS, reply: schemaInfos },
  "qom-list": { timeoutMs: DEFAULT_TIMEOUT_MS, reply: objectPropertyInfos },
  "qom-get": { timeoutMs: DEFAULT_TIMEOUT_MS, reply: anything },
  "qom-list-types": { timeoutMs: DEFAULT_TIMEOUT_MS, reply: objectTypeInfos },
  device_add: { timeoutMs: DEVICE_ADD_TIMEOUT_MS, reply: emptyResult },
  device_del: { timeoutMs: DEVICE_DEL_TIMEOUT_MS, reply: emptyResult },
  system_reset: { timeoutMs: DEFAULT_TIMEOUT_MS, reply: emptyResult },
  stop: { timeoutMs: DEFAULT_TIMEOUT_MS, reply: emptyResult },
  cont: { timeoutMs: DEFAULT_TIMEOUT_MS, reply: emptyResult },
  quit: { timeoutMs: DEFAULT_TIMEOUT_MS, reply: emptyResult },
};
