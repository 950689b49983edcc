/**
 * The inside of a simulated QEMU process, from start to end of that process: run state, devices, guest, vfio.
 *
 * Owns the process's timers and what it holds of the host. Says what happens through `emit`; knows no sockets.
 */
import type { PciAddress } from "../core/address.js";
import { type SimCard, SimulationError } from "./card.js";
import { addDevice, type DeviceAddContext, openHostDevice } from "./device-add.js";
import { SimGuest, type SimGuestOptions } from "./guest.js";
import type { SimHost } from "./host.js";
import type { HostDevice, SimDevice } from "./qemu-device.js";
import type { SimColdDevice, SimQemuOptions } from "./qemu-options.js";
import { type HostFacts, queryPci } from "./query-pci.js";
import { deviceNotFound, EMPTY, fault, type SimArguments, type SimReply } from "./reply.js";
import { SimTimers } from "./timers.js";
import { Topology } from "./topology.js";
import type { VfioUser } from "./vfio.js";
import { type CommandedVm, deletedData } from "./vm-commands.js";

/** An event to send: its name and its data, if it has any. */
export type Emit = (event: string, data?: unknown) => void;

const DEFAULT_SPEED = 100;
const DEFAULT_MEMORY = 128 * 1024 * 1024;

export class SimVm implements CommandedVm, VfioUser {
  readonly pid: number;
  readonly uid: number;
  readonly name: string | undefined;
  readonly uuid: string | undefined;
  readonly memoryBytes: number;
  readonly topology: Topology;
  readonly #host: SimHost;
  readonly #emit: Emit;
  readonly #onExit: (isKilled: boolean) => void;
  readonly #realizeMs: number;
  readonly #timers: SimTimers;
  readonly #guest: SimGuest;
  readonly #context: DeviceAddContext;
  readonly #isRebootEnd: boolean;
  readonly #isShutdownKept: boolean;
  #runState: string;
  #migration: string | null = null;
  /** Whether a guest has ever run in this process: it numbers the buses. */
  #hasBooted: boolean;

  constructor(
    options: SimQemuOptions,
    guest: SimGuestOptions,
    emit: Emit,
    onExit: (isKilled: boolean) => void,
  ) {
    const machine = options.machine ?? "q35";
    this.#host = options.host;
    this.#emit = emit;
    this.#onExit = onExit;
    this.#realizeMs = options.realizeMs ?? 0;
    this.pid = options.host.proc.nextPid();
    this.uid = options.uid ?? options.host.superuser.uid;
    this.name = options.name;
    this.uuid = options.uuid;
    this.memoryBytes = options.memoryBytes ?? DEFAULT_MEMORY;
    this.topology = new Topology(
      machine,
      machine === "microvm" ? "native" : (options.mode ?? "acpi"),
      options.firmware,
    );
    this.#isRebootEnd = options.isRebootEnd === true;
    this.#isShutdownKept = options.isShutdownKept === true;
    this.#runState = options.isPaused === true ? "prelaunch" : "running";
    this.#hasBooted = options.isPaused !== true;
    this.#timers = new SimTimers(options.speed ?? DEFAULT_SPEED);
    this.#guest = new SimGuest(guest, this.#timers, {
      runState: () => this.#runState,
      deleted: (devices) => this.#deleted(devices),
    });
    this.#context = {
      topology: this.topology,
      vfio: options.host.vfio,
      user: this,
      memoryBytes: this.memoryBytes,
      memlockBytes: () =>
        this.uid === options.host.superuser.uid ? null : options.host.proc.memlockOf(this.pid),
    };
    for (const port of options.ports ?? []) {
      this.topology.insertCold({ ...port, driver: port.kind ?? "pcie-root-port" }, null);
    }
    for (const device of options.coldDevices ?? []) {
      this.#insertCold(device);
    }
  }

  runState(): string {
    return this.#runState;
  }

  migration(): string | null {
    return this.#migration;
  }

  /** Somebody else moves the guest: how far that is, and the run state that goes with it. */
  migrate(status: string, runState = this.#runState): void {
    const hasStopped = this.#runState === "running" && runState !== "running";
    this.#migration = status;
    this.#runState = runState;
    if (hasStopped) {
      this.#guest.stopped();
      this.#emit("STOP");
    }
  }

  behave(guest: SimGuestOptions): void {
    this.#guest.behave(guest);
  }

  pci(): unknown[] {
    return queryPci(this.topology, this.#hasBooted, (device) => this.#idsOf(device));
  }

  async add(args: SimArguments): Promise<SimReply> {
    if (this.#isMigrating()) {
      return fault("device_add not allowed while migrating");
    }
    const added = addDevice(this.#context, args);
    if (!("driver" in added)) {
      return added;
    }
    if (added.hostDevice !== null) {
      this.#showGroups();
      if (this.#realizeMs > 0) {
        await new Promise<void>((resolve) => this.#timers.after(this.#realizeMs, resolve));
      }
    }
    this.#guest.plugged(added);
    return EMPTY;
  }

  del(idOrPath: string): SimReply {
    const device = this.topology.find(idOrPath);
    if (device === undefined) {
      return deviceNotFound(idOrPath);
    }
    if (this.#isMigrating()) {
      return fault("device_del not allowed while migrating");
    }
    if (device.bus.mode === null) {
      return fault(`Bus '${device.bus.name}' does not support hotplugging`);
    }
    return device.driver === "vfio-pci-nohotplug"
      ? fault(`Device '${device.driver}' does not support hotplugging`)
      : this.#guest.unplug(device);
  }

  stop(): void {
    if (this.#runState === "running") {
      this.#runState = "paused";
      this.#guest.stopped();
      this.#emit("STOP");
    }
  }

  cont(): void {
    if (this.#runState !== "running") {
      this.#runState = "running";
      this.#hasBooted = true;
      this.#emit("RESUME");
      this.#guest.continued();
    }
  }

  reset(): void {
    if (this.#isRebootEnd) {
      this.#end("host-qmp-system-reset", false);
      return;
    }
    this.#emit("RESET", { guest: false, reason: "host-qmp-system-reset" });
    this.#guest.reset();
  }

  powerdown(): void {
    this.#emit("POWERDOWN");
  }

  quit(): void {
    this.#end("host-qmp-quit", false);
  }

  /** The guest reboots by itself; hot-plugged devices stay (facts.md 3). Linux resets the machine three times. */
  guestReboot(): void {
    if (this.#isRebootEnd) {
      this.#end("guest-reset", true);
      return;
    }
    for (const _ of [1, 2, 3]) {
      this.#emit("RESET", { guest: true, reason: "guest-reset" });
    }
    this.#guest.reset();
  }

  guestPoweroff(): void {
    if (this.#isShutdownKept) {
      this.#emit("SHUTDOWN", { guest: true, reason: "guest-shutdown" });
      this.#runState = "shutdown";
      this.#guest.stopped();
      this.#emit("STOP");
      return;
    }
    this.#end("guest-shutdown", true);
  }

  /** The guest throws a device out. @throws {SimulationError} sim.misuse when there is none of that id. */
  eject(id: string): void {
    const device = this.topology.find(id);
    if (device === undefined) {
      throw new SimulationError(`cannot eject ${id}: no such device in the VM`);
    }
    this.#guest.eject(device);
  }

  /** The kernel asks for a device; QEMU starts an unplug by itself (facts.md 5). */
  requestRelease(address: PciAddress): void {
    const device = this.topology.devices().find((candidate) => candidate.hostDevice?.address === address);
    if (device !== undefined) {
      this.del(device.path);
    }
  }

  powerOff(): void {
    this.end();
    this.#onExit(true);
  }

  /** The process is gone: its timers stop and the kernel takes back what it held. */
  end(): void {
    this.#timers.clear();
    for (const address of this.#host.vfio.heldBy(this)) {
      this.#host.vfio.close(address);
    }
  }

  #end(reason: string, isByGuest: boolean): void {
    this.#emit("SHUTDOWN", { guest: isByGuest, reason });
    this.#onExit(false);
  }

  #isMigrating(): boolean {
    return !["none", "completed", "failed", "cancelled"].includes(this.#migration ?? "none");
  }

  #insertCold(device: SimColdDevice): void {
    const isVfio = device.driver.startsWith("vfio-pci");
    const hostDevice = isVfio ? openHostDevice(this.#context, { ...device }) : null;
    if (hostDevice !== null && !("address" in hostDevice)) {
      this.end();
      throw new SimulationError(`cannot start QEMU: -device ${device.driver}: ${JSON.stringify(hostDevice)}`);
    }
    const inserted = this.topology.insertCold({ ...device }, hostDevice);
    inserted.isSeen = this.#hasBooted;
  }

  #deleted(devices: readonly SimDevice[]): void {
    for (const device of devices) {
      this.topology.remove(device);
      this.#emit("DEVICE_DELETED", deletedData(device));
      if (device.hostDevice !== null) {
        this.#host.vfio.close(device.hostDevice.address);
      }
    }
    this.#showGroups();
  }

  #showGroups(): void {
    this.#host.proc.showGroups(this.pid, this.#host.vfio.groupsOf(this));
  }

  #idsOf(device: SimDevice): HostFacts {
    const { vendor, device: model, class: code, memory, prefetchable } = this.#cardOf(device.hostDevice);
    const hex = (text: string | undefined): number => Number.parseInt(text ?? "0", 16);
    return { vendor: hex(vendor), device: hex(model), class: hex(code?.slice(0, 4)), memory, prefetchable };
  }

  #cardOf(hostDevice: HostDevice | null): Partial<SimCard> {
    return hostDevice === null ? {} : this.#host.card(hostDevice.address);
  }
}
