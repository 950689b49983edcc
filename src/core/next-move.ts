/**
 * What follows from a refusal: the one table between why QEMU or the kernel said no and what is done next.
 *
 * qemu/refusal.ts finds the reason in QEMU's text, the steps give reasons of the host; nobody below compares texts.
 */

/** Why QEMU or the kernel said no. */
export type RefusalReason =
  | "port-occupied"
  | "port-unusable"
  | "id-in-use"
  | "device-absent"
  | "not-bound"
  | "no-iommu"
  | "node-access"
  | "container-access"
  | "group-busy"
  | "group-not-viable"
  | "already-attached"
  | "memlock"
  | "not-there"
  | "bad-arguments"
  | "guest-busy"
  | "guest-refused"
  | "unplug-pending"
  | "migrating"
  | "vm-not-ready"
  | "stuck"
  | "not-restored"
  | "not-in-vm"
  | "unknown";

/** What may help. */
export type NextMove =
  /** Another free port, at once; this one until something leaves it or the process ends. */
  | "other-port"
  /** Another free port, at once; this one never again in this process. */
  | "shun-port"
  /** Read what the VM has: it may be there already, and ours. */
  | "look-again"
  /** Once more after binding the device again, in the same step. */
  | "bind-again"
  /** Once more after giving the node to QEMU's user again, in the same step. */
  | "grant-node"
  /** Whoever has the IOMMU group open has to let go of it. */
  | "wait-for-holder"
  /** A neighbour in the IOMMU group has to leave its host driver. */
  | "free-sibling"
  /** The process has to be allowed to lock more memory. */
  | "raise-memlock"
  /** A moment: the guest is in the middle of something. */
  | "wait-a-moment"
  | "wait"
  /** Only a change of the device, the VM's process or the policy can help. */
  | "give-up";

/** The next move after each reason (facts.md 1.1). */
export const NEXT_MOVES: Readonly<Record<RefusalReason, NextMove>> = {
  "port-occupied": "other-port",
  "port-unusable": "shun-port",
  "id-in-use": "look-again",
  "device-absent": "give-up",
  "not-bound": "bind-again",
  "no-iommu": "give-up",
  "node-access": "grant-node",
  "container-access": "wait",
  "group-busy": "wait-for-holder",
  "group-not-viable": "free-sibling",
  "already-attached": "look-again",
  memlock: "raise-memlock",
  "not-there": "look-again",
  "bad-arguments": "give-up",
  "guest-busy": "wait-a-moment",
  "guest-refused": "wait",
  "unplug-pending": "wait",
  migrating: "wait",
  "vm-not-ready": "wait",
  stuck: "wait",
  "not-restored": "give-up",
  "not-in-vm": "give-up",
  unknown: "look-again",
};

/**
 * How long a pair of device and VM rests after a refusal. `none`: the next plan differs by itself. `moment`: 750 ms, some
 * times. `growing`: 1 s doubling to 5 min. `change`: until what it waits for has changed.
 */
export type Rest = "none" | "moment" | "growing" | "change";

/** The rest before each move. A move that was made within the step and did not help rests like the others. */
export const RESTS: Readonly<Record<NextMove, Rest>> = {
  "other-port": "none",
  "shun-port": "none",
  "look-again": "growing",
  "bind-again": "growing",
  "grant-node": "growing",
  "wait-for-holder": "growing",
  "free-sibling": "change",
  "raise-memlock": "change",
  "wait-a-moment": "moment",
  wait: "growing",
  "give-up": "change",
};
