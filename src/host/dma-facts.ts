/** What weakens the walls between a device in a VM and the rest of the host (semantics.md 8). */
import type { DmaSafety } from "../core/protection.js";
import { readTextIfAny } from "./device-facts.js";
import type { HostRoot } from "./root.js";

const VFIO_TYPE1 = "vfio_iommu_type1";
const UNSAFE_INTERRUPTS = "allow_unsafe_interrupts";
/** How the kernel reads a switch (kernel: kstrtobool). */
const IS_ON = /^(y|t|1|on)/i;

/** The weaknesses that this host admits to, as of now; each a sentence. */
export function readDmaSafety(root: HostRoot): DmaSafety {
  const words = (readTextIfAny(root.cmdline()) ?? "").split(/\s+/).map(plainName);
  // The module's own file says what is in force; before it is loaded only the kernel line can.
  const loaded = readTextIfAny(root.moduleParameter(VFIO_TYPE1, UNSAFE_INTERRUPTS));
  const asked = words.findLast((word) => word.startsWith(`${VFIO_TYPE1}.${UNSAFE_INTERRUPTS}`));
  const isUnsafe = IS_ON.test(loaded ?? (asked === undefined ? "n" : (asked.split("=")[1] ?? "y")));
  const overrides = words.filter((word) => word.startsWith("pcie_acs_override"));
  const weaknesses = [
    ...(isUnsafe
      ? [
          `${VFIO_TYPE1}.${UNSAFE_INTERRUPTS} is on: a device in a VM can send the host any interrupt it likes`,
        ]
      : []),
    ...overrides.map(
      (word) => `${word} on the kernel line: IOMMU groups look smaller than what really keeps devices apart`,
    ),
  ];
  return { weaknesses };
}

/** In the names of parameters a dash is an underscore (kernel: parameq). */
function plainName(word: string): string {
  const [name = "", ...rest] = word.split("=");
  return [name.replaceAll("-", "_"), ...rest].join("=");
}
