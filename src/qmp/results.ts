/**
 * What QEMU returns, as far as this program reads it: one interface and one guard per reply.
 *
 * Names and meaning are those of the QEMU QMP reference manual; the recordings in fixtures/qmp prove that every
 * member named here exists. Members not named here are there at run time but not promised.
 */

import {
  anything,
  flag,
  type Guard,
  integer,
  lazy,
  listOf,
  objectOf,
  optional,
  record,
  text,
  wideInteger,
} from "./guard.js";
import type { JsonInteger } from "./json.js";

/** `{}`: the command was accepted, which is all it says. */
export type EmptyResult = Readonly<Record<string, unknown>>;
export const emptyResult: Guard<EmptyResult> = record;

/** query-status. `status` is QEMU's RunState: "running", "paused", "prelaunch", "inmigrate", "shutdown", ... */
export interface StatusInfo {
  readonly running: boolean;
  readonly status: string;
}
export const statusInfo = objectOf<StatusInfo>({ running: flag, status: text });

/** query-name; no `name` without -name. */
export interface NameInfo {
  readonly name?: string | undefined;
}
export const nameInfo = objectOf<NameInfo>({ name: optional(text) });

/** query-uuid; all zeros without -uuid. */
export interface UuidInfo {
  readonly UUID: string;
}
export const uuidInfo = objectOf<UuidInfo>({ UUID: text });

/** query-version and the greeting. `package` is the distributor's own words, possibly empty. */
export interface VersionInfo {
  readonly qemu: { readonly major: number; readonly minor: number; readonly micro: number };
  readonly package: string;
}
export const versionInfo = objectOf<VersionInfo>({
  qemu: objectOf<VersionInfo["qemu"]>({ major: integer, minor: integer, micro: integer }),
  package: text,
});

/** query-commands. */
export interface CommandInfo {
  readonly name: string;
}
export const commandInfos = listOf(objectOf<CommandInfo>({ name: text }));

/** query-memory-size-summary, bytes. */
export interface MemoryInfo {
  readonly "base-memory": JsonInteger;
  readonly "plugged-memory"?: JsonInteger | undefined;
}
export const memoryInfo = objectOf<MemoryInfo>({
  "base-memory": wideInteger,
  "plugged-memory": optional(wideInteger),
});

/** query-migrate; no `status` where there never was a migration. */
export interface MigrationInfo {
  readonly status?: string | undefined;
}
export const migrationInfo = objectOf<MigrationInfo>({ status: optional(text) });

/** One member of a QOM object (qom-list): `type` may be `child<DRIVER>` or `link<DRIVER>`. */
export interface ObjectPropertyInfo {
  readonly name: string;
  readonly type: string;
}
export const objectPropertyInfos = listOf(objectOf<ObjectPropertyInfo>({ name: text, type: text }));

/** One QOM type (qom-list-types). */
export interface ObjectTypeInfo {
  readonly name: string;
}
export const objectTypeInfos = listOf(objectOf<ObjectTypeInfo>({ name: text }));

/** One BAR of a device; `address` is -1 while the guest has decoding off (facts.md 2.2). `bar` 6 is the ROM. */
export interface PciMemoryRegion {
  readonly bar: number;
  readonly type: string;
  readonly size: JsonInteger;
  readonly address: JsonInteger;
}

/** One PCI function as the guest's configuration space shows it. `qdev_id` is "" for a device without id. */
export interface PciDeviceInfo {
  readonly bus: number;
  readonly slot: number;
  readonly function: number;
  readonly qdev_id: string;
  readonly class_info: { readonly class: number };
  readonly id: { readonly vendor: number; readonly device: number };
  readonly regions: readonly PciMemoryRegion[];
  readonly pci_bridge?: PciBridgeInfo | undefined;
}

/** `devices` is absent while the guest has given the bridge no secondary bus number (facts.md 2.2). */
export interface PciBridgeInfo {
  readonly bus: { readonly secondary: number };
  readonly devices?: readonly PciDeviceInfo[] | undefined;
}

/** One root bus (query-pci returns a list of them). */
export interface PciInfo {
  readonly bus: number;
  readonly devices: readonly PciDeviceInfo[];
}

const pciMemoryRegion = objectOf<PciMemoryRegion>({
  bar: integer,
  type: text,
  size: wideInteger,
  address: wideInteger,
});

const pciBridgeInfo: Guard<PciBridgeInfo> = objectOf<PciBridgeInfo>({
  bus: objectOf<PciBridgeInfo["bus"]>({ secondary: integer }),
  devices: optional(listOf(lazy(() => pciDeviceInfo))),
});

const pciDeviceInfo: Guard<PciDeviceInfo> = objectOf<PciDeviceInfo>({
  bus: integer,
  slot: integer,
  function: integer,
  qdev_id: text,
  class_info: objectOf<PciDeviceInfo["class_info"]>({ class: integer }),
  id: objectOf<PciDeviceInfo["id"]>({ vendor: integer, device: integer }),
  regions: listOf(pciMemoryRegion),
  pci_bridge: optional(pciBridgeInfo),
});

export const pciInfos = listOf(objectOf<PciInfo>({ bus: integer, devices: listOf(pciDeviceInfo) }));

/** One entity of QEMU's own description of its wire (query-qmp-schema); which members it has depends on `meta-type`. */
export interface SchemaInfo {
  readonly name: string;
  readonly "meta-type": string;
  readonly "arg-type"?: string | undefined;
  readonly "ret-type"?: string | undefined;
  readonly "element-type"?: string | undefined;
  readonly "json-type"?: string | undefined;
  readonly members?: readonly SchemaMember[] | undefined;
  /** Of an object type: which further members it has depends on another of its members. */
  readonly variants?: readonly SchemaVariant[] | undefined;
  /** Such as `deprecated` and `unstable`. */
  readonly features?: readonly string[] | undefined;
}

/**
 * One member of an object type; the members of an enum have only names, those of an alternate only types.
 * `default`, even when null, marks a member that may be left out.
 */
export interface SchemaMember {
  readonly name?: string | undefined;
  readonly type?: string | undefined;
  readonly default?: unknown;
}

/** The object type whose members an object has in one case. */
export interface SchemaVariant {
  readonly type: string;
}
export const schemaInfos = listOf(
  objectOf<SchemaInfo>({
    name: text,
    "meta-type": text,
    "arg-type": optional(text),
    "ret-type": optional(text),
    "element-type": optional(text),
    "json-type": optional(text),
    members: optional(
      listOf(
        objectOf<SchemaMember>({ name: optional(text), type: optional(text), default: optional(anything) }),
      ),
    ),
    variants: optional(listOf(objectOf<SchemaVariant>({ type: text }))),
    features: optional(listOf(text)),
  }),
);
