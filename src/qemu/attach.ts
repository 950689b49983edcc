/**
 * Puts one of the host's devices into a port of a VM, and makes sure of it.
 *
 * QEMU's `{}` means that QEMU took the device, not that the guest did. No answer means not known: device_add goes on
 * in QEMU even when nobody waits for it any more (facts.md 1.2). Never sends device_del.
 */
import { hostProperty, type PciAddress } from "../core/address.js";
import type { Outcome, Placement } from "../core/step.js";
import type { Attached } from "../core/vm.js";
import type { QmpClient } from "../qmp/client.js";
import { QmpCommandError } from "../qmp/errors.js";
import { readInhabitants } from "./ports.js";
import { lastPart, pathOfId, readText } from "./qom.js";
import { outcomeOfError, refusalOf } from "./refusal.js";
import { readAttached, readHostAddress } from "./view.js";

/** The part of a session that moving devices takes. */
export type QmpMover = Pick<QmpClient, "execute" | "onEvent">;

/** Attaches a device. `done` means: QEMU lists it, under this id, at this bus, as this device of the host. */
export async function attachDevice(client: QmpMover, placement: Placement): Promise<Outcome> {
  const { address, id, bus, addr, isMultifunction, properties } = placement;
  let hasLeft = false;
  const unlisten = client.onEvent((event) => {
    hasLeft ||= event.name === "DEVICE_DELETED" && event.data.device === id;
  });
  try {
    // Bus and address always: without a bus QEMU picks one that cannot hot-plug, without an address a second card is
    // put at slot 1 of an occupied port, where no guest ever sees it (facts.md 1).
    const device = { ...properties, driver: "vfio-pci", ...hostProperty(address) };
    const more = isMultifunction === true ? { multifunction: true } : {};
    await client.execute("device_add", { ...device, id, bus, addr, ...more });
    const confirmed = await confirm(client, placement);
    return hasLeft ? leftAtOnce(address) : confirmed;
  } catch (error) {
    return error instanceof QmpCommandError
      ? await explainRefusal(client, placement, error)
      : outcomeOfError(error);
  } finally {
    unlisten();
  }
}

/** Reads back what QEMU made of it. A link that dies here leaves the outcome unknown: the device was taken. */
async function confirm(client: QmpMover, placement: Placement): Promise<Outcome> {
  const path = pathOfId(placement.id);
  try {
    const [bus, address] = await Promise.all([
      readText(client, path, "parent_bus"),
      readHostAddress(client, path),
    ]);
    if (bus === undefined) {
      return leftAtOnce(placement.address);
    }
    if (lastPart(bus) === placement.bus && address === placement.address) {
      return { kind: "done" };
    }
    const found = `it is ${address ?? "no device of the host"} at bus ${lastPart(bus)}`;
    const detail = `QEMU took ${placement.address} for bus ${placement.bus}, but lists ${placement.id} otherwise: ${found}`;
    return { kind: "failed", code: "qemu.misplaced", detail };
  } catch (error) {
    const outcome = outcomeOfError(error);
    return outcome.kind === "cancelled" ? { kind: "timed-out", detail: outcome.detail } : outcome;
  }
}

function leftAtOnce(address: PciAddress): Outcome {
  const detail = `QEMU took ${address} and let go of it again at once`;
  return { kind: "failed", code: "qemu.left-at-once", detail };
}

/** Some refusals only mean that the device is there already: then it is said who has it. */
async function explainRefusal(
  client: QmpMover,
  placement: Placement,
  error: QmpCommandError,
): Promise<Outcome> {
  const refused = outcomeOfError(error);
  const { reason } = refusalOf(error);
  if (reason !== "already-attached" && reason !== "id-in-use") {
    return refused;
  }
  let attached: readonly Attached[];
  try {
    attached = await readAttached(client, (await readInhabitants(client)).devices);
  } catch (lost) {
    // The refusal itself is certain; only the explanation is not to be had.
    outcomeOfError(lost);
    return refused;
  }
  const holder = attached.find((entry) =>
    reason === "id-in-use" ? entry.id === placement.id : entry.address === placement.address,
  );
  if (holder?.id === placement.id && holder.address === placement.address) {
    return { kind: "done", detail: `it was there already, at bus ${holder.bus ?? "?"}` };
  }
  const detail = `${error.desc}; ${describeHolder(placement, holder)}`;
  return refused.kind === "refused" ? { ...refused, detail } : refused;
}

function describeHolder(placement: Placement, holder: Attached | undefined): string {
  if (holder === undefined) {
    return `no device of the host is listed as ${placement.id} or ${placement.address}`;
  }
  return `${holder.id ?? holder.path} is ${holder.address ?? "unknown"} at bus ${holder.bus ?? "?"}`;
}
