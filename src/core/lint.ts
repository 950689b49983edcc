/** What a good file may still mean otherwise than it says, on one host: rules that can never do anything, and the like. */
import type { PciAddress } from "./address.js";
import { ruleOf } from "./assignment-report.js";
import type { Device } from "./device.js";
import type { HeldReason } from "./held.js";
import { describeHeld } from "./held-text.js";
import { isBridgeDevice } from "./iommu-group.js";
import { describeOpen, openOf } from "./open-question.js";
import { listed } from "./outcome.js";
import { OutcomeFinder } from "./outcome-finder.js";
import type { Policy, Rule } from "./policy.js";
import { rankRules } from "./ranking.js";
import type { Scene } from "./scene.js";
import { evaluateSelector } from "./selector.js";

/** Something worth a second look. `kind` is for programs, `message` for people. */
export interface Warning {
  readonly kind:
    | "no-match"
    | "excluded"
    | "shadowed"
    | "held"
    | "not-judged"
    | "conflict"
    | "short"
    | "start-race";
  /** The rules that it is about, by name. */
  readonly rules: readonly string[];
  readonly addresses: readonly PciAddress[];
  readonly message: string;
}

/** Every warning about the policy of a scene: rule by rule, then what is about several. */
export function lint(scene: Scene): readonly Warning[] {
  const { policy } = scene.world;
  if (policy === null) {
    return [];
  }
  const finder = new OutcomeFinder(scene);
  return [
    ...policy.rules.flatMap((rule) => {
      const idle = [...idleWarnings(scene, rule), ...shadowWarnings(scene, rule, finder, policy)];
      return [...(idle.length > 0 ? idle : heldWarnings(scene, rule, finder)), ...raceWarnings(scene, rule)];
    }),
    ...conflictWarnings(scene),
    ...shortWarnings(scene),
  ];
}

function devicesMatching({ assignment }: Scene, rule: Rule) {
  return [...assignment.findings.values()].filter(({ matches }) =>
    matches.some((entry) => entry.rule === rule),
  );
}

/** Rules that match nothing, or only what `never` and `allow` keep from everyone. */
function idleWarnings(scene: Scene, rule: Rule): readonly Warning[] {
  const matching = devicesMatching(scene, rule);
  if (matching.length === 0) {
    const open = openOf(scene, rule);
    const message =
      open === null
        ? `rule ${rule.name} matches nothing on this host: ${whyNothing(scene, rule)}`
        : `rule ${rule.name} matches nothing for certain on this host: ${describeOpen(open.addresses.length, open.why)}`;
    const addresses = open?.addresses ?? [];
    return [{ kind: open === null ? "no-match" : "not-judged", rules: [rule.name], addresses, message }];
  }
  const excluded = matching.filter(({ exclusion }) => exclusion !== null);
  if (excluded.length < matching.length) {
    return [];
  }
  const addresses = excluded.map(({ device }) => device.address);
  const message = `rule ${rule.name} gets nothing: never or allow keeps everything that it matches from every VM`;
  return [{ kind: "excluded", rules: [rule.name], addresses, message }];
}

/** The keys that no device fulfils; where each is fulfilled by some, no device fulfils all. */
function whyNothing({ world }: Scene, rule: Rule): string {
  const verdicts = [...world.devices.values()].map((device) => evaluateSelector(rule.match, device).keys);
  const hopeless = (verdicts[0] ?? []).filter((_, place) =>
    verdicts.every((keys) => keys[place]?.verdict === "no-match"),
  );
  if (verdicts.length === 0) {
    return "it has no PCI devices";
  }
  return hopeless.length === 0
    ? "each of its keys matches something, but no device matches all of them"
    : hopeless.map(describeHopeless).join(", ");
}

function describeHopeless({
  key,
  wanted,
}: {
  readonly key: string;
  readonly wanted: readonly string[];
}): string {
  return wanted.length === 0 ? `no device passes ${key}` : `no device has ${key} ${wanted.join(" or ")}`;
}

/** Rules whose every match goes to a rule that stands before them. */
function shadowWarnings(scene: Scene, rule: Rule, finder: OutcomeFinder, policy: Policy): readonly Warning[] {
  const matching = devicesMatching(scene, rule);
  const place = rankRules(policy).findIndex((entry) => entry.rule === rule);
  const winners = matching.map(({ device }) => {
    const unit = scene.assignment.byDevice.get(device.address);
    const winner = unit === undefined ? rule.name : ruleOf(unit, device.address);
    return finder.rankOf(winner) < place ? winner : null;
  });
  if (matching.length === 0 || winners.includes(null)) {
    return [];
  }
  const names = [...new Set(winners.flatMap((winner) => winner ?? []))].sort();
  const message = `rule ${rule.name} gets nothing on this host: ${names.join(", ")} stands before it and takes all that it matches`;
  const addresses = matching.map(({ device }) => device.address);
  return [{ kind: "shadowed", rules: [rule.name, ...names], addresses, message }];
}

/** Rules that match something and get none of it, because each device is held: one of them, and why. */
function heldWarnings(scene: Scene, rule: Rule, finder: OutcomeFinder): readonly Warning[] {
  const outcomes = devicesMatching(scene, rule).map(({ device }) => ({
    device,
    outcome: finder.of(rule, device),
  }));
  const held = outcomes.flatMap(({ device, outcome }) =>
    outcome.kind === "held" ? [{ device, reason: outcome.reason }] : [],
  );
  // A conflict and a shortage of what could be had are told for all of their rules at once.
  const telling = held.filter(({ reason }) => reason.kind !== "conflict" && reason.kind !== "short");
  const [example] = [...telling].sort((a, b) => plainness(a) - plainness(b));
  if (example === undefined || held.length < outcomes.length) {
    return [];
  }
  const many = held.length === 1 ? "the one device" : `each of the ${held.length} devices`;
  const { device, reason } = example;
  const one = held.length === 1 ? device.address : `${device.address} for one`;
  const message = `rule ${rule.name} gets nothing on this host: ${many} that it matches is held, ${one}: ${describeHeld(reason)}`;
  return [
    { kind: "held", rules: [rule.name], addresses: held.map((entry) => entry.device.address), message },
  ];
}

interface HeldDevice {
  readonly device: Device;
  readonly reason: HeldReason;
}

/** How little a device says about why a rule gets nothing: that a sweeping rule takes no bridge surprises nobody. */
function plainness({ device, reason }: HeldDevice): number {
  if (isBridgeDevice(device)) {
    return 3;
  }
  return reason.kind === "delicate-class" ? 2 : Number(reason.kind === "outranked");
}

/** What a network daemon may configure before the agent takes it, or after (semantics.md 8). */
function raceWarnings(scene: Scene, rule: Rule): readonly Warning[] {
  const addresses = devicesMatching(scene, rule).flatMap(({ device }) => {
    const isNetwork = device.class?.startsWith("02") === true;
    return isNetwork && scene.world.protections.get(device.address)?.level === "soft" ? [device.address] : [];
  });
  if (addresses.length === 0) {
    return [];
  }
  const what = rule.takeConfigured ? "taken from a host that uses it" : "held because the host uses it";
  const message = `rule ${rule.name}: ${listed(addresses)} may be ${what} or free, as a network daemon is quick or slow at boot; bind it to vfio-pci by a udev rule for the same start every time`;
  return [{ kind: "start-race", rules: [rule.name], addresses, message }];
}

function conflictWarnings({ assignment }: Scene): readonly Warning[] {
  const byRules = new Map<string, Warning>();
  for (const { address, reason } of assignment.held) {
    if (reason.kind === "conflict") {
      const key = reason.rules.join(" ");
      const addresses = [...(byRules.get(key)?.addresses ?? []), address];
      const wanted = `rules ${reason.rules.join(" and ")} want ${listed(addresses)} for ${reason.vms.join(" and ")}`;
      const message = `conflict: ${wanted}; nobody gets it (give one a priority, or both onConflict: first)`;
      byRules.set(key, { kind: "conflict", rules: reason.rules, addresses, message });
    }
  }
  return [...byRules.values()];
}

function shortWarnings({ assignment }: Scene): readonly Warning[] {
  return assignment.shortages
    .filter(({ rule }) =>
      [...assignment.findings.values()].some(({ matches }) =>
        matches.some((entry) => entry.rule.name === rule),
      ),
    )
    .map(({ rule, needed, found, holders }) => ({
      kind: "short" as const,
      rules: [rule],
      addresses: [],
      message: `rule ${rule} is short on this host: ${describeHeld({ kind: "short", needed, found, holders })}`,
    }));
}
