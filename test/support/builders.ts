/** Small worlds for tests: everything has a default, so that a test states only what it is about. Made up. */
import { type PciAddress, parseAddress, qemuIdOf } from "../../src/core/address.js";
import { type Device, identityOf } from "../../src/core/device.js";
import type { Lease } from "../../src/core/lease.js";
import {
  type BatchRule,
  type Count,
  DEFAULT_TRAITS,
  type GroupKey,
  type GroupRule,
  type Policy,
  type Rule,
  type RuleTraits,
  type SelectRule,
  type SPREADS,
  type SpreadTarget,
  vmsOf,
} from "../../src/core/policy.js";
import type { Protection } from "../../src/core/protection.js";
import { compileSelector, type RawSelector } from "../../src/core/selector.js";
import type { Attached, Port, VmProcess, VmStatus, VmView } from "../../src/core/vm.js";
import { emptyWorld, type Unplug, type World } from "../../src/core/world.js";

export function anAddress(text: string): PciAddress {
  const address = parseAddress(text);
  if (address === undefined) {
    throw new Error(`not an address: ${text}`);
  }
  return address;
}

/** An NVIDIA display controller on its host driver, alone in an IOMMU group numbered after its bus. */
export function aDevice(address: string, facts: Partial<Omit<Device, "address">> = {}): Device {
  const parsed = anAddress(address);
  return {
    address: parsed,
    vendor: "10de",
    device: "2204",
    subsystemVendor: "1458",
    subsystemDevice: "403b",
    class: "030000",
    revision: "a1",
    numaNode: -1,
    iommuGroup: Number.parseInt(parsed.slice(-7, -5), 16),
    driver: "nouveau",
    parent: null,
    physfn: null,
    appearance: `inode-${address}`,
    ...facts,
  };
}

export function aRule(
  name: string,
  match: RawSelector,
  vm: string,
  traits: Partial<RuleTraits> = {},
): BatchRule {
  const selector = compileSelector(match);
  if (!selector.ok) {
    throw new Error(JSON.stringify(selector.error));
  }
  return { ...DEFAULT_TRAITS, name, match: selector.value, mode: "batch", vm, ...traits };
}

/** A select rule with one alternative. */
export function aSelectRule(
  name: string,
  match: RawSelector,
  vm: string,
  count: Count,
  traits: Partial<RuleTraits & Pick<SelectRule, "prefer" | "alternatives">> = {},
): SelectRule {
  const alternatives = [{ match: null, count }];
  return { ...aRule(name, match, vm), mode: "select", alternatives, prefer: [], ...traits };
}

export function aGroupRule(
  name: string,
  match: RawSelector,
  sorting: Pick<GroupRule, "classify" | "to">,
  traits: Partial<RuleTraits> = {},
): GroupRule {
  const { vm: _, ...base } = aRule(name, match, "");
  return { ...base, ...traits, mode: "group", ...sorting };
}

/** Classes by a fact, spread over VMs of equal weight. */
export function spreadOver(
  key: GroupKey,
  vms: readonly string[],
  how: (typeof SPREADS)[number] = "round-robin",
  facts: Partial<SpreadTarget> = {},
): Pick<GroupRule, "classify" | "to"> {
  const targets = vms.map((vm) => ({ vm, weight: 1, max: Number.POSITIVE_INFINITY, ...facts }));
  return { classify: { kind: "key", key }, to: { kind: "spread", how, targets } };
}

export function aPolicy(rules: readonly Rule[], facts: Partial<Policy> = {}): Policy {
  const vms = [...new Set(["a", ...rules.flatMap(vmsOf)])];
  return {
    vms: vms.map((name) => ({ name, qmp: `/run/${name}.sock` })),
    vmPatterns: [],
    rules,
    never: [],
    allow: null,
    protect: [],
    settleMs: 2_000,
    limits: { detachPerChange: 1, keepAfterVmGoneMs: 60_000 },
    sources: { udevadm: true, udevDatabase: true, sysfsPolling: "auto", rescanMs: 30_000 },
    version: "v1",
    ...facts,
  };
}

export function aProcess(facts: Partial<VmProcess> = {}): VmProcess {
  return {
    pid: 4711,
    startTicks: "100",
    uid: 0,
    gid: 0,
    memlockBytes: null,
    canLockAnyMemory: true,
    executable: "/usr/bin/qemu-system-x86_64",
    cgroup: null,
    ...facts,
  };
}

export function aPort(bus: string, state: Port["state"] = { kind: "free" }): Port {
  const path = `/machine/peripheral/${bus}/${bus}`;
  return { bus, path, type: "pcie-root-port", mode: "acpi", state, addr: "0" };
}

export function aView(facts: Partial<VmView> = {}): VmView {
  return {
    runState: "running",
    machine: "pc-q35-7.2-machine",
    hasOwnFirmware: true,
    memoryBytes: 134_217_728,
    ports: [aPort("rp0"), aPort("rp1"), aPort("rp2")],
    attached: [],
    process: aProcess(),
    ...facts,
  };
}

export function up(facts: Partial<VmView> = {}): VmStatus {
  return { kind: "up", view: aView(facts) };
}

/** A device that we attached. */
export function attached(address: string, bus = "rp0", facts: Partial<Attached> = {}): Attached {
  const parsed = anAddress(address);
  const id = qemuIdOf(parsed);
  return {
    path: `/machine/peripheral/${id}`,
    id,
    address: parsed,
    bus,
    devfn: 0,
    mode: "acpi",
    canUnplug: true,
    ...facts,
  };
}

export function aLease(device: Device, vm: string, facts: Partial<Lease> = {}): Lease {
  return {
    address: device.address,
    vm,
    rule: "r",
    role: "claimed",
    bootId: "boot-1",
    identity: identityOf(device),
    appearance: device.appearance,
    original: { driver: "nouveau", override: null },
    ...facts,
  };
}

/** A device that VM `a` was asked for once, just now. */
export function anUnplug(address: string, facts: Partial<Unplug> = {}): Unplug {
  const parsed = anAddress(address);
  return {
    vm: "a",
    id: qemuIdOf(parsed),
    address: parsed,
    process: "4711:100",
    mode: "acpi",
    firstAskedMs: 1_000_000,
    askedMs: 1_000_000,
    times: 1,
    timesSinceReset: 1,
    ...facts,
  };
}

export interface WorldFacts {
  readonly devices?: readonly Device[];
  readonly policy?: Policy;
  readonly vms?: Readonly<Record<string, VmStatus>>;
  readonly leases?: readonly Lease[];
}

export function aWorld(facts: WorldFacts = {}, more: Partial<World> = {}): World {
  const devices = new Map((facts.devices ?? []).map((device) => [device.address, device]));
  return {
    ...emptyWorld,
    nowMs: 1_000_000,
    bootId: "boot-1",
    isHostSeen: true,
    policy: facts.policy ?? null,
    devices,
    vms: new Map(Object.entries(facts.vms ?? {})),
    leases: new Map((facts.leases ?? []).map((lease) => [lease.address, lease])),
    ...more,
  };
}

/** A device that the host stands on. */
export function protectedBy(because: string, facts: Partial<Protection> = {}): Protection {
  return { because, level: "hard", isLiftable: true, ...facts };
}
