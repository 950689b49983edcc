/**
 * The stage of a rehearsal: the simulated host and QEMUs, and what an event does to them. Decides nothing: what comes
 * of an event is the agent's business.
 */
import type { RehearsalEvent } from "../config/events.js";
import { type PciAddress, qemuIdOf } from "../core/address.js";
import type { Policy, VmSpec } from "../core/policy.js";
import { vmStatus, type World } from "../core/world.js";
import { addressOf, SimulationError } from "../sim/card.js";
import type { Simulation, SimVmSpec } from "../sim/fleet.js";
import type { SimQemu } from "../sim/qemu.js";
import type { SimPort } from "../sim/qemu-options.js";
import { type CardIndex, RehearsalError } from "./rehearse-cards.js";

/** What happens on the stage in one go; the rest (waiting, another policy, a restart) is the rehearsal's business. */
export type StageEvent = Exclude<RehearsalEvent, { kind: "wait" | "policy" | "vm-restart" }>;

/** Functions of one slot, and slots of the root bus that ports may use. */
const FUNCTIONS = 8;
const SLOTS = 29;

export class Stage {
  readonly #simulation: Simulation;
  readonly #cards: CardIndex;
  readonly #specs: ReadonlyMap<string, SimVmSpec>;
  readonly #started = new Set<string>();

  constructor(simulation: Simulation, cards: CardIndex, specs: readonly SimVmSpec[]) {
    this.#simulation = simulation;
    this.#cards = cards;
    this.#specs = new Map(specs.map((spec) => [spec.name, spec]));
  }

  /**
   * Makes it happen; resolves when the simulated kernel or QEMU is done with it.
   *
   * @throws {RehearsalError} rehearsal.impossible when it cannot happen as things are.
   */
  async play(event: StageEvent): Promise<void> {
    try {
      await this.#play(event);
    } catch (cause) {
      if (cause instanceof SimulationError) {
        throw new RehearsalError(cause.message, { cause });
      }
      throw cause;
    }
  }

  /** Whether the agent sees every VM of its policy as it is. */
  isSeen(world: World): boolean {
    return (world.policy?.vms ?? []).every(({ name }) => {
      const status = vmStatus(world, name);
      const qemu = this.#qemu(name);
      if (qemu?.isAlive !== true) {
        return status.kind === "absent";
      }
      return (
        status.kind === "up" &&
        status.view.process?.pid === qemu.pid &&
        status.view.runState === qemu.runState &&
        isSameSet(
          status.view.attached.map((entry) => entry.address),
          qemu.attached(),
        )
      );
    });
  }

  async #play(event: StageEvent): Promise<void> {
    const { host } = this.#simulation;
    switch (event.kind) {
      case "plug":
        for (const card of this.#cards.cardsToPlug(event.plug, (address) => this.#isThere(address))) {
          await host.plug(card);
        }
        return;
      case "unplug": {
        const present = this.#cards.addressesOf(event.place).filter((address) => this.#isThere(address));
        if (present.length === 0) {
          throw new RehearsalError(`there is no card at ${event.place}`);
        }
        for (const address of present) {
          await host.pull(address);
        }
        return;
      }
      case "vm-start":
        return this.#startVm(event.vm);
      case "vm-stop":
        return this.#running(event.vm).terminate();
      case "eject":
        return this.#running(event.vm).ejectFromGuest(qemuIdOf(addressOf(event.address)));
    }
  }

  async #startVm(name: string): Promise<void> {
    const spec = this.#specs.get(name);
    if (spec === undefined) {
      throw new RehearsalError(`there is no VM ${name} in the file`);
    }
    const qemu = this.#qemu(name);
    if (qemu === undefined) {
      this.#started.add(name);
      await this.#simulation.addVm(spec);
    } else {
      await qemu.start();
    }
  }

  #isThere(address: string): boolean {
    return this.#simulation.host.hasCard(address);
  }

  #qemu(name: string): SimQemu | undefined {
    return this.#started.has(name) ? this.#simulation.vm(name) : undefined;
  }

  #running(name: string): SimQemu {
    const qemu = this.#qemu(name);
    if (qemu?.isAlive !== true) {
      throw new RehearsalError(
        this.#specs.has(name) ? `VM ${name} is not running` : `there is no VM ${name} in the file`,
      );
    }
    return qemu;
  }
}

/** The simulated QEMU of a VM: its ports as the file names them, or `ports` of them. */
export function simVmOf(vm: VmSpec, socketPath: string, ports: number): SimVmSpec {
  const most = Math.min(ports, SLOTS * FUNCTIONS);
  const names = vm.ports ?? Array.from({ length: most }, (_, index) => `rp${index}`);
  return {
    name: vm.name,
    socketPath,
    machine: vm.machine?.startsWith("microvm") === true ? "microvm" : "q35",
    ports: names.map(portOf),
    // How much address space the ports will have is not in the file.
    firmware: "unknown",
  };
}

/** Eight ports share a slot, as in libvirt's machines: the root bus has too few slots for one each. */
function portOf(id: string, index: number): SimPort {
  const slot = 1 + Math.floor(index / FUNCTIONS);
  return { id, addr: `${slot.toString(16)}.${index % FUNCTIONS}`, multifunction: true };
}

/** The operator's policy for the stage: other sockets, and no source but the rehearsal's own looks. */
export function stagedPolicy(policy: Policy, socketOf: (vm: string) => string): Policy {
  return {
    ...policy,
    // Those that a rule names are in the list already; none is looked for on this machine.
    vmPatterns: [],
    vms: policy.vms.map(({ pattern: _, listener: __, ...vm }) => ({ ...vm, qmp: socketOf(vm.name) })),
    sources: { udevadm: false, udevDatabase: false, sysfsPolling: false, rescanMs: null },
  };
}

function isSameSet(some: readonly (PciAddress | null)[], others: readonly string[]): boolean {
  return some.length === others.length && some.every((address) => others.includes(address ?? ""));
}
