/**
 * What another policy says otherwise, by name: for people who read the audit. Nothing is decided by it.
 */
import type { Policy } from "./policy.js";

/** The names that came, went, or mean something else now; each in the order of its file. */
export interface NamesChanged {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
}

export interface PolicyChange {
  readonly rules: NamesChanged;
  readonly vms: NamesChanged;
  /** Keys of the policy beside its rules and VMs, such as `limits`; `order` where rules changed places. */
  readonly settings: readonly string[];
}

/** The settings that are compared, each as a whole. */
const SETTINGS = ["never", "allow", "protect", "settleMs", "limits", "sources"] as const;

/** Compares two policies. */
export function comparePolicies(before: Policy, after: Policy): PolicyChange {
  const settings: string[] = SETTINGS.filter((key) => textOf(before[key]) !== textOf(after[key]));
  return {
    rules: compareNamed(before.rules, after.rules),
    vms: compareNamed(before.vms, after.vms),
    settings: isReordered(before, after) ? ["order", ...settings] : settings,
  };
}

/** One line, such as `rules: added gpus, removed nics; limits changed`. */
export function describeChange({ rules, vms, settings }: PolicyChange): string {
  const parts = [
    describeNames("rules", rules),
    describeNames("VMs", vms),
    ...settings.map((key) => (key === "order" ? "rules in another order" : `${key} changed`)),
  ].filter((part) => part !== "");
  return parts.length === 0 ? "it means the same" : parts.join("; ");
}

function describeNames(noun: string, names: NamesChanged): string {
  const parts = (["added", "removed", "changed"] as const).flatMap((how) =>
    names[how].length === 0 ? [] : [`${how} ${names[how].join(" ")}`],
  );
  return parts.length === 0 ? "" : `${noun}: ${parts.join(", ")}`;
}

type Named = readonly { readonly name: string }[];

function compareNamed(before: Named, after: Named): NamesChanged {
  const was = new Map(before.map((entry) => [entry.name, textOf(entry)]));
  const is = new Map(after.map((entry) => [entry.name, textOf(entry)]));
  return {
    added: [...is.keys()].filter((name) => !was.has(name)),
    removed: [...was.keys()].filter((name) => !is.has(name)),
    changed: [...is].flatMap(([name, text]) => (was.has(name) && was.get(name) !== text ? [name] : [])),
  };
}

/** Order decides between rules of one priority. */
function isReordered(before: Policy, after: Policy): boolean {
  const common = (rules: Named, others: Named) =>
    rules.map((rule) => rule.name).filter((name) => others.some((other) => other.name === name));
  return common(before.rules, after.rules).join() !== common(after.rules, before.rules).join();
}

/** The data of a value as text; selectors carry what was written, so that their functions need not be compared. */
function textOf(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (inner instanceof Map) {
      return [...inner];
    }
    return inner === Number.POSITIVE_INFINITY ? "infinite" : inner;
  });
}
