/**
 * The answers of the control socket: their shape, for the server that gives them and the client that checks them.
 * Versioned; keys are only ever added within a version, and a client passes over keys that it does not know.
 */
import { z } from "zod";
import { MONITOR_CHOICES, RULE_MODES, SOURCE_NAMES } from "../core/policy.js";

const attached = z.object({
  /** The host's address; `null` for a device that is not passed through from an address. */
  address: z.string().nullable(),
  /** QEMU id; `null` for a device without one. */
  id: z.string().nullable(),
  bus: z.string().nullable(),
  /** False: foreign, left alone (semantics.md 5). */
  ours: z.boolean(),
  /** Whether the guest has given it addresses; false: not (yet). */
  inUse: z.boolean().exactOptional(),
});

/** What the operator of a VM should know. */
const remark = z.object({
  kind: z.enum(["guest-needs-native-ports", "bar-unassigned"]),
  message: z.string(),
  address: z.string().exactOptional(),
});

/** A device that its VM was asked to let go of, and has not. */
const leaving = z.object({
  address: z.string(),
  id: z.string(),
  state: z.enum(["pending", "overdue"]),
  mode: z.enum(["acpi", "native", "unknown"]),
  times: z.number(),
  since: z.string(),
  lastAsked: z.string(),
  forMs: z.number(),
});

/** A VM as it was last seen. */
export const vm = z.object({
  name: z.string(),
  state: z.enum(["unknown", "absent", "unreachable", "up"]),
  runState: z.string().optional(),
  /** QEMU's word for a migration that is under way. */
  migration: z.string().exactOptional(),
  machine: z.string().optional(),
  pid: z.number().optional(),
  reason: z.string().optional(),
  ports: z.object({ free: z.number(), plugged: z.number(), unusable: z.number() }).optional(),
  remarks: z.array(remark).readonly().exactOptional(),
  attached: z.array(attached).readonly(),
});

/** A VM with what the running agent knows of it; agents older than these keys leave them out. */
const vmStatus = vm.extend({
  /** Path of its QMP socket. */
  socket: z.string().optional(),
  monitor: z.enum(MONITOR_CHOICES).optional(),
  /** The path with `{vm}` that it comes from. */
  pattern: z.string().optional(),
  process: z
    .object({
      pid: z.number(),
      uid: z.number(),
      gid: z.number(),
      /** `null`: no limit. */
      memlockBytes: z.number().nullable(),
      executable: z.string().nullable(),
      cgroup: z.string().nullable(),
    })
    .optional(),
  /** What it was asked to let go of, and has not. */
  leaving: z.array(leaving).readonly().exactOptional(),
  /** When its machine was reset last, by its guest or from outside. */
  lastReset: z.object({ at: z.string(), byGuest: z.boolean() }).exactOptional(),
  /** What went wrong last, also when all is well again. */
  lastError: z.object({ at: z.string(), message: z.string() }).nullish(),
});

const device = z.object({
  address: z.string(),
  vendor: z.string().nullable(),
  device: z.string().nullable(),
  class: z.string().nullable(),
  driver: z.string().nullable(),
  iommuGroup: z.number().nullable(),
  vm: z.string().nullable(),
  state: z.enum(["attached", "foreign", "bound", "waiting", "held"]),
  /** Why it waits, as one sentence. */
  held: z.string().nullable(),
  /** How far it is on its way into its VM, each a fact of its own. `seen` is `null` where it cannot be told. */
  passage: z
    .object({
      leased: z.boolean(),
      bound: z.boolean(),
      sent: z.boolean(),
      taken: z.boolean(),
      seen: z.boolean().nullable(),
    })
    .exactOptional(),
});

/** A device and the VM that is to have it. */
export const assignment = z.object({
  address: z.string(),
  vm: z.string(),
  rule: z.string(),
  /** The VM has it and keeps it, though a fresh start would decide otherwise (semantics.md 4). */
  kept: z.literal("sticky").exactOptional(),
});

/** What a rule came to. */
export const rule = z.object({
  name: z.string(),
  mode: z.enum(RULE_MODES),
  onNoMatch: z.enum(["wait", "warn", "fail"]),
  matches: z.number(),
  got: z.number(),
  /** A select rule that cannot have its minimum. */
  short: z
    .object({ needed: z.number(), found: z.number(), holders: z.array(z.string()).readonly() })
    .exactOptional(),
  /** Devices on which it has no answer, and the facts for want of which. */
  open: z.object({ devices: z.number(), why: z.array(z.string()).readonly() }).exactOptional(),
});

/** A device that waits, and why. */
export const held = z.object({
  address: z.string(),
  vm: z.string().nullable(),
  rule: z.string().nullable(),
  reason: z.object({ kind: z.string(), message: z.string() }),
});

/** GET /v1/status */
export const statusResponse = z.object({
  schema: z.literal("pciplug-status/1"),
  agent: z.object({
    version: z.string(),
    pid: z.number(),
    bootId: z.string(),
    mode: z.enum(["act", "observe"]),
    /** ISO 8601, UTC. */
    startedAt: z.string(),
  }),
  /** Absent from agents older than the key. */
  policy: z
    .object({
      file: z.string(),
      /** Digest of the file's text. */
      version: z.string(),
      loadedAt: z.string(),
      /** Why the file as it is now was not taken: the last good policy stays. */
      refused: z.object({ at: z.string(), reasons: z.array(z.string()).readonly() }).nullable(),
    })
    .nullish(),
  sources: z
    .array(
      z.object({ name: z.enum(SOURCE_NAMES), state: z.enum(["up", "missing", "off"]), detail: z.string() }),
    )
    .readonly(),
  vms: z.array(vmStatus).readonly(),
  devices: z.array(device).readonly(),
});

/** GET /v1/plan */
export const planResponse = z.object({
  schema: z.literal("pciplug-plan/1"),
  source: z.enum(["agent", "offline"]),
  steps: z
    .array(
      z.object({
        kind: z.enum([
          "bind",
          "attach",
          "detach",
          "reset",
          "release",
          "forget",
          "quarantine",
          "renew",
          "adopt",
          "raise-memlock",
        ]),
        vm: z.string(),
        addresses: z.array(z.string()).readonly(),
        why: z.string().optional(),
      }),
    )
    .readonly(),
  /** Who is to have what, whether it is there already or not. */
  assignments: z.array(assignment).readonly(),
  held: z.array(held).readonly(),
  /** Every rule, in file order, with the number of devices that it matches and gives to VMs now. */
  rules: z.array(rule).readonly(),
  /** About the VMs that answer. */
  remarks: z
    .array(remark.extend({ vm: z.string() }))
    .readonly()
    .exactOptional(),
});

/** Body of POST /v1/reload; none at all is the same as an empty object. */
export const reloadRequest = z.strictObject({
  /** Whether what the file takes from VMs is meant (`limits.detachPerChange`). */
  confirm: z.boolean().optional(),
});

/** POST /v1/reload */
export const reloadResponse = z.object({
  schema: z.literal("pciplug-reload/1"),
  /** Whether the file as it is now is in force. */
  applied: z.boolean(),
  /** Whether anything was new to the agent. */
  changed: z.boolean(),
  /** Of the policy in force. */
  version: z.string(),
  /** What is wrong with the file; empty when it was applied. */
  issues: z
    .array(
      z.object({
        path: z.string(),
        line: z.number().nullable(),
        column: z.number().nullable(),
        key: z.string(),
        message: z.string(),
        hint: z.string().exactOptional(),
        source: z.string().exactOptional(),
      }),
    )
    .readonly(),
  /** Devices that the policy in force would take from VMs but may not. */
  held: z.array(held).readonly(),
});

/** Any answer that is not 200. Decide by `code`; `message` is for people. */
export const errorResponse = z.object({ error: z.object({ code: z.string(), message: z.string() }) });

export type StatusResponse = z.infer<typeof statusResponse>;
export type PlanResponse = z.infer<typeof planResponse>;
export type ReloadRequest = z.infer<typeof reloadRequest>;
export type ReloadResponse = z.infer<typeof reloadResponse>;
export type ErrorResponse = z.infer<typeof errorResponse>;
