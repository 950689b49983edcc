/**
 * The shape of the operator's file: keys, defaults and what each value may be.
 *
 * Owns no meaning beyond one value: names that must agree and selectors are policy.ts. Unknown keys are errors.
 */
import { z } from "zod";
import { count, duration, flag, name, patterns, socketPath } from "./scalars.js";

const MOST_DETACHED = 65_535;
const SHORTEST_RESCAN_MS = 1000;

const vm = z.strictObject({ name, qmp: socketPath }, { error: "expected a VM: name and qmp" });

/** The keys that core/selector.ts knows; a test holds the two together. */
const match = z.strictObject(
  {
    address: patterns.optional(),
    vendor: patterns.optional(),
    device: patterns.optional(),
    class: patterns.optional(),
  },
  { error: "expected a map of what to match: address, vendor, device, class" },
);

const rule = z.strictObject(
  {
    name,
    match,
    mode: z.literal("batch", { error: "expected batch" }).default("batch"),
    vm: z.string({ error: "expected the name of a VM" }),
  },
  { error: "expected a rule: name, match and vm" },
);

const limits = z.strictObject(
  {
    detachPerChange: count(MOST_DETACHED).default(1),
    keepAfterVmGone: duration(0).default(60_000),
  },
  { error: "expected a map of limits" },
);

const sources = z.strictObject(
  {
    udevadm: flag.default(true),
    udevDatabase: flag.default(true),
    sysfsPolling: z
      .union([z.literal("auto"), flag], { error: "expected true, false or auto" })
      .default("auto"),
    rescan: z
      .union([z.literal("off").transform(() => null), duration(SHORTEST_RESCAN_MS)], {
        error: "expected a duration of at least 1s, such as 30s, or off",
      })
      .default(30_000),
  },
  { error: "expected a map of watch sources" },
);

const file = z.strictObject(
  {
    vms: z.array(vm, { error: "expected a list of VMs" }),
    rules: z.array(rule, { error: "expected a list of rules" }),
    limits: limits.prefault({}),
    sources: sources.prefault({}),
  },
  { error: "expected a map with vms and rules" },
);

/** The file as a whole. */
export const configSchema = file;

/** What the file says, with its defaults. */
export type ConfigFile = z.output<typeof configSchema>;

const keysByPlace: Readonly<Record<string, readonly string[]>> = {
  "": Object.keys(file.shape),
  "vms.*": Object.keys(vm.shape),
  "rules.*": Object.keys(rule.shape),
  "rules.*.match": Object.keys(match.shape),
  limits: Object.keys(limits.shape),
  sources: Object.keys(sources.shape),
};

/** The keys that the map at this path may have. */
export function keysAt(path: readonly PropertyKey[]): readonly string[] {
  const place = path.map((part) => (typeof part === "number" ? "*" : String(part))).join(".");
  return keysByPlace[place] ?? [];
}
