/**
 * Ports of a VM that QEMU has refused although they look free: others are tried at once (next-move.ts). A mark lives no
 * longer than the process that spoke.
 */
import { NEXT_MOVES } from "./next-move.js";
import type { Outcome, Step } from "./step.js";
import { portKey, processKey, type VmStatus, type VmView } from "./vm.js";
import { pairKey, vmStatus, type World } from "./world.js";

/** A port that QEMU has refused. */
export interface ShunnedPort {
  readonly vm: string;
  /** See {@link portKey}. */
  readonly port: string;
  /** The process that has refused it. */
  readonly process: string | null;
  /** Whether it may be free again once something has left the VM: it was occupied, not unusable. */
  readonly isOccupied: boolean;
  /** QEMU's words. */
  readonly why: string;
}

type Marks = World["shunnedPorts"];

/**
 * The marks after a refusal for a port's sake. `null`: the refusal is no port's, or nothing new follows from it, so that
 * the next attempt would be the same one.
 */
export function noteShunned(world: World, step: Step, outcome: Outcome): Marks | null {
  const placement =
    step.kind === "attach" && outcome.kind === "refused"
      ? step.placements.find(({ address }) => address === outcome.at)
      : undefined;
  const move = outcome.kind === "refused" ? NEXT_MOVES[outcome.reason] : "wait";
  if (
    placement === undefined ||
    outcome.kind !== "refused" ||
    (move !== "other-port" && move !== "shun-port")
  ) {
    return null;
  }
  const status = vmStatus(world, step.vm);
  const port = portKey(placement);
  const key = pairKey(step.vm, port);
  const view = status.kind === "up" ? status.view : null;
  const isFree = view?.ports.some((entry) => portKey(entry) === port && entry.state.kind === "free") === true;
  if (world.shunnedPorts.has(key)) {
    return null;
  }
  if (move === "other-port" && !isFree && view !== null) {
    // The look after the refusal shows it occupied: that is enough, but for a card that has begun to go in there.
    return placement.addr.includes(".") ? null : world.shunnedPorts;
  }
  return new Map(world.shunnedPorts).set(key, {
    vm: step.vm,
    port,
    process: view === null ? null : processKey(view.process),
    isOccupied: move === "other-port",
    why: outcome.detail,
  });
}

/** The marks once a VM was looked at: another process knows nothing of them, and what is seen occupied needs none. */
export function liftSeen(marks: Marks, vm: string, status: VmStatus): Marks {
  if (status.kind !== "up" && status.kind !== "absent") {
    return marks;
  }
  const isInForce = (mark: ShunnedPort): boolean =>
    status.kind === "up" &&
    isOfProcess(mark, status.view) &&
    !(mark.isOccupied && stateOf(status.view, mark) === "plugged");
  return kept(marks, (mark) => mark.vm !== vm || isInForce(mark));
}

/** The marks once something has left a VM: what was occupied may be free. */
export function liftOccupied(marks: Marks, vm: string): Marks {
  return kept(marks, (mark) => mark.vm !== vm || !mark.isOccupied);
}

/** A VM as it was seen, with the refused ports as unusable. */
export function withShunned(world: Pick<World, "shunnedPorts">, vm: string, view: VmView): VmView {
  const marks = new Map(
    [...world.shunnedPorts.values()]
      .filter((mark) => mark.vm === vm && isOfProcess(mark, view))
      .map((mark) => [mark.port, mark] as const),
  );
  if (marks.size === 0) {
    return view;
  }
  const ports = view.ports.map((port) => {
    const mark = port.state.kind === "free" ? marks.get(portKey(port)) : undefined;
    const reason = `QEMU refused it: ${mark?.why}`;
    return mark === undefined ? port : { ...port, state: { kind: "unusable" as const, reason } };
  });
  return { ...view, ports };
}

function isOfProcess(mark: ShunnedPort, view: VmView): boolean {
  const present = processKey(view.process);
  return mark.process === null || present === null || mark.process === present;
}

function stateOf(view: VmView, mark: ShunnedPort): string | undefined {
  return view.ports.find((port) => portKey(port) === mark.port)?.state.kind;
}

function kept(marks: Marks, isKept: (mark: ShunnedPort) => boolean): Marks {
  const left = [...marks].filter(([, mark]) => isKept(mark));
  return left.length === marks.size ? marks : new Map(left);
}
