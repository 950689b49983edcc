/** The reasons of held.ts in words: for each one sentence, with what a person needs to know to change it. */
import { counted } from "../base/counted.js";
import { unreachable } from "../base/error.js";
import type { Blocker, HeldReason } from "./held.js";

/** The reason as one sentence: what, and where it helps, what to do. */
export function describeHeld(reason: HeldReason): string {
  return isDecided(reason) ? describeDecided(reason) : describeMoment(reason);
}

/** Reasons of `assign`: no passing of time and no coming of a VM changes them. */
const DECIDED = [
  "protected",
  "in-use",
  "never",
  "not-allowed",
  "drifted",
  "quarantined",
  "reserved",
  "unsafe",
  "unit-incomplete",
  "outranked",
  "kept-elsewhere",
  "no-class",
  "settling",
  "short",
  "delicate-class",
  "fact-unknown",
  "conflict",
  "no-iommu-group",
  "iommu-group-blocked",
  "iommu-group-unfit",
] as const;
type Decided = Extract<HeldReason, { kind: (typeof DECIDED)[number] }>;
type Moment = Exclude<HeldReason, Decided>;

function isDecided(reason: HeldReason): reason is Decided {
  return DECIDED.some((kind) => kind === reason.kind);
}

function describeDecided(reason: Decided): string {
  switch (reason.kind) {
    case "protected":
      return `protected: ${reason.because}`;
    case "in-use":
      return `in use: ${reason.because}; a rule with takeConfigured: true takes it all the same`;
    case "never":
      return "the file's never: keeps it from every VM";
    case "not-allowed":
      return "the file's allow: does not list it";
    case "drifted":
      return `expected ${reason.expected}, found ${reason.found}${reason.movedTo === null ? "" : ` (the expected card is now at ${reason.movedTo})`}`;
    case "quarantined":
      return `in quarantine: ${reason.why}`;
    case "reserved":
      return `reserved for ${reason.vm}: ${reason.detail}`;
    case "unsafe":
      return `not safe to give away: ${reason.weaknesses.join("; ")}; a rule with acceptUnsafe: true takes it all the same`;
    case "unit-incomplete":
      return `it is taken only together with ${reason.member}, which cannot be taken: ${reason.why}`;
    case "outranked":
      return `rule ${reason.rule} goes first and gives it to ${reason.vm}`;
    case "kept-elsewhere":
      return `${reason.vm} has it and keeps it`;
    case "no-class":
      return `the rule names no VM for its class ${reason.class}`;
    case "settling":
      return "waiting until the inventory has been quiet for a moment after the start";
    case "short":
      return `the rule needs ${reason.needed} and can have ${reason.found}${reason.holders.length === 0 ? "" : `; ${reason.holders.join(", ")} have the others`}`;
    case "delicate-class":
      return `a rule of wildcards only does not take ${reason.what}; name its class to mean it`;
    case "fact-unknown":
      return `not known on this host: ${reason.keys.join(", ")}`;
    case "conflict":
      return `conflict: rules ${reason.rules.join(" and ")} want it for ${reason.vms.join(" and ")}; nobody gets it`;
    case "no-iommu-group":
      return "the device has no IOMMU group: is the IOMMU switched on (firmware, intel_iommu=on or amd_iommu=on)?";
    case "iommu-group-blocked":
      return `IOMMU group ${reason.iommuGroup} is blocked by ${reason.blockers.map(describeBlocker).join(", ")}`;
    case "iommu-group-unfit":
      return `IOMMU group ${reason.iommuGroup}: ${reason.member} may not be taken (${reason.why})`;
    default:
      return unreachable(reason);
  }
}

function describeBlocker(blocker: Blocker): string {
  if (blocker.vm !== null) {
    return `${blocker.address} (claimed for ${blocker.vm})`;
  }
  return blocker.driver === null
    ? `${blocker.address} (no rule names it)`
    : `${blocker.address} (on driver ${blocker.driver}, no rule names it)`;
}

function describeMoment(reason: Moment): string {
  switch (reason.kind) {
    case "vm-down":
      return `${reason.vm} is not running (${reason.why})`;
    case "vm-unknown":
      return `${reason.vm} was not looked at yet`;
    case "vm-unreachable":
      return `${reason.vm} cannot be spoken to: ${reason.why}`;
    case "vm-not-ready":
      return `${reason.vm} is in run state ${reason.runState}`;
    case "migrating":
      return `hands off ${reason.vm}: its guest is being migrated (${reason.phase})`;
    case "no-free-port":
      return `no free hot-plug port in ${reason.vm}: ${reason.needed} needed, ${reason.ports}`;
    case "port-not-free":
      return `port ${reason.port} of ${reason.vm}, which its rule names, is not free: ${reason.why}`;
    case "no-room":
      return `no free port of ${reason.vm} has room for its BARs: start the VM with ${reason.wanted} at port ${reason.port}, or write acceptNoRoom: true at the rule`;
    case "outcome-unknown":
      return `${reason.vm} did not answer whether it took it at port ${reason.port}: waiting for a look`;
    case "memlock":
      return `${reason.vm} may lock ${reason.limitBytes} bytes of memory but needs at least ${reason.neededBytes}: raise LimitMEMLOCK of its service, or say raiseMemlock: true in its entry`;
    case "process-unknown":
      return `the QEMU process of ${reason.vm} was not found, so its user is not known`;
    case "node-access":
      return `the QEMU of ${reason.vm} (user ${reason.uid ?? "unknown"}) cannot open /dev/vfio/${reason.iommuGroup}, which was given to it: ${reason.detail}`;
    case "group-busy":
      // QEMU's own words do not name the group; ours do.
      return reason.detail.startsWith("IOMMU group")
        ? reason.detail
        : `IOMMU group ${reason.iommuGroup} is in use: ${reason.detail}`;
    case "group-not-viable":
      return `IOMMU group ${reason.iommuGroup} cannot be used while ${reason.siblings.map(({ address, driver }) => `${address} is on driver ${driver}`).join(" and ")}`;
    case "foreign":
      return `${reason.vm} has it already${reason.id === null ? "" : ` as ${reason.id}`}, not by us: left alone`;
    case "leased-elsewhere":
      return `waiting for ${reason.vm} to give it back`;
    case "in-vm-elsewhere":
      return `in use by ${reason.vm}`;
    case "iommu-group-in-vm":
      return `${reason.member} of its IOMMU group is in ${reason.vm}`;
    case "hold":
      return `on hold: ${reason.detail}`;
    case "backing-off":
      return `backing off after ${reason.failures} failed ${reason.failures === 1 ? "attempt" : "attempts"}: ${reason.detail}`;
    case "refused":
      return `refused, waiting for a change of the device, the VM or the policy: ${reason.detail}`;
    case "intents-lost":
      return "the intents file was damaged, so holds may be lost: run `pciplug state accept-loss` and restart the agent";
    case "unplug-pending":
      return `${reason.vm} was asked ${reason.times} ${reason.times === 1 ? "time" : "times"} to let go and has not yet`;
    case "unplug-overdue":
      return describeOverdue(reason);
    case "card-stays":
      return `${reason.vm} can let go of it only together with ${reason.staying.join(", ")}, which stays`;
    case "cannot-unplug":
      return `${reason.vm} cannot unplug ${reason.id ?? "it"}`;
    case "detach-limit":
      return `policy change would detach ${counted(reason.count, "device")} (limit ${reason.limit}): run \`pciplug reload --confirm\` to mean it`;
    case "kept-without-rule":
      return `rule ${reason.rule} is gone and said onRuleGone: keep, so ${reason.vm} keeps it`;
    case "vm-missing":
      return `orphaned: ${reason.vm} is not in the file any more`;
    default:
      return unreachable(reason);
  }
}

function describeOverdue({
  vm,
  times,
  sinceMs,
  askedMs,
  runState,
}: Extract<Moment, { kind: "unplug-overdue" }>) {
  const seconds = Math.round((askedMs - sinceMs) / 1000);
  const asked = times === 1 ? "was asked once" : `was asked ${times} times in ${seconds} s`;
  const why = runState === undefined ? "" : ` (its guest does not run: ${runState})`;
  return `overdue: ${vm} ${asked} to let go and has not yet${why}`;
}
