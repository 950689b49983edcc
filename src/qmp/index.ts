/**
 * The public face of `pciplug/qmp`: a QMP client on node:net that knows nothing of PCI or of this program.
 */

export { connectQmp, QmpClient } from "./client.js";
export {
  type CapabilitiesArguments,
  type DeviceAddArguments,
  type DeviceDelArguments,
  type NoArguments,
  type ObjectArguments,
  type PropertyArguments,
  QMP_COMMANDS,
  type QmpArguments,
  type QmpCommandName,
  type QmpCommandSpec,
  type QmpCommands,
  type QmpResult,
  type TypeArguments,
} from "./commands.js";
export type { WaitLimits } from "./deadline.js";
export {
  QmpCommandError,
  type QmpConnectCode,
  QmpConnectError,
  QmpEventsLostError,
  QmpInterruptedError,
  type QmpProtocolCode,
  QmpProtocolError,
  QmpTimeoutError,
} from "./errors.js";
export type { QmpEventIterator, QmpEventsOptions } from "./event-stream.js";
export {
  type DeviceEventData,
  isQmpEvent,
  type NoEventData,
  type QmpEvent,
  type QmpEventName,
  type QmpEventOf,
  type QmpEvents,
  type RawQmpEvent,
  type ShutdownEventData,
} from "./events.js";
export type { Guard, Shape } from "./guard.js";
export type { JsonInteger, JsonValue } from "./json.js";
export type { QmpEventListener, RawQmpEventListener } from "./listeners.js";
export type {
  QmpCallOptions,
  QmpCallRest,
  QmpConnectOptions,
  QmpUnknown,
  RawArguments,
  RawCallOptions,
} from "./options.js";
export type { QmpAnswer } from "./pending.js";
export type { QmpGreeting } from "./protocol.js";
export {
  openWireRecording,
  QmpRecordingError,
  type WireRecording,
  type WireRecordingOptions,
} from "./recording.js";
export {
  parseWireRecording,
  type RecordedConnection,
  type RecordedMessage,
  startWireReplay,
  type WireReplay,
} from "./replay.js";
export type {
  CommandInfo,
  EmptyResult,
  MemoryInfo,
  NameInfo,
  ObjectPropertyInfo,
  ObjectTypeInfo,
  PciBridgeInfo,
  PciDeviceInfo,
  PciInfo,
  PciMemoryRegion,
  SchemaInfo,
  SchemaMember,
  SchemaVariant,
  StatusInfo,
  UuidInfo,
  VersionInfo,
} from "./results.js";
export type { QmpRunState } from "./run-state.js";
export { describeSchemaEntity, findSchemaMismatches, namesInUse, type QmpSchemaMismatch } from "./schema.js";
export { MAX_SOCKET_PATH_BYTES } from "./socket.js";
export type { QmpSilence } from "./socket-table.js";
export { describeClose, type QmpCloseReason, type WireRecord, type WireTap } from "./wire.js";
