/** The world as the deciding looks at it, or a part of it: rules in rank, neighbours, and who has what already. */
import { InvariantError } from "../base/error.js";
import { compareAddresses, type PciAddress } from "./address.js";
import { type Device, identityOf } from "./device.js";
import { intentObjection, objectionTo } from "./eligibility.js";
import { type Exclusion, exclusionOf } from "./findings.js";
import type { HeldReason } from "./held.js";
import { isLeaseOf, type Lease } from "./lease.js";
import { DEFAULT_TRAITS, type Policy, type Rule } from "./policy.js";
import { type RankedRule, rankRules } from "./ranking.js";
import { compileSelector } from "./selector.js";
import { Topology } from "./topology.js";
import type { Unit } from "./unit.js";
import type { VmStatus } from "./vm.js";
import type { World } from "./world.js";

/** What assign depends on. Whether a VM is up matters only to rules that say `whenDown: next`. */
export type AssignWorld = Pick<
  World,
  | "policy"
  | "devices"
  | "protections"
  | "dma"
  | "leases"
  | "holds"
  | "intents"
  | "vms"
  | "nowMs"
  | "inventoryMovedMs"
>;

/** An operator's `attach`, as a rule. */
interface OrderRule {
  readonly address: PciAddress;
  readonly vm: string;
  readonly rule: Rule;
}

/** The name under which an operator's order appears where a rule is named. No rule can have it. */
export const ORDER_NAME = "@attach";

export class Situation {
  readonly world: AssignWorld;
  readonly ranked: readonly RankedRule[];
  readonly topology: Topology;
  readonly orders: readonly OrderRule[];
  /** Devices that are leased to a VM in this boot, as claimed. */
  readonly #leases: ReadonlyMap<PciAddress, Lease>;
  /** Those of them that are leased by a rule that is not in the file any more. */
  readonly #unruled: ReadonlySet<PciAddress>;
  readonly #exclusions = new Map<Device, Exclusion | null>();

  /** `ranked`: the rules that have a say here. `had`: what VMs are taken to have beside what is leased to them. */
  constructor(
    world: AssignWorld,
    ranked = world.policy === null ? [] : rankRules(world.policy),
    had: readonly Lease[] = [],
  ) {
    this.world = world;
    this.ranked = ranked;
    this.topology = new Topology(world.devices);
    const leased = [...world.leases].filter(
      ([address, lease]) => lease.role === "claimed" && isLeaseOf(lease, world.devices.get(address)),
    );
    this.#leases = new Map([...had.map((lease) => [lease.address, lease] as const), ...leased]);
    const isInFile = (rule: string) => world.policy?.rules.some(({ name }) => name === rule) === true;
    this.#unruled = new Set(
      [...this.#leases.values()].filter(({ rule }) => !isInFile(rule)).map(({ address }) => address),
    );
    this.orders = world.intents.orders
      .filter((order) => world.devices.has(order.address))
      .filter((order) => world.policy?.vms.some((vm) => vm.name === order.vm) === true)
      .map(({ address, vm }) => ({ address, vm, rule: orderRule(address, vm) }));
  }

  /** The same situation, when all of these units are where they shall be. */
  carriedOut(units: readonly Unit[]): Situation {
    const had = units.flatMap(({ vm, rules }) =>
      [...rules].flatMap(([address, { name }]): readonly Lease[] => {
        const device = this.world.devices.get(address);
        return device === undefined
          ? []
          : [
              {
                address,
                vm,
                rule: name,
                role: "claimed",
                bootId: "",
                identity: identityOf(device),
                appearance: device.appearance,
                original: null,
              },
            ];
      }),
    );
    return new Situation(this.world, this.ranked, had);
  }

  /** The lease in force on a device. */
  leaseOn(address: PciAddress): Lease | undefined {
    return this.#leases.get(address);
  }

  /** The VM that has a device, or is about to have it, in this boot. */
  keeperOf(address: PciAddress): string | undefined {
    return this.#leases.get(address)?.vm;
  }

  /** The VM that has a device by this rule; a lease by a rule that is not in the file any more speaks for any. */
  keeperBy(rule: Rule, address: PciAddress): string | undefined {
    const lease = this.#leases.get(address);
    return lease?.rule === rule.name || this.#unruled.has(address) ? lease?.vm : undefined;
  }

  /** Whether a rule may take a device that it matches, for the device's own sake (eligibility.ts). */
  objectionTo(rule: Rule, vm: string | null, device: Device, isNamed = true): HeldReason | null {
    return objectionTo(rule, vm, device, this.#exclusionOf(device), this.world, isNamed);
  }

  /** Whether a neighbour may go to vfio-pci for a VM: nobody's own, and not kept from it by the operator. */
  mayBind(device: Device, vm: string): boolean {
    return (
      this.keeperOf(device.address) === undefined &&
      this.#exclusionOf(device) === null &&
      intentObjection(vm, device, this.world) === null
    );
  }

  /** Whether a rule says nothing now, because its VM is down and it says `whenDown: next`. */
  isSilent(rule: Rule, vm: string, address: PciAddress): boolean {
    const status = this.world.vms.get(vm);
    if (rule.whenDown !== "next" || status?.kind !== "absent") {
      return false;
    }
    return this.keeperOf(address) !== vm || isGraceOver(this.world, status);
  }

  /** Whether `select` rules still wait for the inventory to come to rest (semantics.md 4). */
  get isSettling(): boolean {
    return this.world.inventoryMovedMs !== null;
  }

  /** Compares devices by their addresses. */
  readonly inOrder = (a: Device, b: Device): number => compareAddresses(a.address, b.address);

  /** The NUMA node that a VM lives on, where its entry says so. */
  numaNodeOf(vm: string): number | undefined {
    return policyVm(this.world.policy, vm)?.numaNode;
  }

  #exclusionOf(device: Device): Exclusion | null {
    let exclusion = this.#exclusions.get(device);
    if (exclusion === undefined) {
      exclusion = this.world.policy === null ? null : exclusionOf(this.world.policy, device);
      this.#exclusions.set(device, exclusion);
    }
    return exclusion;
  }
}

/** Whether a VM has been gone for so long that what it has is not kept for it: a restart must not cost it its cards. */
export function isGraceOver({ policy, nowMs }: Pick<World, "policy" | "nowMs">, status: VmStatus): boolean {
  const graceMs = policy?.limits.keepAfterVmGoneMs ?? 0;
  return status.kind === "absent" && nowMs >= status.sinceMs + graceMs;
}

function policyVm(policy: Policy | null, name: string) {
  return policy?.vms.find((vm) => vm.name === name);
}

function orderRule(address: PciAddress, vm: string): Rule {
  const selector = compileSelector({ address });
  if (!selector.ok) {
    throw new InvariantError(`cannot make a rule of the order for ${address}`, { address, vm });
  }
  return { ...DEFAULT_TRAITS, mode: "batch", name: ORDER_NAME, match: selector.value, vm };
}
