/**
 * Group rules: matches are sorted into classes, and each class goes to its own VM or to one of several.
 */
import { type PciAddress, slotOf } from "./address.js";
import type { Device } from "./device.js";
import type { Destination, GroupKey, GroupRule, SpreadTarget } from "./policy.js";
import { verdictOf } from "./selector.js";

/** Where a unit goes: a VM, or nowhere because its class has none. */
export interface ClassMember {
  readonly device: Device;
  readonly class: string;
  readonly vm: string | null;
}

/**
 * Sorts units into classes and sends the classes to VMs. `keptBy`: the VM that has a device already and keeps it, where
 * the rule still allows that; a class follows the first of its members that is kept.
 */
export function classify(
  rule: Pick<GroupRule, "classify" | "to">,
  devices: readonly Device[],
  keptBy: (address: PciAddress) => string | undefined,
): readonly ClassMember[] {
  const classes = new Map<string, Device[]>();
  for (const device of devices) {
    const name = classOf(rule.classify, device);
    classes.set(name, [...(classes.get(name) ?? []), device]);
  }
  const names = orderedNames(rule.classify, classes);
  const vms = rule.to.kind === "map" ? rule.to.vms : spread(rule.to, names, classes, keptBy);
  return names.flatMap((name) =>
    (classes.get(name) ?? []).map((device) => ({ device, class: name, vm: vms.get(name) ?? null })),
  );
}

/** A fact that is not known is a class of its own, `unknown`, which only a map can send somewhere. */
function classOf(classifier: GroupRule["classify"], device: Device): string {
  if (classifier.kind === "named") {
    const verdicts = classifier.classes.map((entry) => verdictOf(entry.match, device));
    const first = verdicts.findIndex((verdict) => verdict !== "no-match");
    return verdicts[first] === "match"
      ? (classifier.classes[first]?.name ?? UNKNOWN)
      : first < 0
        ? NONE
        : UNKNOWN;
  }
  return keyOf(classifier.key, device);
}

const UNKNOWN = "unknown";
const NONE = "none";

function keyOf(key: GroupKey, device: Device): string {
  switch (key) {
    case "address":
      return device.address;
    case "card":
      return slotOf(device.address);
    case "class":
      return device.class?.slice(0, 4) ?? UNKNOWN;
    case "numaNode":
      return device.numaNode === undefined || device.numaNode < 0 ? UNKNOWN : String(device.numaNode);
    default:
      return device[key] === undefined ? UNKNOWN : String(device[key] ?? NONE);
  }
}

/** Named classes in the rule's order; others by their first device, for devices come in address order. */
function orderedNames(
  classifier: GroupRule["classify"],
  classes: ReadonlyMap<string, unknown>,
): readonly string[] {
  const present = [...classes.keys()];
  if (classifier.kind === "key") {
    return present;
  }
  const named = classifier.classes.map((entry) => entry.name);
  return [...named.filter((name) => classes.has(name)), ...present.filter((name) => !named.includes(name))];
}

type Spread = Extract<Destination, { kind: "spread" }>;

/**
 * Class by class to the VM whose turn it is. What is kept elsewhere than that stays where it is, and then the others
 * are dealt out again around it; where nothing is, the answer is the one without any history.
 */
function spread(
  to: Spread,
  names: readonly string[],
  classes: ReadonlyMap<string, readonly Device[]>,
  keptBy: (address: PciAddress) => string | undefined,
): ReadonlyMap<string, string> {
  const known = names.filter((name) => name !== UNKNOWN && name !== NONE);
  const sizes = new Map(known.map((name) => [name, classes.get(name)?.length ?? 0]));
  const deal = new Deal(to, sizes);
  for (const name of known) {
    deal.send(name);
  }
  const isTarget = (vm: string | undefined) => to.targets.some((target) => target.vm === vm);
  const kept = new Map(
    known.flatMap((name) => {
      const vm = (classes.get(name) ?? []).map((device) => keptBy(device.address)).find(isTarget);
      return vm === undefined ? [] : [[name, vm] as const];
    }),
  );
  if ([...kept].every(([name, vm]) => deal.sent.get(name) === vm)) {
    return deal.sent;
  }
  for (const [name, vm] of kept) {
    deal.move(name, vm);
  }
  for (const name of known.filter((entry) => !kept.has(entry))) {
    deal.send(name);
  }
  return deal.sent;
}

/** Which class goes to which VM, while it is decided. */
class Deal {
  readonly sent = new Map<string, string>();
  readonly #to: Spread;
  readonly #sizes: ReadonlyMap<string, number>;

  constructor(to: Spread, sizes: ReadonlyMap<string, number>) {
    this.#to = to;
    this.#sizes = sizes;
  }

  move(name: string, vm: string): void {
    this.sent.set(name, vm);
  }

  /** To the VM whose turn it is; where it is already, unless another one is less burdened. */
  send(name: string): void {
    const now = this.sent.get(name);
    this.sent.delete(name);
    const size = this.#sizes.get(name) ?? 0;
    const open = this.#to.targets.filter((target) => this.#load(target.vm).units + size <= target.max);
    const next = this.#next(open, size);
    const here = open.find((target) => target.vm === now);
    const isNoBetter =
      next !== undefined && here !== undefined && this.#burden(here, size) <= this.#burden(next, size);
    const vm = (isNoBetter ? here : next)?.vm;
    if (vm !== undefined) {
      this.sent.set(name, vm);
    }
  }

  /** The first of the least burdened: with equal classes, each VM in its turn. */
  #next(open: readonly SpreadTarget[], size: number): SpreadTarget | undefined {
    return open.reduce<SpreadTarget | undefined>(
      (best, target) =>
        best === undefined || this.#burden(target, size) < this.#burden(best, size) ? target : best,
      undefined,
    );
  }

  #burden(target: SpreadTarget, size: number): number {
    const { units, turns } = this.#load(target.vm);
    switch (this.#to.how) {
      case "pack":
        // The first in the list that has room.
        return this.#to.targets.indexOf(target);
      case "weight":
        return (units + size) / target.weight;
      case "round-robin":
        return turns;
    }
  }

  #load(vm: string): { readonly units: number; readonly turns: number } {
    const mine = [...this.sent].filter(([, sentTo]) => sentTo === vm);
    return { units: mine.reduce((sum, [name]) => sum + (this.#sizes.get(name) ?? 0), 0), turns: mine.length };
  }
}
