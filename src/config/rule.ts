/**
 * One rule of the file as core knows it: the keys of its mode, and nothing that contradicts them.
 */
import { isVmName } from "../core/found-vms.js";
import { type RULE_MODES, type Rule, vmsOf } from "../core/policy.js";
import type { Complaints, KnownNames, Path } from "./complaints.js";
import { groupingOf } from "./rule-group.js";
import { selectionOf } from "./rule-select.js";
import { hasExactPath, traitsOf } from "./rule-traits.js";
import type { ConfigFile } from "./schema.js";
import { compileRule } from "./selection.js";
import { isPattern } from "./vm.js";

type RawRule = ConfigFile["rules"][number];
type Mode = (typeof RULE_MODES)[number];

/** The keys that belong to some modes only. */
const MODES_OF_KEY = {
  vm: ["batch", "select"],
  count: ["select"],
  prefer: ["select"],
  alternatives: ["select"],
  by: ["group"],
  classes: ["group"],
  to: ["group"],
  vms: ["group"],
  spread: ["group"],
} as const satisfies Partial<Record<keyof RawRule, readonly Mode[]>>;

const FIXED_SLOT = /^([0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f])\./i;

/** The rule at a position of the file; `null` where it was refused. */
export function ruleOf(index: number, file: ConfigFile, complaints: Complaints): Rule | null {
  const raw = file.rules[index];
  if (raw === undefined) {
    return null;
  }
  const path = ["rules", index];
  refuseKeysOfOtherModes(raw, path, complaints);
  refuseStrayVms(raw, path, file, complaints);
  const match = compileRule(raw, path, complaints);
  const traits = traitsOf(raw, path, complaints);
  const special = specialOf(raw, index, file, complaints);
  if (match === null || special === null) {
    return null;
  }
  const rule: Rule = { ...traits, name: raw.name, match, ...special };
  remarkOnPort(raw, rule, path, file, complaints);
  return rule;
}

/** What the rule's mode adds to match and traits. */
function specialOf(raw: RawRule, index: number, file: ConfigFile, complaints: Complaints) {
  const path = ["rules", index];
  if (raw.mode === "group") {
    const grouping = groupingOf(raw, path, complaints);
    return grouping === null ? null : { mode: raw.mode, ...grouping };
  }
  if (raw.vm === undefined) {
    complaints.refuse([...path, "vm"], "is missing: expected the name of a VM");
  }
  const vm = raw.vm ?? "";
  return raw.mode === "batch"
    ? { mode: raw.mode, vm }
    : { mode: raw.mode, vm, ...selectionOf(index, file, complaints) };
}

function refuseKeysOfOtherModes(raw: RawRule, path: Path, complaints: Complaints): void {
  for (const [key, modes] of Object.entries<readonly Mode[]>(MODES_OF_KEY)) {
    if (raw[key as keyof typeof MODES_OF_KEY] !== undefined && !modes.includes(raw.mode)) {
      complaints.refuseKey(
        [...path, key],
        `is for mode ${modes.join(" or ")}, and this rule is of mode ${raw.mode}`,
        raw.mode === "group" && key === "vm"
          ? "say where the classes go: vms, to, or vm at each class"
          : `write mode: ${modes.join(" or mode: ")}, or leave it out`,
      );
    }
  }
}

function refuseStrayVms(raw: RawRule, path: Path, file: ConfigFile, complaints: Complaints): void {
  const known: KnownNames = {
    noun: "VM",
    names: file.vms.flatMap((vm) => vm.name ?? []),
    hint: "add it to vms, or name one that is there",
  };
  const named: (readonly [Path, string | undefined])[] = [
    [["vm"], raw.vm],
    ...Object.entries(raw.to ?? {}).map(([name, vm]) => [["to", name], vm] as const),
    ...(raw.classes ?? []).map(({ vm }, index) => [["classes", index, "vm"], vm] as const),
    ...(raw.vms ?? []).map((target, index) =>
      typeof target === "string"
        ? ([["vms", index], target] as const)
        : ([["vms", index, "vm"], target.vm] as const),
    ),
  ];
  // With a pattern any VM may come. What no VM can be called is refused all the same.
  const isOpen = (vm: string) => file.vms.some(isPattern) && isVmName(vm);
  for (const [place, vm] of named) {
    if (vm !== undefined && !isOpen(vm)) {
      complaints.refuseStray([...path, ...place], vm, known);
    }
  }
}

function remarkOnPort(raw: RawRule, rule: Rule, path: Path, file: ConfigFile, complaints: Complaints): void {
  const { port } = rule;
  if (port === null) {
    return;
  }
  const place = [...path, "port"];
  const without = file.vms.find(
    (vm) =>
      vm.name !== undefined &&
      vmsOf(rule).includes(vm.name) &&
      vm.ports !== undefined &&
      !vm.ports.includes(port),
  );
  if (without !== undefined) {
    const known = without.ports?.join(", ");
    complaints.remark(place, `is not among the ports that the VM ${without.name} has: ${known}`);
  } else if (mayTakeSeveral(raw, rule)) {
    complaints.remark(
      place,
      "is one place, and this rule may take several devices: those that find it taken are held",
      "leave port out, or let the rule take one device",
    );
  }
}

function mayTakeSeveral(raw: RawRule, rule: Rule): boolean {
  if (rule.mode === "select") {
    return rule.alternatives.some(({ count }) => count.max > 1);
  }
  const [addresses, paths] = [raw.match?.address, raw.match?.path].map((texts) => [texts ?? []].flat());
  if (paths?.length === 1 && hasExactPath(raw)) {
    return false;
  }
  const slots = new Set(addresses?.map((text) => FIXED_SLOT.exec(text)?.[1] ?? null));
  const isOneCard = slots.size === 1 && !slots.has(null);
  return !isOneCard || (rule.unit === "function" && rule.match.exactAddresses.length !== 1);
}
