/**
 * Asks a VM to let go of one device.
 *
 * device_del's `{}` means "asked" and nothing more: done is only what is absent from the object tree (facts.md 3.1).
 * Which device an id stands for is looked up first: a new process may use the same id for another device.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { PciAddress } from "../core/address.js";
import type { Outcome } from "../core/step.js";
import { QmpCommandError, QmpInterruptedError, QmpTimeoutError } from "../qmp/errors.js";
import type { QmpEvent } from "../qmp/events.js";
import type { QmpMover } from "./attach.js";
import { pathOfId, readText } from "./qom.js";
import { isDeviceGone, isUnplugPending, outcomeOfError } from "./refusal.js";
import { readHostAddress } from "./view.js";

/** The device to be detached: an id (or, for a device without one, its QOM path) and what it must be. */
export interface Departing {
  readonly id: string;
  readonly address: PciAddress;
}

export interface DetachLimits {
  /** How long the guest's answer is awaited before the unplug is left pending. Default 2,000. */
  readonly waitMs?: number;
}

const DEFAULT_WAIT_MS = 2_000;

/**
 * Detaches a device. `done`: QEMU does not list it any more. `pending`: the guest was asked and has not let go yet.
 */
export async function detachDevice(
  client: QmpMover,
  departing: Departing,
  limits: DetachLimits = {},
): Promise<Outcome> {
  const { id, address } = departing;
  try {
    const path = pathOfId(id);
    if ((await readText(client, path, "type")) === undefined) {
      return { kind: "done", detail: `${id} was not there any more` };
    }
    const found = await readHostAddress(client, path);
    if (found !== address) {
      const detail = `${id} is ${found ?? "not a device of the host"}, not ${address}`;
      return { kind: "refused", reason: "id-in-use", detail };
    }
  } catch (error) {
    const outcome = outcomeOfError(error);
    // Nothing was changed yet: a question that got no answer leaves nothing unknown.
    return outcome.kind === "timed-out" ? { kind: "cancelled", detail: outcome.detail } : outcome;
  }
  return requestUnplug(client, id, limits);
}

/** Sends device_del for whatever has this id, and waits for it to go. @see detachDevice, which looks before. */
export async function requestUnplug(
  client: QmpMover,
  id: string,
  limits: DetachLimits = {},
): Promise<Outcome> {
  // Armed before the command: in native mode without a guest the event comes with the answer (facts.md 3).
  const departure = listenForDeparture(client, id);
  try {
    const answer = await sendRequest(client, id);
    if (answer.kind === "refused" || answer.kind === "timed-out" || answer.kind === "cancelled") {
      return answer;
    }
    if (answer.kind === "pending") {
      await departure.within(limits.waitMs ?? DEFAULT_WAIT_MS);
    }
    return await confirm(client, id, departure.refusal());
  } finally {
    departure.stop();
  }
}

/** `pending`: asked, now or before. `done`: QEMU knows no such device. */
async function sendRequest(client: QmpMover, id: string): Promise<Outcome> {
  try {
    await client.execute("device_del", { id });
    return { kind: "pending" };
  } catch (error) {
    if (error instanceof QmpCommandError && isDeviceGone(error)) {
      return { kind: "done" };
    }
    if (error instanceof QmpCommandError && isUnplugPending(error)) {
      return { kind: "pending" };
    }
    return outcomeOfError(error);
  }
}

async function confirm(client: QmpMover, id: string, refusal: string | undefined): Promise<Outcome> {
  try {
    if ((await readText(client, pathOfId(id), "type")) === undefined) {
      return { kind: "done" };
    }
  } catch (error) {
    if (error instanceof QmpTimeoutError || error instanceof QmpInterruptedError) {
      // The request was made; what came of it is not known.
      return { kind: "timed-out", detail: error.message };
    }
    throw error;
  }
  return refusal === undefined
    ? { kind: "pending" }
    : { kind: "refused", reason: "guest-refused", detail: refusal };
}

interface Departure {
  /** Resolves when the device has left, the guest has refused, or the time is over. */
  readonly within: (waitMs: number) => Promise<void>;
  /** The guest's refusal, if it sent one. */
  readonly refusal: () => string | undefined;
  readonly stop: () => void;
}

function listenForDeparture(client: QmpMover, id: string): Departure {
  const over = new AbortController();
  let refusal: string | undefined;
  const isAbout = (event: QmpEvent): boolean =>
    (event.name === "DEVICE_DELETED" || event.name === "DEVICE_UNPLUG_GUEST_ERROR") &&
    (event.data.device === id || event.data.path === pathOfId(id));
  const unlisten = client.onEvent((event) => {
    if (isAbout(event)) {
      refusal = event.name === "DEVICE_UNPLUG_GUEST_ERROR" ? "the guest refused the unplug" : undefined;
      over.abort();
    }
  });
  return {
    within: async (waitMs) => {
      await delay(waitMs, undefined, { signal: over.signal }).catch(() => undefined);
    },
    refusal: () => refusal,
    stop: () => {
      unlisten();
      over.abort();
    },
  };
}
