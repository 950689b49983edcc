/** Facts that cost a read of their own, and so are read only where a rule asks for them (semantics.md 3). */

import type { Policy, Rule } from "./policy.js";

export interface FactWishes {
  readonly serial: boolean;
  readonly udev: boolean;
  /** Names of sysfs attributes, each once, in order. */
  readonly attributes: readonly string[];
}

export const NO_WISHES: FactWishes = { serial: false, udev: false, attributes: [] };

/** What all of these wish for together. */
export function unionOfWishes(wishes: readonly FactWishes[]): FactWishes {
  return {
    serial: wishes.some(({ serial }) => serial),
    udev: wishes.some(({ udev }) => udev),
    attributes: [...new Set(wishes.flatMap(({ attributes }) => attributes))].sort(),
  };
}

/**
 * What a policy needs to know of a device beyond a plain look: whatever one of its selectors asks about, and the
 * serial where a rule pins cards, follows them by it, expects one, or overrides a protection.
 */
export function wishesOf(policy: Policy): FactWishes {
  const selectors = [
    ...policy.rules.flatMap(selectorsOf),
    ...policy.never,
    ...(policy.allow ?? []),
    ...policy.protect,
  ];
  return unionOfWishes([
    ...selectors.map(({ wishes }) => wishes),
    { ...NO_WISHES, serial: policy.rules.some(needsSerial) },
  ]);
}

function selectorsOf(rule: Rule) {
  switch (rule.mode) {
    case "batch":
      return [rule.match];
    case "select":
      return [rule.match, ...rule.alternatives.flatMap(({ match }) => match ?? [])];
    case "group":
      return [
        rule.match,
        ...(rule.classify.kind === "named" ? rule.classify.classes.map(({ match }) => match) : []),
      ];
  }
}

function needsSerial(rule: Rule): boolean {
  return rule.isPinned || rule.isOverride || rule.follow === "serial" || rule.expect?.serial !== undefined;
}
