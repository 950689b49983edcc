/**
 * The shape of what every rule may say about its devices, whatever its mode: the file's words for
 * core's `RuleTraits`, with the same defaults.
 */
import { z } from "zod";
import {
  COMPANION_CHOICES,
  DEFAULT_TRAITS,
  FOLLOW_CHOICES,
  PLUG_CHOICES,
  RELEASE_CHOICES,
  UNIT_KINDS,
} from "../core/policy.js";
import { choice, flag, hexId, integer, propertyValue, qemuId, serialNumber } from "./scalars.js";

const HIGHEST_PRIORITY = 1_000_000;

const expectation = z.strictObject(
  {
    vendor: hexId.optional(),
    device: hexId.optional(),
    subsystemVendor: hexId.optional(),
    subsystemDevice: hexId.optional(),
    serial: serialNumber.optional(),
  },
  { error: "expected a map of ids, such as {vendor: 10de, device: 2204}" },
);

/** Keys of a rule, ready to be spread into its shape. */
export const traitKeys = {
  priority: integer(-HIGHEST_PRIORITY, HIGHEST_PRIORITY)
    .prefault(DEFAULT_TRAITS.priority)
    .describe("Higher goes first; rules of one priority go in the order of the file"),
  unit: choice(UNIT_KINDS).default(DEFAULT_TRAITS.unit).describe("What is claimed together, all or none"),
  companions: choice(COMPANION_CHOICES)
    .default(DEFAULT_TRAITS.companions)
    .describe("What becomes of unclaimed neighbours in the IOMMU group that are on a host driver"),
  onConflict: choice(["hold", "first"])
    .default(DEFAULT_TRAITS.onConflict)
    .describe(
      "When a rule of equal priority wants a device for another VM: nobody gets it, or the first rule",
    ),
  onNoMatch: choice(["wait", "warn", "fail"])
    .default(DEFAULT_TRAITS.onNoMatch)
    .describe("When nothing matches: wait in silence, say so, or make one-shot commands fail"),
  onRuleGone: choice(["detach", "keep"])
    .default(DEFAULT_TRAITS.onRuleGone)
    .describe("What becomes of its devices when the rule is taken out of the file"),
  whenDown: choice(["wait", "next"])
    .default(DEFAULT_TRAITS.whenDown)
    .describe("While the VM is down: keep its devices for it, or let the next rule have them"),
  preempt: flag
    .prefault(DEFAULT_TRAITS.preempt)
    .describe("Take devices out of VMs whose rule has a strictly lower priority"),
  release: choice(RELEASE_CHOICES)
    .default(DEFAULT_TRAITS.release)
    .describe("Where a device goes when its VM gives it back"),
  pin: choice(["learn"])
    .optional()
    .describe("Remember ids, serial and path of what is taken first, and demand them ever after"),
  follow: choice(FOLLOW_CHOICES)
    .default(DEFAULT_TRAITS.follow)
    .describe("What a pin sticks to when buses are renumbered; path and serial pin by themselves"),
  expect: expectation.optional().describe("What the card must be, or nothing is taken"),
  override: choice(["protected"])
    .optional()
    .describe("Take what the host needs: only with an exact address or path, and expect"),
  takeConfigured: flag
    .prefault(DEFAULT_TRAITS.takeConfigured)
    .describe("Take a device that is merely in use, such as a network interface that is up"),
  acceptUnsafe: flag
    .prefault(DEFAULT_TRAITS.acceptUnsafe)
    .describe("Take devices although the host does not keep their DMA and interrupts apart"),
  port: qemuId.optional().describe("Bus name of the port to use; any free one where this is not said"),
  plug: choice(PLUG_CHOICES)
    .default(DEFAULT_TRAITS.plug)
    .describe("Give each function a port of its own, or the functions of one card one port together"),
  acceptNoRoom: flag
    .prefault(DEFAULT_TRAITS.acceptNoRoom)
    .describe("Plug also into a port with too little address space for the device's BARs"),
  device: z
    .record(z.string(), propertyValue, { error: "expected a map of device_add properties" })
    .optional()
    .describe("More properties for device_add and -device, such as {rombar: 0}"),
} as const;
