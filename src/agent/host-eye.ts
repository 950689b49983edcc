/**
 * The agent's one eye on the host: looks never overlap, so that an older look can never come in after a newer one.
 */
import type { PciAddress } from "../core/address.js";
import type { Device } from "../core/device.js";
import type { DmaSafety, Protection } from "../core/protection.js";
import type { Signal } from "../core/signal.js";

/** What a look consists of. */
export interface HostLook {
  readonly scan: () => Promise<readonly Device[]>;
  readonly protections: (devices: readonly Device[]) => Promise<ReadonlyMap<PciAddress, Protection>>;
  /** What is weak about this host's isolation of devices. */
  readonly dma: () => DmaSafety;
  readonly now: () => number;
}

type LookSource = HostSeen["source"];
type HostSeen = Extract<Signal, { kind: "host-seen" }>;

export class HostEye {
  readonly #how: HostLook;
  #last: Promise<unknown> = Promise.resolve();
  /** A look that is asked for but has not begun: it will see everything that has happened until then. */
  #waiting: Promise<HostSeen> | null = null;

  constructor(how: HostLook) {
    this.#how = how;
  }

  /**
   * Looks at the whole host, beginning after this call.
   *
   * Calls that wait for the same look share it, under the name of the source that asked first.
   */
  look(source: LookSource): Promise<HostSeen> {
    if (this.#waiting !== null) {
      return this.#waiting;
    }
    const look = this.#last.then(() => {
      this.#waiting = null;
      return this.#lookNow(source);
    });
    this.#waiting = look;
    this.#last = look.catch(() => undefined);
    return look;
  }

  async #lookNow(source: LookSource): Promise<HostSeen> {
    const devices = await this.#how.scan();
    const protections = await this.#how.protections(devices);
    return { kind: "host-seen", atMs: this.#how.now(), source, devices, protections, dma: this.#how.dma() };
  }
}
