/** What keeps a rule from a yes or no about devices: how many, and for want of which facts (semantics.md 3). */
import { counted } from "../base/counted.js";
import type { PciAddress } from "./address.js";
import type { Rule } from "./policy.js";
import type { Scene } from "./scene.js";
import { evaluateSelector } from "./selector.js";
import type { KeyVerdict } from "./selector-key.js";

/** The devices on which a rule has no answer. */
export interface OpenQuestion {
  /** In address order; never empty. */
  readonly addresses: readonly PciAddress[];
  /** What is not known of any of them, each once: `serial unreadable`. */
  readonly why: readonly string[];
}

/** The devices on which the rule has no answer; `null` where it has one on each. What `never` and `allow` keep is none. */
export function openOf({ assignment }: Pick<Scene, "assignment">, rule: Rule): OpenQuestion | null {
  const found = [...assignment.findings.values()].filter(
    ({ open, exclusion }) =>
      (exclusion === null || exclusion === "unknown") && open.some((entry) => entry.rule === rule),
  );
  const why = found.flatMap(({ device }) =>
    unknownsIn(evaluateSelector(rule.match, device).keys).map((entry) => entry.why ?? entry.key),
  );
  return found.length === 0
    ? null
    : { addresses: found.map(({ device }) => device.address), why: [...new Set(why)] };
}

/** As part of a sentence: `2 devices could not be judged: serial unreadable`. */
export function describeOpen(devices: number, why: readonly string[]): string {
  return `${counted(devices, "device")} could not be judged: ${why.join(", ")}`;
}

function unknownsIn(keys: readonly KeyVerdict[]): readonly KeyVerdict[] {
  return keys.filter(({ verdict }) => verdict === "unknown");
}
