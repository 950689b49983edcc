/** The public face of `pciplug`: the decisions, for whoever wants to make them without the agent. */
export { formatIssues, parseConfig } from "./config/load.js";
export { compareAddresses, type PciAddress, parseAddress } from "./core/address.js";
export { type Assignment, assign } from "./core/assign.js";
export type { Device } from "./core/device.js";
export { compilePattern } from "./core/pattern.js";
export { type Plan, planAll } from "./core/plan.js";
export type { Policy } from "./core/policy.js";
export { compileSelector, evaluateSelector } from "./core/selector.js";
export { emptyWorld, type World } from "./core/world.js";
