/**
 * The ledger of ports that something is on its way into: what QEMU shows of them may be old (facts.md 1.2).
 *
 * An attach whose outcome is not known goes on in QEMU, so its ports stay in here until the VM was looked at again.
 */
import type { PciAddress } from "./address.js";
import type { Outcome, Step, StepOf } from "./step.js";
import { portKey, type VmStatus } from "./vm.js";
import { pairKey, type World } from "./world.js";

/** One port that something is on its way into. */
export interface PortInFlight {
  readonly vm: string;
  /** See {@link portKey}. */
  readonly port: string;
  readonly addresses: readonly PciAddress[];
  /** Whether the attach got no answer, and nobody has looked since. */
  readonly isUnknown: boolean;
}

type Ledger = World["portsInFlight"];

/** The ledger once a step has begun. */
export function noteInFlight(ledger: Ledger, step: Step): Ledger {
  return step.kind === "attach" ? withStep(ledger, step, false) : ledger;
}

/** The ledger once a step has ended: what came of it is known, or has to be looked at. */
export function settleInFlight(ledger: Ledger, step: Step, outcome: Outcome): Ledger {
  if (step.kind !== "attach") {
    return ledger;
  }
  if (outcome.kind === "timed-out") {
    return withStep(ledger, step, true);
  }
  const next = new Map(ledger);
  for (const placement of step.placements) {
    next.delete(pairKey(step.vm, portKey(placement)));
  }
  return next;
}

/** The ledger once a VM was looked at: only that answers what has become of an unknown outcome. */
export function landInFlight(ledger: Ledger, vm: string, status: VmStatus): Ledger {
  if (status.kind !== "up" && status.kind !== "absent") {
    return ledger;
  }
  const kept = [...ledger].filter(([, entry]) => entry.vm !== vm || !entry.isUnknown);
  return kept.length === ledger.size ? ledger : new Map(kept);
}

/** The ports of a VM that a device must not be put into now: others are on their way there, or nobody knows. */
export function portsClosedTo(
  world: Pick<World, "portsInFlight">,
  vm: string,
  addresses: readonly PciAddress[],
): ReadonlySet<string> {
  const closed = [...world.portsInFlight.values()].filter(
    (entry) =>
      entry.vm === vm && (entry.isUnknown || !entry.addresses.some((own) => addresses.includes(own))),
  );
  return new Set(closed.map((entry) => entry.port));
}

/** Bus name of the port that an attach without an answer was to put a device into; `undefined`: there is none. */
export function unansweredPortOf(
  world: Pick<World, "portsInFlight">,
  vm: string,
  address: PciAddress,
): string | undefined {
  const unanswered = [...world.portsInFlight.values()].find(
    (entry) => entry.vm === vm && entry.isUnknown && entry.addresses.includes(address),
  );
  return unanswered?.port.split(" ")[0];
}

function withStep(ledger: Ledger, step: StepOf<"attach">, isUnknown: boolean): Ledger {
  const next = new Map(ledger);
  for (const port of new Set(step.placements.map(portKey))) {
    const addresses = step.placements
      .filter((entry) => portKey(entry) === port)
      .map(({ address }) => address);
    next.set(pairKey(step.vm, port), { vm: step.vm, port, addresses, isUnknown });
  }
  return next;
}
