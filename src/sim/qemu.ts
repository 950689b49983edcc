/**
 * A simulated QEMU: real QMP sockets in front of a simulated VM on a simulated host.
 *
 * Owns its sockets, timers and the entries it makes in the host's /proc. Texts and order are those of QEMU 7.2 as
 * far as facts.md 1 to 8 measured them. One object lives through many processes: start, kill, start again.
 */

import { SimulationError } from "./card.js";
import type { SimGuestOptions } from "./guest.js";
import { Monitor } from "./monitor.js";
import type { SimProcess } from "./proc-tree.js";
import type { SimColdDevice, SimQemuOptions } from "./qemu-options.js";
import type { SimArguments, SimReply } from "./reply.js";
import { SimVm } from "./vm.js";
import { runCommand } from "./vm-commands.js";

/** One command after negotiation, as it came in. */
export interface RecordedCommand {
  readonly name: string;
  readonly arguments: SimArguments;
}

/** What a test wants one command to come to; undefined leaves it to the VM. */
export type CommandIntercept = (
  args: SimArguments,
) => SimReply | "silent" | "close" | undefined | Promise<SimReply | "silent" | "close" | undefined>;

/** A moment in simulated time for event timestamps, in seconds since 1970. */
const EPOCH_SECONDS = 1_700_000_000;
const FIRST_TICKS = 5_000;

/** Makes a simulated QEMU and starts it. @throws {SimulationError} sim.misuse where QEMU would not start. */
export async function createSimQemu(options: SimQemuOptions): Promise<SimQemu> {
  const qemu = new SimQemu(options);
  await qemu.start();
  return qemu;
}

export class SimQemu {
  readonly socketPath: string;
  /** Every command of every process of this VM, in order. */
  readonly commands: RecordedCommand[] = [];
  #options: SimQemuOptions;
  readonly #paths: string[];
  readonly #intercepts = new Map<string, CommandIntercept>();
  #guest: SimGuestOptions;
  #vm: SimVm | undefined;
  #process: SimProcess | undefined;
  #monitors: Monitor[] = [];
  #turn: Promise<unknown> = Promise.resolve();
  #awake: { readonly done: Promise<void>; readonly wake: () => void } | undefined;
  #ending: Promise<void> = Promise.resolve();
  #heldEvents: unknown[] = [];
  #events = 0;
  #starts = 0;

  constructor(options: SimQemuOptions) {
    this.#options = options;
    this.#guest = options.guest ?? { behaviour: "co-operative" };
    this.socketPath = options.socketPath;
    this.#paths = [options.socketPath];
  }

  get isAlive(): boolean {
    return this.#vm !== undefined;
  }

  /** Process id; changes with every start. @throws {SimulationError} sim.misuse while it is not running. */
  get pid(): number {
    return this.machine.pid;
  }

  /** The machine itself, of this process. @throws {SimulationError} sim.misuse while it is not running. */
  get machine(): SimVm {
    if (this.#vm === undefined) {
      throw new SimulationError(`cannot speak to QEMU on ${this.socketPath}: it is not running`);
    }
    return this.#vm;
  }

  get runState(): string {
    return this.machine.runState();
  }

  /** How many connections this process has served, on all of its sockets. */
  get connections(): number {
    return this.#monitors.reduce((sum, monitor) => sum + monitor.clientsServed, 0);
  }

  /** Ids (or QOM paths) of the devices in the VM, ports included, oldest first. */
  deviceIds(): string[] {
    return this.machine.topology.devices().map((device) => device.id ?? device.path);
  }

  /** Addresses of the host's devices in the VM, oldest first. */
  attached(): string[] {
    const devices = this.#vm?.topology.devices() ?? [];
    return devices.flatMap((device) => device.hostDevice?.address ?? []);
  }

  /** Starts a new process on the same sockets, with the devices of the command line. */
  async start(): Promise<void> {
    await this.#ending;
    if (this.#vm !== undefined) {
      throw new SimulationError(`cannot start QEMU on ${this.socketPath}: it is running`);
    }
    const vm = new SimVm(
      this.#options,
      this.#guest,
      (event, data) => this.#emit(event, data),
      (isKilled) => this.#exit(isKilled),
    );
    this.#vm = vm;
    this.#turn = Promise.resolve();
    this.#starts += 1;
    const { superuser } = this.#options.host;
    this.#process = {
      pid: vm.pid,
      startTicks: FIRST_TICKS + vm.pid,
      name: this.#options.name ?? "qemu",
      uid: vm.uid,
      gid: this.#options.gid ?? (vm.uid === superuser.uid ? superuser.gid : vm.uid),
      isPrivileged: vm.uid === superuser.uid,
      memlockBytes: this.#options.memlockBytes ?? null,
      sockets: this.#paths,
    };
    this.#options.host.proc.add(this.#process);
    this.#monitors = this.#paths.map((path) => this.#monitor(path));
    await Promise.all(this.#monitors.map((monitor) => monitor.listen()));
  }

  /** Opens another QMP socket, now and at every later start. */
  async addMonitor(path: string): Promise<void> {
    const vm = this.machine;
    const monitor = this.#monitor(path);
    await monitor.listen();
    this.#paths.push(path);
    this.#monitors.push(monitor);
    this.#options.host.proc.addSocket(vm.pid, path);
  }

  /** SIGKILL: no event, the socket file stays, the host gets its devices back. */
  async kill(): Promise<void> {
    this.#exit(true);
    await this.#ending;
  }

  /** SIGTERM. */
  async terminate(): Promise<void> {
    if (this.#vm !== undefined) {
      this.#emit("SHUTDOWN", { guest: false, reason: "host-signal" });
      this.#exit(false);
    }
    await this.#ending;
  }

  /** SIGSTOP: connecting works, nothing is read or said until `wake`. */
  hang(): void {
    if (this.#awake === undefined) {
      let wake = (): void => {};
      const done = new Promise<void>((resolve) => {
        wake = resolve;
      });
      this.#awake = { done, wake };
    }
    for (const monitor of this.#monitors) {
      monitor.hang();
    }
  }

  /** SIGCONT. */
  wake(): void {
    this.#awake?.wake();
    this.#awake = undefined;
    for (const monitor of this.#monitors) {
      monitor.wake();
    }
    for (const event of this.#heldEvents.splice(0)) {
      this.#send(event);
    }
  }

  /** The guest behaves otherwise from now on, also after a restart. */
  setGuest(guest: SimGuestOptions): void {
    this.#guest = guest;
    this.#vm?.behave(guest);
  }

  /** The next process has these devices on its command line. */
  coldPlugFromNow(coldDevices: readonly SimColdDevice[]): void {
    this.#options = { ...this.#options, coldDevices };
  }

  /** The guest throws a device out: an unsolicited DEVICE_DELETED. */
  ejectFromGuest(id: string): void {
    this.machine.eject(id);
  }

  /** The guest reboots. Resolves at once, or, with -no-reboot, when the process has ended. */
  async guestReboot(): Promise<void> {
    this.machine.guestReboot();
    await this.#ending;
  }

  /** Cuts every client's connection; what happens in `act` is heard by nobody. */
  cutLinks(act: () => void): void {
    for (const monitor of this.#monitors) {
      monitor.cut();
    }
    act();
  }

  async guestPoweroff(): Promise<void> {
    this.machine.guestPoweroff();
    await this.#ending;
  }

  /** Lets a test answer one command instead of the VM. Returns what takes it away again. */
  intercept(name: string, intercept: CommandIntercept): () => void {
    this.#intercepts.set(name, intercept);
    return () => {
      if (this.#intercepts.get(name) === intercept) {
        this.#intercepts.delete(name);
      }
    };
  }

  /** Sends any event to every client. */
  emitEvent(event: string, data?: unknown): void {
    this.#emit(event, data);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.wake();
    this.#exit(false);
    await this.#ending;
  }

  #monitor(path: string): Monitor {
    return new Monitor(path, { execute: (name, args) => this.#execute(name, args) });
  }

  /** One command at a time in the whole process: a slow one blocks every monitor (facts.md 1.2). */
  #execute(name: string, args: SimArguments): Promise<SimReply | "silent" | "close"> {
    const process = this.#starts;
    const result = this.#turn.then(async () => {
      await this.#awake?.done;
      this.commands.push({ name, arguments: args });
      const wanted = await this.#intercepts.get(name)?.(args);
      const vm = this.#vm;
      if (vm === undefined || process !== this.#starts) {
        return "close" as const;
      }
      return wanted ?? runCommand(vm, name, args);
    });
    this.#turn = result.catch(() => undefined);
    return result;
  }

  #exit(isKilled: boolean): void {
    const vm = this.#vm;
    if (vm === undefined) {
      return;
    }
    this.#vm = undefined;
    vm.end();
    if (this.#process !== undefined) {
      this.#options.host.proc.remove(this.#process);
    }
    const monitors = this.#monitors.splice(0);
    this.#ending = this.#close(monitors, isKilled);
  }

  async #close(monitors: readonly Monitor[], isKilled: boolean): Promise<void> {
    if (!isKilled) {
      // The reply to `quit` still goes out.
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    await Promise.all(monitors.map((monitor) => monitor.close(isKilled)));
  }

  #emit(event: string, data: unknown): void {
    this.#events += 1;
    const timestamp = { seconds: EPOCH_SECONDS + this.#events, microseconds: 0 };
    const message = { timestamp, event, ...(data === undefined ? {} : { data }) };
    if (this.#awake === undefined) {
      this.#send(message);
    } else {
      this.#heldEvents.push(message);
    }
  }

  #send(event: unknown): void {
    for (const monitor of this.#monitors) {
      monitor.emit(event);
    }
  }
}
