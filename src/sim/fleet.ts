/**
 * A whole simulated world in one call: a host with its cards, and VMs with their sockets.
 *
 * What the demo, rehearsals and integration tests run on. Disposing of it leaves no socket, timer or process entry
 * behind; the folder belongs to the caller.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { MachineRecording, SimCard } from "./card.js";
import { SimulationError } from "./card.js";
import { createSimHost, type SimHost, type SimHostOptions } from "./host.js";
import { createSimQemu, type SimQemu } from "./qemu.js";
import type { SimQemuOptions } from "./qemu-options.js";

/** A VM of the world; its socket is `<dir>/run/<name>.sock` unless said otherwise. */
export type SimVmSpec = Omit<SimQemuOptions, "host" | "socketPath" | "name"> & {
  readonly name: string;
  readonly socketPath?: string;
};

export interface SimulationOptions extends SimHostOptions {
  /** A recorded machine whose cards are there from the start. */
  readonly machine?: MachineRecording;
  /** Cards that are there from the start. */
  readonly cards?: readonly SimCard[];
  readonly vms?: readonly SimVmSpec[];
}

export class Simulation {
  readonly host: SimHost;
  readonly #vms = new Map<string, SimQemu>();

  constructor(host: SimHost) {
    this.host = host;
  }

  /** Where the socket of a VM is if nothing else was said. */
  socketOf(name: string): string {
    return join(this.host.dir, "run", `${name}.sock`);
  }

  /** A VM by its name. @throws {SimulationError} sim.misuse when there is none. */
  vm(name: string): SimQemu {
    const vm = this.#vms.get(name);
    if (vm === undefined) {
      throw new SimulationError(`cannot find VM ${name}: not in this simulation`);
    }
    return vm;
  }

  /** Starts one more VM. */
  async addVm(spec: SimVmSpec): Promise<SimQemu> {
    const vm = await createSimQemu({
      ...spec,
      host: this.host,
      socketPath: spec.socketPath ?? this.socketOf(spec.name),
    });
    this.#vms.set(spec.name, vm);
    return vm;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const vm of this.#vms.values()) {
      await vm[Symbol.asyncDispose]();
    }
    await this.host[Symbol.asyncDispose]();
  }
}

/** Lays out the host, plugs its cards, starts its VMs. Undone again when a VM does not start. */
export async function createSimulation(options: SimulationOptions): Promise<Simulation> {
  const host = await createSimHost(options);
  const simulation = new Simulation(host);
  mkdirSync(join(options.dir, "run"), { recursive: true });
  try {
    if (options.machine !== undefined) {
      await host.loadMachine(options.machine);
    }
    for (const card of options.cards ?? []) {
      await host.plug(card);
    }
    for (const spec of options.vms ?? []) {
      await simulation.addVm(spec);
    }
  } catch (error) {
    await simulation[Symbol.asyncDispose]();
    throw error;
  }
  return simulation;
}
