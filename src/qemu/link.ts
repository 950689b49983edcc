/**
 * The standing link to one VM, for as long as anybody subscribes: connected all the time to a dedicated monitor, for
 * moments to a shared one.
 *
 * Promises: nothing is asked without a reason; while there is no connection, the socket file is watched and, where that
 * is not left to others, tried in growing intervals; whatever is called at whatever moment comes back within its deadline. Whose VM it is and
 * what it should have is not known here.
 */
import { Observable, share } from "rxjs";
import type { PciAddress } from "../core/address.js";
import type { Outcome, Placement } from "../core/step.js";
import type { VmStatus } from "../core/vm.js";
import { VmLine, type VmLinkOptions, type VmLinkSignal } from "./line.js";
import { SharedLine } from "./shared-line.js";

/** A link to one VM. Works only while `status$` is subscribed to; subscribers share one connection. */
export interface VmLink {
  /** Each new status, and each device that QEMU let go of. Unsubscribing closes everything. */
  readonly status$: Observable<VmLinkSignal>;
  /** Puts a device into a port. `cancelled` while there is no connection. */
  readonly attach: (placement: Placement) => Promise<Outcome>;
  /** Asks for a device back. `cancelled` while there is no connection. */
  readonly detach: (id: string, address: PciAddress) => Promise<Outcome>;
  /** Resets the machine. `cancelled` while there is no connection. */
  readonly reset: () => Promise<Outcome>;
  /** A fresh look; while there is no connection, why there is none. Not repeated on `status$`. */
  readonly look: () => Promise<VmStatus>;
  /** Whether somebody waits for what only a look at the VM shows. A dedicated monitor tells by itself. */
  readonly expectNews: (isExpected: boolean) => void;
}

/** Describes a link; it connects once `status$` is subscribed to. */
export function linkVm(options: VmLinkOptions): VmLink {
  const line = options.monitor === "shared" ? new SharedLine(options) : new VmLine(options);
  const status$ = new Observable<VmLinkSignal>((subscriber) => {
    const stop = new AbortController();
    line
      .keep((signal) => subscriber.next(signal), stop.signal)
      .catch((error: unknown) => subscriber.error(error));
    return () => stop.abort();
  });
  return {
    status$: status$.pipe(share()),
    attach: (placement) => line.attach(placement),
    detach: (id, address) => line.detach(id, address),
    reset: () => line.reset(),
    look: () => line.look(),
    expectNews: (isExpected) => line.expectNews(isExpected),
  };
}
