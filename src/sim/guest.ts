/**
 * The guest in a simulated QEMU: when it sees a new device, and when (if ever) it lets one go (facts.md 3).
 *
 * Owns the pending unplugs of one VM. Nothing here is visible in QOM, as in the real one (facts.md 2.3).
 * All times are simulated milliseconds.
 */
import { functionOfDevfn, type SimDevice, slotMates, slotOfDevfn } from "./qemu-device.js";
import { EMPTY, fault, type SimReply } from "./reply.js";
import type { PendingDelay, SimTimers } from "./timers.js";

/**
 * - `co-operative`: a Linux guest with hot-plug drivers.
 * - `slow`: the same, but takes `delayMs` more to let go.
 * - `refuses`: sees devices and never lets one go.
 * - `not-running`: no OS looks at the slots (firmware, panic, `pci=noacpi`, microvm's default kernel line).
 */
export type GuestBehaviour = "co-operative" | "slow" | "refuses" | "not-running";

export interface SimGuestOptions {
  readonly behaviour: GuestBehaviour;
  readonly delayMs?: number;
}

/** What the guest needs of the VM around it. */
export interface GuestHost {
  /** QEMU's run state. */
  runState(): string;
  /** The VM has let go of these functions. */
  deleted(devices: readonly SimDevice[]): void;
}

const ACPI_MS = 100;
const POWERED_OFF_MS = 50;
const SEEN_MS = { acpi: 70, native: 300 } as const;
const ATTENTION_MS = 5_000;
const BLINK_MS = 1_000;
const DEFAULT_SLOW_MS = 2_000;

interface Unplug {
  readonly device: SimDevice;
  phase: "asked" | "pressed" | "blinking";
  /** Asked before the guest's clock ever ran: QEMU then takes no second request (fixtures/qmp: 2-hotplug-handler). */
  readonly isBeforeStart: boolean;
  delay: PendingDelay | null;
}

export class SimGuest {
  #options: SimGuestOptions;
  readonly #timers: SimTimers;
  readonly #vm: GuestHost;
  readonly #unplugs = new Map<string, Unplug>();
  readonly #unseen = new Map<SimDevice, PendingDelay | null>();

  constructor(options: SimGuestOptions, timers: SimTimers, vm: GuestHost) {
    this.#options = options;
    this.#timers = timers;
    this.#vm = vm;
  }

  /** The guest behaves otherwise from now on. Requests that it has lost stay lost. */
  behave(options: SimGuestOptions): void {
    this.#options = options;
    for (const device of this.#unseen.keys()) {
      this.plugged(device);
    }
  }

  /** A device stands in a slot. The guest sees it when it looks; not before function 0 is there (facts.md 4). */
  plugged(device: SimDevice): void {
    this.#unseen.get(device)?.cancel();
    this.#unseen.set(device, null);
    if (this.#options.behaviour === "not-running" || this.#vm.runState() !== "running") {
      return;
    }
    const delay = this.#timers.after(SEEN_MS[device.bus.mode ?? "acpi"], () => {
      const mates = slotMates(device);
      if (mates.some((mate) => functionOfDevfn(mate.devfn) === 0)) {
        for (const mate of mates) {
          mate.isSeen = true;
          this.#unseen.delete(mate);
        }
      }
    });
    this.#unseen.set(device, delay);
  }

  /** Asks for a device, as device_del, the kernel's request and QEMU's own retries do. */
  unplug(device: SimDevice): SimReply {
    const key = slotKey(device);
    const before = this.#unplugs.get(key);
    const refusal = before === undefined ? undefined : busy(before, device);
    if (refusal !== undefined) {
      return refusal;
    }
    if (device.bus.mode === "native" && isUnexposed(device)) {
      this.#timers.after(POWERED_OFF_MS, () => this.#finish([device]));
      return EMPTY;
    }
    return device.bus.mode === "native"
      ? this.#askNatively(key, device)
      : this.#askByAcpi(key, device, before);
  }

  /** The VM's clock stands still. */
  stopped(): void {
    for (const unplug of this.#unplugs.values()) {
      unplug.delay?.cancel();
      unplug.delay = null;
    }
  }

  /** The VM's clock runs (again): the guest looks at its slots and goes on with what it was asked. */
  continued(): void {
    for (const device of this.#unseen.keys()) {
      this.plugged(device);
    }
    for (const [key, unplug] of this.#unplugs) {
      this.#arm(key, unplug);
    }
  }

  /** Reset completes what ACPI has pending and forgets what pciehp has (facts.md 3). */
  reset(): void {
    for (const [key, unplug] of [...this.#unplugs]) {
      unplug.delay?.cancel();
      this.#unplugs.delete(key);
      if (unplug.phase === "asked") {
        this.#finish(slotMates(unplug.device));
      }
    }
  }

  /** The guest throws a device out by itself. */
  eject(device: SimDevice): void {
    this.#finish(slotMates(device));
  }

  #askByAcpi(key: string, device: SimDevice, before: Unplug | undefined): SimReply {
    if (before === undefined) {
      const isBeforeStart = this.#vm.runState() === "prelaunch";
      const unplug: Unplug = { device, phase: "asked", isBeforeStart, delay: null };
      this.#unplugs.set(key, unplug);
      this.#arm(key, unplug);
    } else if (before.delay === null) {
      this.#arm(key, before);
    }
    return EMPTY;
  }

  #askNatively(key: string, device: SimDevice): SimReply {
    const isLooking = this.#options.behaviour !== "not-running" && this.#vm.runState() === "running";
    if (device.isHotplugged && !device.isSeen) {
      if (isLooking) {
        return guestIsBusy();
      }
      this.#timers.after(POWERED_OFF_MS, () => this.#finish(slotMates(device)));
      return EMPTY;
    }
    const unplug: Unplug = { device, phase: "pressed", isBeforeStart: false, delay: null };
    this.#unplugs.set(key, unplug);
    this.#arm(key, unplug);
    return EMPTY;
  }

  #arm(key: string, unplug: Unplug): void {
    if (this.#vm.runState() !== "running") {
      return;
    }
    unplug.delay?.cancel();
    const { behaviour, delayMs } = this.#options;
    const isWilling = behaviour === "co-operative" || behaviour === "slow";
    const extraMs = behaviour === "slow" ? (delayMs ?? DEFAULT_SLOW_MS) : 0;
    if (unplug.phase === "asked") {
      unplug.delay = isWilling ? this.#timers.after(ACPI_MS + extraMs, () => this.#done(key)) : null;
      return;
    }
    unplug.phase = "pressed";
    unplug.delay = this.#timers.after(ATTENTION_MS, () => {
      if (isWilling) {
        unplug.phase = "blinking";
        unplug.delay = this.#timers.after(BLINK_MS + extraMs, () => this.#done(key));
      } else {
        // Nobody answered the button: it can be pressed again.
        this.#unplugs.delete(key);
      }
    });
  }

  #done(key: string): void {
    const unplug = this.#unplugs.get(key);
    if (unplug !== undefined) {
      this.#finish(slotMates(unplug.device));
    }
  }

  #finish(wanted: readonly SimDevice[]): void {
    // Asked for twice, a device may have gone in the meantime.
    const devices = wanted.filter((device) => device.bus.occupants.get(device.devfn) === device);
    for (const device of devices) {
      this.#unplugs.get(slotKey(device))?.delay?.cancel();
      this.#unplugs.delete(slotKey(device));
      this.#unseen.get(device)?.cancel();
      this.#unseen.delete(device);
    }
    this.#vm.deleted(devices);
  }
}

function slotKey(device: SimDevice): string {
  return `${device.bus.path}#${slotOfDevfn(device.devfn)}`;
}

/** A function above 0 whose function 0 is not there: a native port lets go of it without a guest (facts.md 19). */
function isUnexposed(device: SimDevice): boolean {
  return functionOfDevfn(device.devfn) !== 0 && !device.bus.occupants.has(slotOfDevfn(device.devfn) * 8);
}

function busy(unplug: Unplug, device: SimDevice): SimReply | undefined {
  if (unplug.phase === "blinking") {
    return guestIsBusy();
  }
  if (unplug.phase === "pressed" || unplug.isBeforeStart) {
    return fault(`Device ${device.id ?? device.path} is already in the process of unplug`);
  }
  return undefined;
}

function guestIsBusy(): SimReply {
  return fault("Hot-unplug failed: guest is busy (power indicator blinking)");
}
