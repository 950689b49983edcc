/**
 * The public face of `pciplug/qmp`: a QMP client on node:net that knows nothing of PCI or of this program.
 */

export { connectQmp, QmpClient } from "./client.js";
export {
  type DeviceAddArguments,
  type NoArguments,
  QMP_COMMANDS,
  type QmpArguments,
  type QmpCommandName,
  type QmpCommandSpec,
  type QmpCommands,
  type QmpResult,
} from "./commands.js";
export type { WaitLimits } from "./deadline.js";
export {
  QmpCommandError,
  type QmpConnectCode,
  QmpConnectError,
  QmpInterruptedError,
  type QmpProtocolCode,
  QmpProtocolError,
  QmpTimeoutError,
} from "./errors.js";
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
export type { JsonInteger, JsonValue } from "./json.js";
export type { QmpEventListener } from "./listeners.js";
export type { QmpCallOptions, QmpCallRest, QmpConnectOptions, QmpUnknown } from "./options.js";
export type { QmpAnswer } from "./pending.js";
export type { QmpGreeting } from "./protocol.js";
export {
  openWireRecording,
  QmpRecordingError,
  type WireRecording,
  type WireRecordingOptions,
} from "./recording.js";
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
  StatusInfo,
  UuidInfo,
  VersionInfo,
} from "./results.js";
export type { QmpRunState } from "./run-state.js";
export { MAX_SOCKET_PATH_BYTES } from "./socket.js";
export { describeClose, type QmpCloseReason, type WireRecord, type WireTap } from "./wire.js";
