/**
 * The VMs that an entry with `{vm}` in its path stands for: those that a rule names, and those whose socket is there.
 *
 * A VM that a rule names is one whether or not it runs: its cards wait for it as for any other (semantics.md 4). The
 * order does not depend on which socket came first.
 */
import { type Policy, type VmPattern, type VmSpec, vmsOf } from "./policy.js";

/** Where the VM's name stands in a path. */
export const VM_PLACE = "{vm}";

/** What a VM may be called (semantics.md 1): nothing else is taken from a path. */
export function isVmName(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text);
}

/** A VM whose socket is there, at the place that an entry names. */
export interface FoundVm {
  readonly name: string;
  /** `qmp` of that entry. */
  readonly pattern: string;
}

/** The policy with the VMs of its patterns: one that was found before in the same policy and is not any more is gone. */
export function withFoundVms(policy: Policy, found: readonly FoundVm[]): Policy {
  const { vmPatterns: patterns } = policy;
  const written = policy.vms.filter((vm) => vm.pattern === undefined);
  const taken = new Set(written.map((vm) => vm.name));
  const there = found.filter(
    ({ name, pattern }) => !taken.has(name) && patterns.some(({ qmp }) => qmp === pattern),
  );
  const named = policy.rules.flatMap(vmsOf).filter((name) => !taken.has(name));
  const names = new Set([...named, ...there.map(({ name }) => name).sort()]);
  const specs = [...names].flatMap((name) => {
    const isThere = (entry: VmPattern) => there.some((vm) => vm.name === name && vm.pattern === entry.qmp);
    const entry = patterns.find(isThere) ?? patterns[0];
    return entry === undefined ? [] : [specOf(entry, name)];
  });
  return { ...policy, vms: [...written, ...specs] };
}

function specOf(entry: VmPattern, name: string): VmSpec {
  return { ...entry, name, qmp: entry.qmp.replace(VM_PLACE, () => name), pattern: entry.qmp };
}
