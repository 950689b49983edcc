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

/** What a VM has been sent so far: units, and classes. */
interface Load {
  readonly units: number;
  readonly turns: number;
}

const NO_LOAD: Load = { units: 0, turns: 0 };

/** What is kept stays where it is; then class by class to the VM whose turn it is. */
function spread(
  to: Extract<Destination, { kind: "spread" }>,
  names: readonly string[],
  classes: ReadonlyMap<string, readonly Device[]>,
  keptBy: (address: PciAddress) => string | undefined,
): ReadonlyMap<string, string> {
  const sent = new Map<string, string>();
  const load = new Map<string, Load>(to.targets.map((target) => [target.vm, { units: 0, turns: 0 }]));
  const known = names.filter((name) => name !== UNKNOWN && name !== NONE);
  const send = (name: string, target: SpreadTarget | undefined): void => {
    if (target !== undefined) {
      sent.set(name, target.vm);
      const { units, turns } = load.get(target.vm) ?? NO_LOAD;
      load.set(target.vm, { units: units + (classes.get(name)?.length ?? 0), turns: turns + 1 });
    }
  };
  for (const name of known) {
    const vm = (classes.get(name) ?? [])
      .map((device) => keptBy(device.address))
      .find((entry) => load.has(entry ?? ""));
    send(
      name,
      to.targets.find((target) => target.vm === vm),
    );
  }
  for (const name of known.filter((entry) => !sent.has(entry))) {
    const size = classes.get(name)?.length ?? 0;
    const open = to.targets.filter((target) => (load.get(target.vm) ?? NO_LOAD).units + size <= target.max);
    send(name, nextTarget(to.how, open, load, size));
  }
  return sent;
}

function nextTarget(
  how: Extract<Destination, { kind: "spread" }>["how"],
  open: readonly SpreadTarget[],
  load: ReadonlyMap<string, Load>,
  size: number,
): SpreadTarget | undefined {
  if (how === "pack") {
    return open[0];
  }
  const burden = ({ vm, weight }: SpreadTarget) => {
    const { units, turns } = load.get(vm) ?? NO_LOAD;
    return how === "weight" ? (units + size) / weight : turns;
  };
  // The first of the least burdened: with equal classes, each VM in its turn.
  return open.reduce<SpreadTarget | undefined>(
    (best, target) => (best === undefined || burden(target) < burden(best) ? target : best),
    undefined,
  );
}
