/**
 * The shape of a rule: every key of every mode.
 *
 * Which keys go together, and with which mode, is rule.ts: there the sentences can say more than a schema could.
 */
import { z } from "zod";
import { type Count, GROUP_KEYS, RULE_MODES, SPREADS } from "../core/policy.js";
import { choice, integer, name, vmName } from "./scalars.js";
import { selector } from "./schema-selector.js";
import { traitKeys } from "./schema-traits.js";

/** More units than a host has functions. */
const MOST_UNITS = 65_535;
const HEAVIEST = 1000;

const COUNT = /^(\d{1,5})(?:-(\d{1,5})|(\+))?$/;
const COUNT_EXPECTED = 'expected a count: 2, "1-3", "2+" or {min: 1, max: 3}';

const count = z.union(
  [
    z.string().regex(COUNT, { error: COUNT_EXPECTED }).transform(toCount),
    z
      .number()
      .int()
      .min(0)
      .max(MOST_UNITS)
      .transform((units): Count => ({ min: units, max: units })),
    z
      .strictObject({
        min: integer(0, MOST_UNITS).default(1),
        max: integer(0, MOST_UNITS).optional(),
      })
      .transform(({ min, max }): Count => ({ min, max: max ?? Number.POSITIVE_INFINITY })),
  ],
  { error: COUNT_EXPECTED },
);

const preference = z.union(
  [
    choice(["numa", "address", "memory"]),
    z.strictObject({
      sameRootAs: z.string({ error: "expected the name of a rule" }).optional(),
      address: choice(["lowest", "highest"]).optional(),
      memory: choice(["largest", "smallest"]).optional(),
    }),
  ],
  {
    error: "expected numa, address, memory, {sameRootAs: rule}, {address: highest} or {memory: smallest}",
  },
);

const alternative = z.strictObject(
  {
    match: selector.optional().describe("Narrows the rule's own match"),
    count: count.optional().describe("How many units; 1 where this is not said"),
  },
  { error: "expected an alternative: match, count or both" },
);

const namedClass = z.strictObject(
  { name, match: selector, vm: vmName.optional() },
  { error: "expected a class: name and match" },
);

const target = z.union(
  [
    vmName,
    z.strictObject({
      vm: vmName,
      weight: integer(1, HEAVIEST).optional().describe("Share, for spread: weight"),
      max: integer(1, MOST_UNITS).optional().describe("Most units that this VM gets"),
    }),
  ],
  { error: "expected the name of a VM, or a map such as {vm: c, weight: 2, max: 4}" },
);

/** One rule of the file. */
export const rule = z.strictObject(
  {
    name: name.describe("What plan, explain and the audit log call it"),
    match: selector.optional().describe("Which devices; all keys must hold, of a list any value is enough"),
    when: selector.shape.when.describe("The same as match.when"),
    mode: choice(RULE_MODES)
      .default("batch")
      .describe("batch: every match goes to the VM; select: some of them; group: sorted, over several VMs"),
    vm: vmName.optional().describe("The VM that gets the devices (batch and select)"),
    count: count.optional().describe('select: how many units: 2, "1-3", "2+" or {min: 1, max: 3}'),
    prefer: z
      .array(preference, { error: "expected a list of preferences, such as [numa, {memory: smallest}]" })
      .optional()
      .describe("select: what is liked better, most important first; the lowest address breaks every tie"),
    alternatives: z
      .array(alternative, { error: "expected a list of alternatives" })
      .optional()
      .describe("select: ways to satisfy the rule, in order: the first that can be had"),
    by: choice(GROUP_KEYS).optional().describe("group: the fact that sorts the devices into classes"),
    classes: z
      .array(namedClass, { error: "expected a list of classes" })
      .optional()
      .describe("group: classes by selector; the first that matches counts"),
    to: z
      .record(z.string(), vmName, { error: 'expected a map of classes to VMs, such as {"0": a, "1": b}' })
      .optional()
      .describe("group: which class goes to which VM"),
    vms: z
      .array(target, { error: "expected a list of VMs" })
      .optional()
      .describe("group: the VMs over which the classes are spread"),
    spread: choice(SPREADS)
      .optional()
      .describe("group: how the classes are spread over vms; round-robin where this is not said"),
    ...traitKeys,
  },
  { error: "expected a rule: name, match and vm" },
);

function toCount(text: string): Count {
  const [, first, last, more] = COUNT.exec(text) ?? [];
  const min = Number(first);
  return { min, max: more === "+" ? Number.POSITIVE_INFINITY : Number(last ?? first) };
}
