/**
 * The shape of the operator's file: keys, defaults and what each value may be.
 *
 * Owns no meaning beyond one value: names that must agree, keys that contradict each other and selectors are
 * policy.ts and rule.ts. Unknown keys are errors.
 */
import { z } from "zod";
import { MONITOR_CHOICES } from "../core/policy.js";
import {
  choice,
  duration,
  executablePattern,
  flag,
  integer,
  name,
  qemuId,
  socketPath,
  userName,
} from "./scalars.js";
import { rule } from "./schema-rule.js";
import { selectors } from "./schema-selector.js";

const MOST_DETACHED = 65_535;
const MOST_NUMA_NODES = 1024;
const SHORTEST_RESCAN_MS = 1000;
/** Below that a guest that is merely slow would be reset. */
const SHORTEST_OVERDUE_MS = 10_000;
const MACHINE_EXPECTED = "expected a machine family, such as q35 or microvm";

const vm = z.strictObject(
  {
    name: name.optional(),
    qmp: socketPath.describe(
      "Path of the QMP socket (unix) that QEMU listens on; with {vm} in it, of the sockets of many VMs",
    ),
    monitor: choice(MONITOR_CHOICES)
      .optional()
      .describe("dedicated: the socket is for pciplug alone; shared: others use it, pciplug only visits it"),
    user: userName
      .optional()
      .describe("The user that QEMU runs as; nothing is said to anybody else's socket"),
    executable: executablePattern
      .optional()
      .describe(
        "Pattern over the path (or, without a slash, the file name) of the program that has to listen",
      ),
    numaNode: integer(0, MOST_NUMA_NODES - 1)
      .optional()
      .describe("The NUMA node it lives on, for rules that prefer close devices"),
    ports: z
      .array(qemuId, { error: "expected a list of ids of QEMU" })
      .min(1, { error: "expected at least one port" })
      .optional()
      .describe("Ids of its hot-plug ports, for arguments that are resolved before it starts"),
    machine: z
      .string({ error: MACHINE_EXPECTED })
      .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, { error: MACHINE_EXPECTED })
      .optional()
      .describe("Machine family, for arguments that are resolved before it starts"),
    raiseMemlock: flag
      .optional()
      .describe("Allow its QEMU to lock as much memory as its first device needs, where its limit is lower"),
    resetToComplete: z
      .union([z.literal("off").transform(() => undefined), duration(SHORTEST_OVERDUE_MS)], {
        error: "expected a duration of at least 10s, such as 2m, or off",
      })
      .optional()
      .describe(
        "Resets the machine when its guest has not let go of a device for so long; it loses what it has not saved",
      ),
  },
  { error: "expected a VM: name and qmp" },
);

const limits = z.strictObject(
  {
    detachPerChange: integer(0, MOST_DETACHED)
      .prefault(1)
      .describe("How many attached devices one change of the file may take from VMs"),
    keepAfterVmGone: duration(0)
      .prefault("60s")
      .describe("How long the cards of a vanished VM stay ready for its return"),
  },
  { error: "expected a map of limits" },
);

const sources = z.strictObject(
  {
    udevadm: flag.prefault(true).describe("Listen to udev's events"),
    udevDatabase: flag.prefault(true).describe("Watch udev's database in /run/udev/data"),
    sysfsPolling: z
      .union([z.literal("auto"), flag], { error: "expected true, false or auto" })
      .default("auto")
      .describe("Look at sysfs again and again; auto: only while no event source works"),
    rescan: z
      .union([z.literal("off").transform(() => null), duration(SHORTEST_RESCAN_MS)], {
        error: "expected a duration of at least 1s, such as 30s, or off",
      })
      .prefault("30s")
      .describe("Period of the full look, or off"),
  },
  { error: "expected a map of watch sources" },
);

/** The file as a whole. */
export const configSchema = z.strictObject(
  {
    vms: z.array(vm, { error: "expected a list of VMs" }).describe("The VMs that rules may give devices to"),
    rules: z
      .array(rule, { error: "expected a list of rules" })
      .describe("Which devices go to which VM; in this order where priorities are equal"),
    never: selectors.optional().describe("Devices that nobody gets, whatever a rule says"),
    allow: selectors.optional().describe("Where present, nothing outside of it is given to anybody"),
    protect: selectors.optional().describe("Devices that the host needs"),
    settle: duration(0)
      .prefault("2s")
      .describe("How long no device may have come or gone before select rules choose"),
    limits: limits.prefault({}).describe("What a change or a lost VM may cost"),
    sources: sources.prefault({}).describe("How devices that come and go are seen"),
  },
  { error: "expected a map with vms and rules" },
);

/** What the file says, with its defaults. */
export type ConfigFile = z.output<typeof configSchema>;
