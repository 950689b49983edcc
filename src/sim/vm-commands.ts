/** The QMP commands of a simulated QEMU: what each takes, and what it does to the VM. */
import { PCIE_SLOT_TYPES } from "./device-models.js";
import { QEMU_VERSION } from "./monitor.js";
import type { SimDevice } from "./qemu-device.js";
import { qomGet, qomList } from "./qom-tree.js";
import { EMPTY, fault, type SimArguments, type SimReply, value } from "./reply.js";
import type { Topology } from "./topology.js";

/** What the commands need of the VM. */
export interface CommandedVm {
  readonly name: string | undefined;
  readonly uuid: string | undefined;
  readonly memoryBytes: number;
  readonly topology: Topology;
  runState(): string;
  /** What query-migrate says; `null` before the first migration. */
  migration(): string | null;
  pci(): unknown[];
  add(args: SimArguments): Promise<SimReply>;
  del(idOrPath: string): SimReply;
  stop(): void;
  cont(): void;
  reset(): void;
  powerdown(): void;
  quit(): void;
}

interface Command {
  /** Names of the arguments; true when needed. */
  readonly takes: Readonly<Record<string, boolean>>;
  readonly run: (vm: CommandedVm, args: SimArguments) => SimReply | Promise<SimReply>;
}

const NO_UUID = "00000000-0000-0000-0000-000000000000";

/** A command that takes nothing and changes the VM. */
function deed(run: (vm: CommandedVm) => void): Command {
  const answer = (vm: CommandedVm): SimReply => {
    run(vm);
    return EMPTY;
  };
  return { takes: {}, run: answer };
}

/** A command that takes nothing and tells something. */
function question(answer: (vm: CommandedVm) => unknown): Command {
  return { takes: {}, run: (vm) => value(answer(vm)) };
}

const COMMANDS: ReadonlyMap<string, Command> = new Map<string, Command>([
  [
    "query-status",
    question((vm) => ({ status: vm.runState(), singlestep: false, running: vm.runState() === "running" })),
  ],
  ["query-name", question((vm) => (vm.name === undefined ? {} : { name: vm.name }))],
  ["query-uuid", question((vm) => ({ UUID: vm.uuid ?? NO_UUID }))],
  ["query-version", question(() => QEMU_VERSION)],
  ["query-commands", question(() => [...COMMANDS.keys()].map((name) => ({ name })))],
  ["query-memory-size-summary", question((vm) => ({ "base-memory": vm.memoryBytes, "plugged-memory": 0 }))],
  ["query-migrate", question((vm) => (vm.migration() === null ? {} : { status: vm.migration() }))],
  ["query-pci", question((vm) => vm.pci())],
  ["qom-list", { takes: { path: true }, run: (vm, args) => qomList(vm.topology, String(args["path"])) }],
  [
    "qom-get",
    {
      takes: { path: true, property: true },
      run: (vm, args) => qomGet(vm.topology, String(args["path"]), String(args["property"])),
    },
  ],
  [
    "qom-list-types",
    {
      takes: { implements: false, abstract: false },
      run: (_vm, args) => value(args["implements"] === "pcie-slot" ? PCIE_SLOT_TYPES : []),
    },
  ],
  ["device_del", { takes: { id: true }, run: (vm, args) => vm.del(String(args["id"])) }],
  ["stop", deed((vm) => vm.stop())],
  ["cont", deed((vm) => vm.cont())],
  ["system_reset", deed((vm) => vm.reset())],
  ["system_powerdown", deed((vm) => vm.powerdown())],
  ["quit", deed((vm) => vm.quit())],
]);

/** Runs a command of the table, or `device_add`, whose arguments are those of the device. */
export async function runCommand(vm: CommandedVm, name: string, args: SimArguments): Promise<SimReply> {
  if (name === "device_add") {
    return vm.add(args);
  }
  const command = COMMANDS.get(name);
  if (command === undefined) {
    return { error: { class: "CommandNotFound", desc: `The command ${name} has not been found` } };
  }
  const missing = Object.keys(command.takes).find(
    (key) => command.takes[key] === true && args[key] === undefined,
  );
  if (missing !== undefined) {
    return fault(`Parameter '${missing}' is missing`);
  }
  const unexpected = Object.keys(args).find((key) => !(key in command.takes));
  return unexpected === undefined ? command.run(vm, args) : fault(`Parameter '${unexpected}' is unexpected`);
}

/** Data of DEVICE_DELETED: a device without id has only its path (facts.md 2.1). */
export function deletedData(device: SimDevice): unknown {
  return { ...(device.id === null ? {} : { device: device.id }), path: device.path };
}
