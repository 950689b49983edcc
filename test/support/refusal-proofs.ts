/**
 * For each refusal that is told apart, where a real QEMU was brought to say it: in test/qemu/refusals.test.ts, in a story
 * of the lab (with real vfio), or nowhere, and then why. contrib/doc/refusals.md has the same for readers.
 */
import type { RefusalRow } from "../../src/qemu/refusal.js";

export type Proof =
  | { readonly by: "qemu" }
  | { readonly by: "lab"; readonly story: string }
  | { readonly by: "nobody"; readonly why: string };

const qemu = { by: "qemu" } as const;
const sharedGroup = { by: "lab", story: "refused-groups" } as const;
const poorQemu = { by: "lab", story: "poor-qemu" } as const;

export const REFUSAL_PROOFS = {
  "bus-cannot-hotplug": qemu,
  "slot-invalid": qemu,
  "no-bus-of-its-kind": qemu,
  "bus-unknown": qemu,
  "bus-full": qemu,
  "slot-in-use": qemu,
  "function-0-live": qemu,
  "single-function": qemu,
  "id-in-use": qemu,
  "driver-unknown": qemu,
  "property-unknown": qemu,
  "address-malformed": qemu,
  "argument-wrong": qemu,
  "no-host-given": qemu,
  "guest-blinking": qemu,
  migrating: qemu,
  "unplug-pending": qemu,
  "machine-not-made": qemu,
  "device-absent": qemu,
  "no-iommu-group": qemu,
  "already-attached": sharedGroup,
  "group-not-viable": sharedGroup,
  memlock: poorQemu,
  "container-denied": poorQemu,
  "node-denied": poorQemu,
  "group-busy": sharedGroup,
  "not-bound": qemu,
  "not-probed": {
    by: "nobody",
    why: "a moment of the kernel, between the driver link and the end of its probe: met once in 142 attaches, and nothing makes it last",
  },
  "bus-path-wrong": qemu,
  "device-unknown": qemu,
  "not-negotiated": qemu,
} as const satisfies Readonly<Record<RefusalRow, Proof>>;
