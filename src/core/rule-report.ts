/** What each rule came to, as it is told. */
import { ruleOf } from "./assignment-report.js";
import { openOf } from "./open-question.js";
import type { Rule } from "./policy.js";
import type { Scene } from "./scene.js";
import { vmStatus } from "./world.js";

/** A select rule that cannot have its minimum: who has what it could use. */
export interface ShortReport {
  readonly needed: number;
  readonly found: number;
  readonly holders: readonly string[];
}

export interface RuleReport {
  readonly name: string;
  readonly mode: Rule["mode"];
  readonly onNoMatch: Rule["onNoMatch"];
  /** How many devices match it for certain. */
  readonly matches: number;
  /** How many devices it gives to VMs. */
  readonly got: number;
  readonly short?: ShortReport;
  /** Where there are devices on which the rule has no answer. */
  readonly open?: OpenReport;
}

/** What a rule cannot be held against. */
export interface OpenReport {
  /** How many devices. */
  readonly devices: number;
  /** What is not known of any of them, each once: `serial unreadable`. */
  readonly why: readonly string[];
}

/** Every rule of the file, in its order. */
export function reportRules(scene: Scene): readonly RuleReport[] {
  const matches = new Map<Rule, number>();
  for (const found of scene.assignment.findings.values()) {
    for (const { rule } of found.matches) {
      matches.set(rule, (matches.get(rule) ?? 0) + 1);
    }
  }
  const got = new Map<string, number>();
  for (const [address, unit] of scene.assignment.byDevice) {
    const name = ruleOf(unit, address);
    got.set(name, (got.get(name) ?? 0) + 1);
  }
  return (scene.world.policy?.rules ?? []).map((rule) => {
    const { name, mode, onNoMatch } = rule;
    const report = { name, mode, onNoMatch, matches: matches.get(rule) ?? 0, got: got.get(name) ?? 0 };
    const short = shortageOf(scene, rule);
    const open = openOf(scene, rule);
    return {
      ...report,
      ...(short === null ? {} : { short }),
      ...(open === null ? {} : { open: { devices: open.addresses.length, why: open.why } }),
    };
  });
}

/** What a rule is short of; `null` also while it still waits for the inventory, or says nothing because its VM is down. */
function shortageOf({ world, assignment }: Scene, rule: Rule): ShortReport | null {
  const short = assignment.shortages.find((entry) => entry.rule === rule.name);
  const isSilent =
    short !== undefined && rule.whenDown === "next" && vmStatus(world, short.vm).kind === "absent";
  if (short === undefined || isSilent || world.inventoryMovedMs !== null) {
    return null;
  }
  const { needed, found, holders } = short;
  return { needed, found, holders };
}
