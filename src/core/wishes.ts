/** Facts that cost a read of their own, and so are read only where a rule asks for them (semantics.md 3). */

export interface FactWishes {
  readonly serial: boolean;
  readonly udev: boolean;
  /** Names of sysfs attributes. */
  readonly attributes: readonly string[];
}

export const NO_WISHES: FactWishes = { serial: false, udev: false, attributes: [] };
