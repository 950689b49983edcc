/**
 * What the operator wants: the VMs, the ordered rules, the limits and the watch sources. Made by config/.
 */
import type { Selector } from "./selector.js";

export const MONITOR_CHOICES = ["dedicated", "shared"] as const;
/** `dedicated`: the monitor is ours, a connection stays. `shared`: others use it, we only visit it (design.md 6). */
export type MonitorUse = (typeof MONITOR_CHOICES)[number];

/** Who has to listen on a QMP socket before anything is said there (semantics.md 9). */
export interface ExpectedListener {
  /** Name or number of the user. */
  readonly user: string;
  /** Pattern over the whole path of the program, or, without a slash, over its file name. */
  readonly executable: string;
}

/** What an entry under `vms` says of each VM that it stands for. */
interface VmTraits {
  readonly monitor?: MonitorUse;
  readonly listener?: ExpectedListener;
  /** How long an unplug may be overdue before the machine is reset to complete it, in milliseconds; absent: for ever. */
  readonly resetToCompleteMs?: number;
  /** The NUMA node that it lives on, for rules that prefer close devices (semantics.md 4). */
  readonly numaNode?: number;
  /** Bus names of its hot-plug ports, for arguments that are resolved before it starts. */
  readonly ports?: readonly string[];
  /** Machine family, such as `q35` or `microvm`, for arguments that are resolved before it starts. */
  readonly machine?: string;
  /** Whether we may raise RLIMIT_MEMLOCK of its process where its first device needs that; absent: no. */
  readonly raiseMemlock?: boolean;
}

/** A virtual machine of the operator's file. */
export interface VmSpec extends VmTraits {
  readonly name: string;
  /** Path of its QMP socket (unix). */
  readonly qmp: string;
  /** The `qmp` of the entry that it comes from, where that has `{vm}` in it. */
  readonly pattern?: string;
}

/** An entry for every VM whose socket is at such a path (semantics.md 9). */
export interface VmPattern extends VmTraits {
  /** Path of the QMP sockets, with `{vm}` once where the VM's name stands. */
  readonly qmp: string;
}

export const RULE_MODES = ["batch", "select", "group"] as const;
export const UNIT_KINDS = ["function", "card", "iommu-group"] as const;
export const PLUG_CHOICES = ["each", "card"] as const;
export const COMPANION_CHOICES = ["refuse", "bind", "attach"] as const;
export const RELEASE_CHOICES = ["host", "vfio", "quarantine"] as const;
export const FOLLOW_CHOICES = ["address", "path", "serial"] as const;
export const SPREADS = ["round-robin", "pack", "weight"] as const;

/** Facts by which a group rule may classify (design.md 4); `address` makes every unit a class of its own. */
export const GROUP_KEYS = [
  "address",
  "card",
  "class",
  "device",
  "iommuGroup",
  "numaNode",
  "physfn",
  "root",
  "vendor",
] as const;
export type GroupKey = (typeof GROUP_KEYS)[number];

/** What the card must be for its rule to take it; every text as in {@link Device}, lower case. */
export interface Expectation {
  readonly vendor?: string;
  readonly device?: string;
  readonly subsystemVendor?: string;
  readonly subsystemDevice?: string;
  readonly serial?: string;
}

/** How a rule treats the devices that it claims, whatever its mode. */
export interface RuleTraits {
  /** Higher goes first; rules of one priority go in file order. */
  readonly priority: number;
  /** What is claimed together, all or none. */
  readonly unit: (typeof UNIT_KINDS)[number];
  /** What becomes of unclaimed neighbours in the IOMMU group that are on a host driver (semantics.md 7). */
  readonly companions: (typeof COMPANION_CHOICES)[number];
  readonly onConflict: "hold" | "first";
  readonly onNoMatch: "wait" | "warn" | "fail";
  readonly onRuleGone: "detach" | "keep";
  /** `next`: while its VM is down, the rule claims nothing. */
  readonly whenDown: "wait" | "next";
  /** Whether it may take a device out of a VM whose rule has a strictly lower priority. */
  readonly preempt: boolean;
  readonly release: (typeof RELEASE_CHOICES)[number];
  /** Whether ids, serial and path of what it takes are remembered, and demanded ever after. */
  readonly isPinned: boolean;
  /** What a pin sticks to when buses are renumbered. */
  readonly follow: (typeof FOLLOW_CHOICES)[number];
  readonly expect: Expectation | null;
  /** `override: protected`: takes what the host needs, where semantics.md 8 allows it at all. */
  readonly isOverride: boolean;
  /** Takes a device that is merely in use. */
  readonly takeConfigured: boolean;
  /** Takes devices although the host does not keep their DMA and interrupts apart. */
  readonly acceptUnsafe: boolean;
  /** Bus name of the port to use; `null`: any free one. */
  readonly port: string | null;
  /** Whether functions of one card that move as one share a port, as on the host, or get one each. */
  readonly plug: (typeof PLUG_CHOICES)[number];
  /** Plugs also where the port has too little address space for the BARs. */
  readonly acceptNoRoom: boolean;
  /** More properties for device_add and -device, such as `x-vga: on`. */
  readonly properties: Readonly<Record<string, string>>;
}

/** What a rule does where it says nothing else. */
export const DEFAULT_TRAITS: RuleTraits = {
  priority: 0,
  unit: "function",
  companions: "refuse",
  onConflict: "hold",
  onNoMatch: "wait",
  onRuleGone: "detach",
  whenDown: "wait",
  preempt: false,
  release: "host",
  isPinned: false,
  follow: "address",
  expect: null,
  isOverride: false,
  takeConfigured: false,
  acceptUnsafe: false,
  port: null,
  plug: "each",
  acceptNoRoom: false,
  properties: {},
};

interface RuleBase extends RuleTraits {
  readonly name: string;
  /** For `select`: what any of its alternatives may take. */
  readonly match: Selector;
}

/** Every match goes to the VM. */
export interface BatchRule extends RuleBase {
  readonly mode: "batch";
  readonly vm: string;
}

/** From `min` to `max` units; `max` may be infinite. */
export interface Count {
  readonly min: number;
  readonly max: number;
}

/** One way to satisfy a select rule; `match` narrows the rule's own. */
export interface Alternative {
  readonly match: Selector | null;
  readonly count: Count;
}

/** What a select rule likes better, most important first; the address breaks every tie. */
export type Preference =
  /** The VM's own NUMA node, then others, then what has none. */
  | { readonly by: "numa" }
  /** Below the root port of something that this rule, decided earlier, was given. */
  | { readonly by: "sameRootAs"; readonly rule: string }
  | { readonly by: "address"; readonly order: "lowest" | "highest" }
  | { readonly by: "memory"; readonly order: "largest" | "smallest" };

/** Some of the matches go to the VM. */
export interface SelectRule extends RuleBase {
  readonly mode: "select";
  readonly vm: string;
  /** In order: the first that can be had. */
  readonly alternatives: readonly Alternative[];
  readonly prefer: readonly Preference[];
}

/** One of the VMs over which classes are spread. */
export interface SpreadTarget {
  readonly vm: string;
  /** Share, for `weight`. */
  readonly weight: number;
  /** Most units that it gets; may be infinite. */
  readonly max: number;
}

/** Where the classes of a group rule go. */
export type Destination =
  /** Each class to its own VM, by the class's name; classes that are not named go nowhere. */
  | { readonly kind: "map"; readonly vms: ReadonlyMap<string, string> }
  | {
      readonly kind: "spread";
      readonly how: (typeof SPREADS)[number];
      readonly targets: readonly SpreadTarget[];
    };

/** How a group rule tells its classes apart: by a fact, or by the first of its named selectors that matches. */
export type Classifier =
  | { readonly kind: "key"; readonly key: GroupKey }
  | {
      readonly kind: "named";
      readonly classes: readonly { readonly name: string; readonly match: Selector }[];
    };

/** The matches are sorted into classes, and each class goes to one VM. */
export interface GroupRule extends RuleBase {
  readonly mode: "group";
  readonly classify: Classifier;
  readonly to: Destination;
}

/** One rule: which devices, how, and for whom. */
export type Rule = BatchRule | SelectRule | GroupRule;

/** Every VM that a rule may give devices to. */
export function vmsOf(rule: Rule): readonly string[] {
  if (rule.mode !== "group") {
    return [rule.vm];
  }
  return rule.to.kind === "map"
    ? [...new Set(rule.to.vms.values())]
    : rule.to.targets.map((target) => target.vm);
}

export interface Limits {
  /** How many attached devices one change of the policy may take from VMs (semantics.md 6). */
  readonly detachPerChange: number;
  /** How long the cards of a vanished VM stay bound for its return, in milliseconds (semantics.md 6, onVmGone). */
  readonly keepAfterVmGoneMs: number;
}

/** The names under which the log says who saw a device first (facts.md 10). */
export const SOURCE_NAMES = ["udevadm", "udev-database", "sysfs-polling", "rescan"] as const;
export type SourceName = (typeof SOURCE_NAMES)[number];

/** Which watch sources are wanted. */
export interface SourceSettings {
  readonly udevadm: boolean;
  readonly udevDatabase: boolean;
  /** `auto`: poll only while no event source is healthy (facts.md 13). */
  readonly sysfsPolling: boolean | "auto";
  /** Period of the full look, in milliseconds; `null` when switched off. */
  readonly rescanMs: number | null;
}

/** The whole of the operator's file, checked. */
export interface Policy {
  /** Those of the file, and those that its patterns stand for as far as they are known (see core/found-vms.ts). */
  readonly vms: readonly VmSpec[];
  /** In file order. */
  readonly vmPatterns: readonly VmPattern[];
  /** In file order. */
  readonly rules: readonly Rule[];
  /** Devices that nobody gets, whatever a rule says. */
  readonly never: readonly Selector[];
  /** When present, nothing outside of it is given to anybody. */
  readonly allow: readonly Selector[] | null;
  /** Devices that the operator lists as needed by the host (semantics.md 8). */
  readonly protect: readonly Selector[];
  /** How long the inventory must have been quiet before `select` rules choose, in milliseconds (semantics.md 4). */
  readonly settleMs: number;
  readonly limits: Limits;
  readonly sources: SourceSettings;
  /** Changes whenever the file's meaning may have: a digest of its text. */
  readonly version: string;
}
