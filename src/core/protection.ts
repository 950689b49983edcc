/**
 * Whether the host needs a device, as the rules see it: a verdict that host/ gathers and the decisions obey
 * (semantics.md 8).
 */

/** Why a device is not simply taken. */
export interface Protection {
  /** For people, completing "protected: ". */
  readonly because: string;
  /** `hard`: the host stands on it. `soft`: it is in use, and a rule may say `takeConfigured: true`. */
  readonly level: "hard" | "soft";
  /** False: no override ever lifts it (bridges, what the root file system or the agent's own state stands on). */
  readonly isLiftable: boolean;
}

/** How well the host keeps a device's DMA and interrupts inside its VM. */
export interface DmaSafety {
  /** Each a sentence about what is weak, such as `allow_unsafe_interrupts is on`; empty on a sound host. */
  readonly weaknesses: readonly string[];
}
