/** What one rule gets, what it does not get and why, and what it misses by one key. */
import type { Device } from "./device.js";
import { onlyFailure } from "./explain-keys.js";
import type { DeviceOfRule, NearMiss, RuleExplanation } from "./explanation.js";
import { sortedAddresses } from "./iommu-group.js";
import { reportOutcome } from "./outcome.js";
import { OutcomeFinder } from "./outcome-finder.js";
import { type Rule, vmsOf } from "./policy.js";
import type { PlanReport } from "./report.js";
import { reportRules } from "./rule-report.js";
import type { Scene } from "./scene.js";

/** Explains one rule of the policy in force. */
export function explainRule(scene: Scene, rule: Rule, source: PlanReport["source"]): RuleExplanation {
  const report = reportRules(scene).filter(({ name }) => name === rule.name);
  const counted = report[0] ?? {
    name: rule.name,
    mode: rule.mode,
    onNoMatch: rule.onNoMatch,
    matches: 0,
    got: 0,
  };
  return {
    schema: "pciplug-explain/1",
    source,
    about: "rule",
    rule: { ...counted, vms: vmsOf(rule), priority: rule.priority },
    devices: devicesOf(scene, rule, new OutcomeFinder(scene)),
    nearMisses: nearMissesOf(scene, rule),
  };
}

/** Every device that the rule speaks of, sorted by address, and what came of it. */
export function devicesOf(scene: Scene, rule: Rule, finder: OutcomeFinder): readonly DeviceOfRule[] {
  const spoken = [...scene.assignment.findings.values()].flatMap(({ device, matches, open }) =>
    [...matches, ...open].some((entry) => entry.rule === rule) ? [device.address] : [],
  );
  return sortedAddresses(new Set([...spoken, ...finder.broughtInBy(rule)])).flatMap((address) => {
    const device = scene.world.devices.get(address);
    return device === undefined
      ? []
      : [{ ...placeOf(device), outcome: reportOutcome(finder.of(rule, device)) }];
  });
}

function nearMissesOf({ world }: Scene, rule: Rule): readonly NearMiss[] {
  return sortedAddresses(world.devices.keys()).flatMap((address) => {
    const device = world.devices.get(address) as Device;
    const key = onlyFailure(rule.match, device);
    return key === null ? [] : [{ ...placeOf(device), key }];
  });
}

function placeOf({ address, class: code }: Device): Pick<DeviceOfRule, "address" | "class"> {
  return code === undefined ? { address } : { address, class: code };
}
