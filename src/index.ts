/** The public face of `pciplug`: the decisions, for whoever wants to make them without the agent. */
export { formatIssues, parseConfig } from "./config/load.js";
export { compareAddresses, type PciAddress, parseAddress } from "./core/address.js";
export { assign } from "./core/assign.js";
export type { Assignment } from "./core/assignment.js";
export type { Device } from "./core/device.js";
export {
  compileAddressPattern,
  compileLspciFilter,
  compilePattern,
  PatternError,
} from "./core/face.js";
export type { LspciDevice, LspciOption } from "./core/lspci.js";
export {
  type NovaAddressMap,
  type NovaRefusal,
  type NovaSpec,
  translateNovaPhysicalAddress,
  translateNovaSpec,
} from "./core/nova.js";
export { type Plan, planAll } from "./core/plan.js";
export type { Policy } from "./core/policy.js";
export {
  compileSelector,
  evaluateSelector,
  type RawSelector,
  type RawValue,
  type SelectableDevice,
  type Selector,
  type SelectorIssue,
  type SelectorVerdict,
} from "./core/selector.js";
export type { KeyVerdict } from "./core/selector-key.js";
export { emptyWorld, type World } from "./core/world.js";
