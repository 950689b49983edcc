/** The keys `udev` and `sysfs`: maps from a name to the values wanted of it. All of the names must hold. */

import { err, ok } from "../base/result.js";
import { sysfsFactOf, udevFactOf, whyAttributeUnknown, whyUdevUnknown } from "./fact.js";
import type { RawValue, SelectorIssue, SelectorPath } from "./selector.js";
import { type CompiledKey, compileFact, type FactSource, type SelectorKey } from "./selector-key.js";
import { attributeRefusal } from "./sysfs-name.js";
import { compileTextPattern } from "./text-pattern.js";
import { NO_WISHES } from "./wishes.js";

const MAP_KEYS = ["udev", "sysfs"] as const;
type MapKey = (typeof MAP_KEYS)[number];

/** The names of udev properties: what is written before the `=` in its database. */
const PROPERTY = /^[^\s=]{1,128}$/;

const SOURCES: Readonly<Record<MapKey, (name: string) => Pick<FactSource, "factOf" | "why" | "wishes">>> = {
  udev: (name) => ({
    factOf: (device) => udevFactOf(name, device),
    why: whyUdevUnknown,
    wishes: { ...NO_WISHES, udev: true },
  }),
  sysfs: (name) => ({
    factOf: (device) => sysfsFactOf(name, device),
    why: (device) => whyAttributeUnknown(name, device),
    wishes: { ...NO_WISHES, attributes: [name] },
  }),
};

const EXAMPLES: Readonly<Record<MapKey, string>> = {
  udev: 'write a map such as {ID_PATH: "pci-0000:65:*"}',
  sysfs: 'write a map such as {current_link_width: "16"}',
};

/** Whether a key of a selector is one of these maps. */
export function isMapKey(key: string): key is MapKey {
  return MAP_KEYS.includes(key as MapKey);
}

/** Compiles one of these maps into a key for each of its names, or all that is wrong with it. */
export function compileMap(key: MapKey, written: RawValue, path: SelectorPath): readonly CompiledKey[] {
  if (typeof written !== "object" || written === null || Array.isArray(written)) {
    return [err([{ path, message: "expected a map of names and values", hint: EXAMPLES[key] }])];
  }
  const entries = Object.entries(written);
  return entries.length === 0
    ? [err([{ path, message: "names nothing", hint: EXAMPLES[key] }])]
    : entries.map(([name, value]) => compileEntry(key, name, value, path));
}

function compileEntry(key: MapKey, name: string, value: RawValue, map: SelectorPath): CompiledKey {
  const path = [...map, name];
  const refusal = refusalOf(key, name);
  if (refusal !== undefined) {
    return err<readonly SelectorIssue[]>([{ path, message: refusal }]);
  }
  const compiled = compileFact(
    {
      ...SOURCES[key](name),
      name: `${key}.${name}`,
      path,
      compile: compileTextPattern,
      canBeAbsent: true,
      isSpecific: true,
    },
    value,
  );
  return compiled.ok ? ok<SelectorKey>(compiled.value) : compiled;
}

function refusalOf(key: MapKey, name: string): string | undefined {
  if (key === "sysfs") {
    return attributeRefusal(name);
  }
  return PROPERTY.test(name) ? undefined : "is no name of a udev property";
}
