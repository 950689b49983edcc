/** GET /v1/explain: `pciplug-explain/1`, as core/explanation.ts describes it. Versioned as the other answers are. */
import { z } from "zod";
import { RULE_MODES } from "../core/policy.js";
import { assignment, held, rule, vm } from "./schema.js";

const answer = { schema: z.literal("pciplug-explain/1"), source: z.enum(["agent", "offline"]) };
const reason = z.object({ kind: z.string(), message: z.string() });

const key = z.object({
  key: z.string(),
  verdict: z.enum(["match", "no-match", "unknown"]),
  wanted: z.array(z.string()).readonly(),
  actual: z.string().nullable().exactOptional(),
  why: z.string().exactOptional(),
  get keys() {
    return z.array(key).readonly().exactOptional();
  },
});

const outcome = z.object({
  kind: z.enum(["takes", "given", "held", "spare", "silent", "unknown", "no-match"]),
  vm: z.string().nullable(),
  reason: z.string().nullable(),
  message: z.string(),
});

const deviceOfRule = z.object({ address: z.string(), class: z.string().exactOptional(), outcome });
const step = z.object({
  kind: z.string(),
  vm: z.string(),
  addresses: z.array(z.string()).readonly(),
  why: z.string().exactOptional(),
});

const ruleOnDevice = z.object({
  name: z.string(),
  mode: z.enum(RULE_MODES),
  vms: z.array(z.string()).readonly(),
  priority: z.number(),
  verdict: z.enum(["match", "no-match", "unknown"]),
  keys: z.array(key).readonly(),
  outcome,
});

const groupMember = z.object({
  address: z.string(),
  class: z.string().exactOptional(),
  driver: z.string().nullable().exactOptional(),
  part: z.enum(["bridge", "member", "companion", "bystander", "protected", "held", "unclaimed"]),
  vm: z.string().nullable(),
});

const aboutDevice = z.object({
  ...answer,
  about: z.literal("device"),
  /** The facts, under the names of a recording. */
  device: z.looseObject({ address: z.string() }),
  verdict: z.object({
    kind: z.enum(["assigned", "held", "spare", "none"]),
    vm: z.string().nullable(),
    rule: z.string().nullable(),
    kept: z.literal("sticky").exactOptional(),
    reason: reason.nullable(),
    message: z.string(),
  }),
  exclusion: z.enum(["never", "not-allowed", "unknown"]).nullable(),
  protection: z
    .object({ because: z.string(), level: z.enum(["hard", "soft"]), isLiftable: z.boolean() })
    .nullable(),
  iommuGroup: z.object({ number: z.number(), members: z.array(groupMember).readonly() }).nullable(),
  rules: z.array(ruleOnDevice).readonly(),
  lease: z.object({ vm: z.string(), rule: z.string(), role: z.enum(["claimed", "companion"]) }).nullable(),
  inVm: z.object({ vm: z.string(), id: z.string().nullable(), ours: z.boolean() }).nullable(),
  order: z.string().nullable(),
  reservation: z.object({ vm: z.string(), detail: z.string(), endsInMs: z.number().nullable() }).nullable(),
  holds: z.array(z.object({ vm: z.string(), cause: z.string(), detail: z.string() })).readonly(),
  pins: z
    .array(z.object({ rule: z.string(), serial: z.string().nullable(), path: z.string().nullable() }))
    .readonly(),
  quarantine: z.string().nullable(),
  steps: z.array(step).readonly(),
});

const aboutVm = z.object({
  ...answer,
  about: z.literal("vm"),
  vm,
  obstacle: reason.nullable(),
  rules: z.array(rule.extend({ priority: z.number(), devices: z.array(deviceOfRule).readonly() })).readonly(),
  assignments: z.array(assignment).readonly(),
  held: z.array(held).readonly(),
  steps: z.array(step).readonly(),
});

const aboutRule = z.object({
  ...answer,
  about: z.literal("rule"),
  rule: rule.extend({ priority: z.number(), vms: z.array(z.string()).readonly() }),
  devices: z.array(deviceOfRule).readonly(),
  nearMisses: z.array(z.object({ address: z.string(), class: z.string().exactOptional(), key })).readonly(),
});

export const explainResponse = z.discriminatedUnion("about", [aboutDevice, aboutVm, aboutRule]);
export type ExplainResponse = z.infer<typeof explainResponse>;
