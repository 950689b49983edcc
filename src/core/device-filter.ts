/** What the keys `lspci` and `when` are made of: a question about several facts of a device at once. */

import type { PciAddress } from "./address.js";
import type { SelectableDevice } from "./selector.js";
import type { Verdict } from "./verdict.js";
import type { FactWishes } from "./wishes.js";

/** A compiled filter over a whole device. */
export interface DeviceFilter {
  readonly verdictOf: (device: SelectableDevice) => Verdict;
  /** What is not known; asked only where the verdict is `unknown`. */
  readonly whyUnknown: (device: SelectableDevice) => string;
  /** The facts that it looked at, for a person. */
  readonly showFacts: (device: SelectableDevice) => string;
  readonly isWildcardOnly: boolean;
  readonly exactAddress?: PciAddress | undefined;
  readonly wishes: FactWishes;
}
