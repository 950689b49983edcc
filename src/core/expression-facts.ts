/**
 * What an expression of `when` can speak of: the selector's keys as variables, and what stands behind each.
 *
 * Ids and addresses are text; numaNode, iommuGroup and memory (bytes) are whole numbers; isVf and bootVga are true or
 * false; udev and sysfs are maps. A fact that is known to be absent is the empty text, and -1 for iommuGroup.
 * One that is not known cannot be read at all: reading it throws, and so leaves the expression open (semantics.md 3).
 */

import {
  FACT_KEYS,
  type Fact,
  type FactKey,
  factOf,
  sysfsFactOf,
  udevFactOf,
  whyAttributeUnknown,
  whyUdevUnknown,
  whyUnknown,
} from "./fact.js";
import type { SelectableDevice } from "./selector.js";

/** Thrown inside of an evaluation where it touches what is not known; the message says what that is. */
export class FactUnknownError extends Error {}

export const MAP_NAMES = ["udev", "sysfs"] as const;
export type MapName = (typeof MAP_NAMES)[number];

/** The facts that one expression reads. */
export interface FactUses {
  readonly keys: readonly FactKey[];
  readonly udev: readonly string[];
  readonly sysfs: readonly string[];
}

type FactType = "string" | "int" | "bool";
type FactValue = string | bigint | boolean;

const NUMBERS: readonly FactKey[] = ["numaNode", "iommuGroup", "memory"];
const FLAGS: readonly FactKey[] = ["isVf", "bootVga"];
const NO_IOMMU_GROUP = -1n;

/** The type that an expression sees a fact as. */
export function typeOfFact(key: FactKey): FactType {
  if (NUMBERS.includes(key)) {
    return "int";
  }
  return FLAGS.includes(key) ? "bool" : "string";
}

/** The variables of one device, as far as they are used. Reading one that is not known throws FactUnknownError. */
export function variablesOf(device: SelectableDevice, uses: FactUses): Record<string, unknown> {
  const variables: Record<string, unknown> = {};
  for (const key of uses.keys) {
    put(variables, key, valueOfFact(key, device), () => whyUnknown(key, device));
  }
  if (uses.udev.length > 0) {
    put(variables, "udev", propertiesOf(device, uses.udev), () => whyUdevUnknown(device));
  }
  if (uses.sysfs.length > 0) {
    variables["sysfs"] = attributesOf(device, uses.sysfs);
  }
  return variables;
}

/** The facts that an expression read, for a person: `numaNode=1 driver=nvme sysfs.d3cold_allowed=?`. */
export function showUses(device: SelectableDevice, uses: FactUses): string {
  const shown: [name: string, fact: Fact][] = [
    ...uses.keys.map((key): [string, Fact] => [key, factOf(key, device)]),
    ...uses.udev.map((name): [string, Fact] => [`udev.${name}`, udevFactOf(name, device)]),
    ...uses.sysfs.map((name): [string, Fact] => [`sysfs.${name}`, sysfsFactOf(name, device)]),
  ];
  return shown.map(([name, fact]) => `${name}=${fact === undefined ? "?" : (fact ?? "none")}`).join(" ");
}

/** Whether a name is that of a variable over one fact. */
export function isFactName(name: string): name is FactKey {
  return FACT_KEYS.includes(name as FactKey);
}

/** Whether a name is that of a map. */
export function isMapName(name: string): name is MapName {
  return MAP_NAMES.includes(name as MapName);
}

function valueOfFact(key: FactKey, device: SelectableDevice): FactValue | undefined {
  const fact = factOf(key, device);
  // Four digits say nothing about the programming interface; comparing them with six would answer no for "not known".
  if (fact === undefined || (key === "class" && fact?.length === 4)) {
    return undefined;
  }
  switch (typeOfFact(key)) {
    case "int":
      return fact === null ? NO_IOMMU_GROUP : BigInt(fact);
    case "bool":
      return fact === "true";
    case "string":
      return fact ?? "";
  }
}

function propertiesOf(
  device: SelectableDevice,
  names: readonly string[],
): Record<string, unknown> | undefined {
  if (device.udev === undefined) {
    return undefined;
  }
  const known = names.map((name) => [name, udevFactOf(name, device)] as const);
  return Object.fromEntries(known.filter(([, fact]) => typeof fact === "string"));
}

/** Attributes are read one by one, so that one of them may be known where another is not. */
function attributesOf(device: SelectableDevice, names: readonly string[]): Record<string, unknown> {
  const attributes: Record<string, unknown> = {};
  for (const name of names) {
    const fact = sysfsFactOf(name, device);
    if (fact !== null) {
      put(attributes, name, fact, () => whyAttributeUnknown(name, device));
    }
  }
  return attributes;
}

function put(target: Record<string, unknown>, name: string, value: unknown, why: () => string): void {
  if (value !== undefined) {
    target[name] = value;
    return;
  }
  Object.defineProperty(target, name, {
    enumerable: true,
    get: () => {
      throw new FactUnknownError(why());
    },
  });
}
