/**
 * The entries under `vms` as core knows them: one VM each, or with `{vm}` in the path a pattern for many.
 */
import { posix } from "node:path";
import { VM_PLACE } from "../core/found-vms.js";
import type { ExpectedListener, VmPattern, VmSpec } from "../core/policy.js";
import type { Complaints } from "./complaints.js";
import { presentOf } from "./present.js";
import type { ConfigFile } from "./schema.js";

type RawVm = ConfigFile["vms"][number];

/** A program that an entry does not name is any of QEMU's. */
const ANY_QEMU = "qemu-system-*";
const NAME_MISSING =
  "is missing: expected a name: letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 64";

/** Whether an entry is a pattern. */
export function isPattern({ qmp }: RawVm): boolean {
  return qmp.includes(VM_PLACE);
}

/** The VMs and the patterns of the file, each in its order. Complains about entries that cannot be meant. */
export function vmsOfFile(
  { vms }: ConfigFile,
  complaints: Complaints,
): { readonly vms: readonly VmSpec[]; readonly vmPatterns: readonly VmPattern[] } {
  refuseRepetitions(vms, complaints);
  for (const [index, vm] of vms.entries()) {
    if (isPattern(vm)) {
      refuseUnsafePattern(vm, index, complaints);
    } else if (vm.name === undefined) {
      complaints.refuse(["vms", index, "name"], NAME_MISSING);
    }
    if (vm.executable !== undefined && vm.user === undefined) {
      const hint = "anybody can run a program of that name: add user";
      complaints.refuseKey(["vms", index, "executable"], "says nothing without user", hint);
    }
  }
  return {
    vms: vms.flatMap((vm) => (isPattern(vm) ? [] : [{ name: vm.name ?? "", ...traitsOf(vm) }])),
    vmPatterns: vms.filter(isPattern).map(traitsOf),
  };
}

function refuseUnsafePattern({ name, qmp, user }: RawVm, index: number, complaints: Complaints): void {
  const path = ["vms", index];
  if (name !== undefined) {
    const hint = `leave it out, or write the path of that one VM without ${VM_PLACE}`;
    complaints.refuseKey(
      [...path, "name"],
      `contradicts ${VM_PLACE} in qmp, which stands for the name`,
      hint,
    );
  }
  if (qmp.split(VM_PLACE).length > 2) {
    complaints.refuse([...path, "qmp"], `expected ${VM_PLACE} exactly once`);
  }
  if (posix.normalize(qmp) !== qmp) {
    complaints.refuse([...path, "qmp"], `expected the plain path ${posix.normalize(qmp)}`);
  }
  if (user === undefined) {
    complaints.refuse(
      [...path, "user"],
      "is missing: expected the user that these VMs run as",
      "whoever can make a socket at such a path could pass for a VM: nothing is said to other users' sockets",
    );
  }
}

function traitsOf({ name: _, user, executable, resetToComplete, ...traits }: RawVm): VmPattern {
  const listener: ExpectedListener | undefined =
    user === undefined ? undefined : { user, executable: executable ?? ANY_QEMU };
  return presentOf({ ...traits, listener, resetToCompleteMs: resetToComplete });
}

function refuseRepetitions(vms: ConfigFile["vms"], complaints: Complaints): void {
  // Entries that have no name have none to repeat.
  const names = vms.map(({ name }, index) => name ?? `${index}:`);
  complaints.refuseRepeated(names, ["vms"], ["name"], "another VM has this name");
  const sockets = vms.map((vm) => posix.normalize(vm.qmp));
  complaints.refuseRepeated(sockets, ["vms"], ["qmp"], "another VM has this socket");
  for (const [index, { ports }] of vms.entries()) {
    complaints.refuseRepeated(ports ?? [], ["vms", index, "ports"], [], "this port is in the list already");
  }
}
