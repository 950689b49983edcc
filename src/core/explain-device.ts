/** Everything that stands for and against one device. */
import type { PciAddress } from "./address.js";
import { reportAssignments } from "./assignment-report.js";
import type { Device } from "./device.js";
import { isInQuarantine, reservationOn } from "./eligibility.js";
import { reportKeys } from "./explain-keys.js";
import type {
  DeviceExplanation,
  DeviceNotes,
  DeviceVerdict,
  GroupMember,
  RuleOnDevice,
} from "./explanation.js";
import { exclusionOf } from "./findings.js";
import { isBridgeDevice } from "./iommu-group.js";
import { isOurs } from "./occupancy.js";
import { reportOutcome } from "./outcome.js";
import { OutcomeFinder } from "./outcome-finder.js";
import { planAll } from "./plan.js";
import { vmsOf } from "./policy.js";
import { rankRules } from "./ranking.js";
import { type PlanReport, reportAllHeld, reportStep } from "./report.js";
import type { Scene } from "./scene.js";
import { verdictOf } from "./selector.js";
import { addressesOf } from "./step.js";

/** Explains one device: every rule key by key, what the host needs of it, its IOMMU group, and the verdict. */
export function explainDevice(scene: Scene, device: Device, source: PlanReport["source"]): DeviceExplanation {
  const { world } = scene;
  const { address } = device;
  const rules = rulesOn(scene, device);
  const { appearance: _, isRecorded: __, ...facts } = device;
  return {
    schema: "pciplug-explain/1",
    source,
    about: "device",
    device: facts,
    verdict: verdictOn(scene, address, rules, source),
    exclusion: world.policy === null ? null : exclusionOf(world.policy, device),
    protection: world.protections.get(address) ?? null,
    iommuGroup: groupOf(scene, device),
    rules,
    ...notesOn(scene, device),
    steps: planAll(world, scene)
      .steps.filter((step) => addressesOf(step).includes(address))
      .map(reportStep),
  };
}

function rulesOn(scene: Scene, device: Device): readonly RuleOnDevice[] {
  const finder = new OutcomeFinder(scene);
  const { policy } = scene.world;
  return (policy === null ? [] : rankRules(policy)).map(({ rule }) => ({
    name: rule.name,
    mode: rule.mode,
    vms: vmsOf(rule),
    priority: rule.priority,
    verdict: verdictOf(rule.match, device),
    keys: reportKeys(rule.match, device),
    outcome: reportOutcome(finder.of(rule, device)),
  }));
}

function verdictOn(
  scene: Scene,
  address: PciAddress,
  rules: readonly RuleOnDevice[],
  source: PlanReport["source"],
): DeviceVerdict {
  const held = reportAllHeld(planAll(scene.world, scene).held, source).filter(
    (entry) => entry.address === address,
  );
  const assigned = reportAssignments(scene).find((entry) => entry.address === address);
  if (assigned !== undefined) {
    const { vm, rule } = assigned;
    const reason = held.find((entry) => entry.vm === vm)?.reason ?? null;
    const kept = assigned.kept === undefined ? {} : { kept: assigned.kept };
    const waits = reason === null ? "" : `, held for now: ${reason.message}`;
    const sticky =
      assigned.kept === undefined ? "" : ", which keeps it; a fresh start would decide otherwise";
    return {
      kind: "assigned",
      vm,
      rule,
      ...kept,
      reason,
      message: `for ${vm}, by rule ${rule}${sticky}${waits}`,
    };
  }
  const [first] = held;
  if (first !== undefined) {
    const { vm, rule, reason } = first;
    return { kind: "held", vm, rule, reason, message: `held: ${reason.message}` };
  }
  const spare = rules.find(({ outcome }) => outcome.kind === "spare" || outcome.kind === "silent");
  const none = { vm: null, rule: null, reason: null };
  return spare === undefined
    ? { ...none, kind: "none", message: "no rule speaks of it" }
    : {
        ...none,
        kind: "spare",
        rule: spare.name,
        message: `spare: rule ${spare.name} ${spare.outcome.message}`,
      };
}

function groupOf(scene: Scene, device: Device): DeviceExplanation["iommuGroup"] {
  const { iommuGroup: number } = device;
  if (typeof number !== "number") {
    return null;
  }
  const members = [...scene.world.devices.values()]
    .filter((entry) => entry.iommuGroup === number)
    .sort((a, b) => (a.address < b.address ? -1 : 1))
    .map((entry) => memberOf(scene, entry));
  return { number, members };
}

function memberOf({ world, assignment }: Scene, device: Device): GroupMember {
  const { address, iommuGroup } = device;
  const unit = assignment.units.find((entry) => entry.iommuGroup === iommuGroup);
  const part = (): GroupMember["part"] => {
    if (isBridgeDevice(device)) {
      return "bridge";
    }
    if (assignment.byDevice.has(address)) {
      return "member";
    }
    if (world.protections.has(address)) {
      return "protected";
    }
    if (unit?.companions.includes(address) === true) {
      return "companion";
    }
    if (unit?.bystanders.includes(address) === true) {
      return "bystander";
    }
    return assignment.held.some((entry) => entry.address === address) ? "held" : "unclaimed";
  };
  return {
    address,
    ...(device.class === undefined ? {} : { class: device.class }),
    ...(device.driver === undefined ? {} : { driver: device.driver }),
    part: part(),
    vm: assignment.byDevice.get(address)?.vm ?? null,
  };
}

function notesOn({ world, taken }: Scene, device: Device): DeviceNotes {
  const { address } = device;
  const lease = world.leases.get(address);
  const occupant = taken.get(address);
  const { orders, pins, quarantines } = world.intents;
  const reservation = reservationOn(address, world);
  return {
    lease: lease === undefined ? null : { vm: lease.vm, rule: lease.rule, role: lease.role },
    inVm:
      occupant === undefined
        ? null
        : { vm: occupant.vm, id: occupant.entry.id, ours: isOurs(world, occupant.vm, occupant.entry) },
    order: orders.find((entry) => entry.address === address)?.vm ?? null,
    reservation:
      reservation === undefined
        ? null
        : {
            vm: reservation.vm,
            detail: reservation.detail,
            endsInMs: reservation.untilMs === null ? null : reservation.untilMs - world.nowMs,
          },
    holds: world.holds
      .filter((hold) => hold.address === address)
      .map(({ vm, cause, detail }) => ({ vm, cause, detail })),
    pins: pins
      .filter((pin) => pin.address === address)
      .map(({ rule, serial, path }) => ({ rule, serial, path })),
    quarantine: quarantines.find((entry) => !entry.isCleared && isInQuarantine(entry, device))?.why ?? null,
  };
}
