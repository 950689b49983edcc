/**
 * The rules, resolved for a VM that is about to start: what `assign` gives it without any history, as arguments for
 * QEMU (`-device vfio-pci,...`). Depends on inventory, policy and what is kept over reboots (pins, reservations, orders,
 * quarantines), so the same host gives the same bytes after any reboot.
 */
import { err, ok, type Result } from "../base/result.js";
import type { PciAddress } from "./address.js";
import { assign } from "./assign.js";
import type { Assignment } from "./assignment.js";
import { ruleOf } from "./assignment-report.js";
import { EXIT, type ExitCode, exitCodeOfHeld, weightiest } from "./exit-code.js";
import type { Held } from "./held.js";
import { describeHeld } from "./held-text.js";
import { type Rule, type VmSpec, vmsOf } from "./policy.js";
import { type HeldReport, reportAllHeld } from "./report.js";
import { argumentsFor, placeInPorts, type ResolvedDevice } from "./resolve-ports.js";
import { emptyWorld, type World } from "./world.js";

/** What QEMU is to be started with. */
export interface Resolution {
  readonly schema: "pciplug-resolve/1";
  readonly vm: string;
  /** Ready for an argv: `-device` and its value in turn; no blanks, quotes or glob characters in any. */
  readonly arguments: readonly string[];
  /** Sorted by address. */
  readonly devices: readonly ResolvedDevice[];
  /** What the VM would get but does not; empty unless a part was asked for. */
  readonly held: readonly HeldReport[];
  /** Sentences about rules that match nothing and want that said. */
  readonly warnings: readonly string[];
}

/** Why nothing is resolved: the exit code, and every reason as a sentence. */
export interface Unresolved {
  readonly code: ExitCode;
  readonly reasons: readonly string[];
}

/** What the answer depends on. */
export type ResolvableWorld = Pick<
  World,
  "policy" | "devices" | "protections" | "dma" | "intents" | "areIntentsLost" | "nowMs"
>;

/** Resolves the rules for one VM. `isPartial`: whatever is held is left out and told of. */
export function resolve(
  world: ResolvableWorld,
  name: string,
  isPartial = false,
): Result<Resolution, Unresolved> {
  const { policy, devices, protections, dma, intents, nowMs } = world;
  const vm = policy?.vms.find((entry) => entry.name === name);
  if (policy === null || vm === undefined) {
    const known = policy?.vms.map((entry) => entry.name).join(", ") ?? "";
    return err({
      code: EXIT.usage,
      reasons: [`the file has no VM of that name; there are ${known || "none"}`],
    });
  }
  if (world.areIntentsLost) {
    // Nobody knows what was not to go where: nothing new is attached (semantics.md 5).
    return err({ code: EXIT.held, reasons: [describeHeld({ kind: "intents-lost" })] });
  }
  const assignment = assign({ ...emptyWorld, policy, devices, protections, dma, intents, nowMs });
  const rules = policy.rules.filter((rule) => vmsOf(rule).includes(name));
  const idle = rules.filter((rule) => !isMatched(assignment, rule));
  const held = heldFor(assignment, vm, rules);
  const objections = [
    ...missing(idle),
    ...(isPartial ? [] : [...held.map(heldObjection), ...short(assignment, name, idle)]),
  ];
  if (objections.length > 0) {
    const code = weightiest(objections.map((objection) => objection.code));
    return err({ code, reasons: objections.map(({ reason }) => reason) });
  }
  const placed = placeInPorts(vm, membersOf(assignment, vm));
  if (!placed.ok) {
    return err({ code: EXIT.held, reasons: [placed.error] });
  }
  return ok({
    schema: "pciplug-resolve/1",
    vm: name,
    arguments: placed.value.flatMap(argumentsFor),
    devices: placed.value,
    held: reportAllHeld(held, "offline"),
    warnings: idle
      .filter((rule) => rule.onNoMatch === "warn")
      .map((rule) => `rule ${rule.name} matches nothing on this host`),
  });
}

interface Objection {
  readonly code: ExitCode;
  readonly reason: string;
}

function isMatched({ findings }: Assignment, rule: Rule): boolean {
  return [...findings.values()].some((found) => found.matches.some((entry) => entry.rule === rule));
}

function missing(idle: readonly Rule[]): readonly Objection[] {
  return idle
    .filter((rule) => rule.onNoMatch === "fail")
    .map((rule) => ({
      code: EXIT.noMatch,
      reason: `rule ${rule.name} matches nothing on this host (onNoMatch: fail)`,
    }));
}

/** What is held for this VM, or by a rule of its own for a VM that cannot be told. */
function heldFor({ held }: Assignment, { name }: VmSpec, rules: readonly Rule[]): readonly Held[] {
  return held.filter((entry) => {
    const { reason } = entry;
    // What never or allow keeps away, and what a group rule sends nowhere, is as the operator wants it.
    if (exitCodeOfHeld(reason.kind) === EXIT.ok || reason.kind === "no-class") {
      return false;
    }
    if (reason.kind === "conflict") {
      return reason.vms.includes(name);
    }
    return entry.vm === name || (entry.vm === null && rules.some((rule) => rule.name === entry.rule));
  });
}

function heldObjection({ address, rule, reason }: Held): Objection {
  return {
    code: exitCodeOfHeld(reason.kind),
    reason: `${address} is held${rule === null ? "" : ` (rule ${rule})`}: ${describeHeld(reason)}`,
  };
}

/** Rules that are short without a device to show for it. Those that match nothing say so by their `onNoMatch`. */
function short({ shortages }: Assignment, vm: string, idle: readonly Rule[]): readonly Objection[] {
  return shortages
    .filter((entry) => entry.vm === vm && !idle.some((rule) => rule.name === entry.rule))
    .map(({ rule, needed, found, holders }) => ({
      code: EXIT.held,
      reason: `rule ${rule}: ${describeHeld({ kind: "short", needed, found, holders })}`,
    }));
}

function membersOf({ byDevice, units }: Assignment, { name }: VmSpec) {
  const mine = units.filter((unit) => unit.vm === name);
  return mine.flatMap((unit) =>
    unit.members.map((address: PciAddress) => ({
      address,
      iommuGroup: unit.iommuGroup,
      rule: ruleOf(byDevice.get(address) ?? unit, address),
      port: unit.rules.get(address)?.port ?? null,
      plug: unit.rules.get(address)?.plug ?? "each",
      properties: unit.rules.get(address)?.properties ?? {},
    })),
  );
}
