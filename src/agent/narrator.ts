/**
 * What a turn has to say to the audit: pure, from the world before and after. One line for each thing that changed;
 * a look that shows nothing new is silent.
 */
import type { AuditEntry, DeviceFacts, VmFacts } from "../audit/record.js";
import { compareAddresses, type PciAddress } from "../core/address.js";
import type { Device } from "../core/device.js";
import type { Hold } from "../core/lease.js";
import type { Policy } from "../core/policy.js";
import { comparePolicies, describeChange } from "../core/policy-change.js";
import type { Signal } from "../core/signal.js";
import { addressesOf, type Step } from "../core/step.js";
import type { VmStatus } from "../core/vm.js";
import { narrateGuests } from "./guest-lines.js";
import type { Turn } from "./pipeline.js";

const AGENT = "agent";

/** The lines of a turn, oldest first. */
export function narrate(turn: Turn): AuditEntry[] {
  const atMs = turn.world.nowMs;
  return [
    ...turn.signals.flatMap((signal) => narrateSignal(turn, signal)),
    ...narrateDevices(turn),
    ...narrateVms(turn),
    ...narrateGuests(turn),
    ...turn.world.holds
      .filter((hold) => !turn.before.holds.includes(hold))
      .map((hold) => holdMade(atMs, hold)),
    ...turn.before.holds
      .filter((hold) => !turn.world.holds.includes(hold))
      .map((hold) => holdEnded(atMs, hold)),
    ...narrateIntents(turn),
  ];
}

function narrateIntents({ before, world, signals }: Turn): AuditEntry[] {
  const atMs = world.nowMs;
  const [was, now] = [before.intents, world.intents];
  // What comes from the file of an earlier life was told when it was learnt.
  if (was === now || signals.some((signal) => signal.kind === "intents-read")) {
    return [];
  }
  const isNew =
    <T>(old: readonly T[]) =>
    (entry: T) =>
      !old.includes(entry);
  const pins = now.pins.filter(isNew(was.pins)).map((pin): AuditEntry => {
    const what = `rule ${pin.rule} keeps to the card that is at ${pin.address} now`;
    return { atMs, event: "pin-learnt", who: AGENT, what, address: pin.address, rule: pin.rule, after: pin };
  });
  const made = now.quarantines
    .filter((entry) => !entry.isCleared && isNew(was.quarantines)(entry))
    .map((entry): AuditEntry => {
      const what = `${entry.address} is kept from everyone`;
      return {
        atMs,
        event: "quarantine-made",
        who: AGENT,
        what,
        why: entry.why,
        address: entry.address,
        after: entry,
      };
    });
  const ended = was.quarantines
    .filter((entry) => !entry.isCleared && isNew(now.quarantines)(entry))
    .map((entry): AuditEntry => {
      const what = `${entry.address} may go back to the host`;
      return { atMs, event: "quarantine-ended", who: AGENT, what, address: entry.address, before: entry };
    });
  return [...pins, ...made, ...ended];
}

/** The line that is on disk before a step begins. */
export function stepStarted(atMs: number, step: Step): AuditEntry {
  return { atMs, event: "step-started", who: AGENT, ...aboutStep(step) };
}

function narrateSignal(turn: Turn, signal: Signal): AuditEntry[] {
  const atMs = turn.world.nowMs;
  switch (signal.kind) {
    case "policy-loaded":
      return [policyLoaded(turn, turn.world.policy ?? signal.policy)];
    case "policy-refused": {
      const what = "the file is refused; the last good policy stays";
      const why = signal.reasons.join("; ");
      const before = versionOf(turn.before.policy);
      const after = { reasons: signal.reasons };
      return [{ atMs, event: "policy-refused", who: "operator", what, why, before, after }];
    }
    case "detach-confirmed": {
      const what = "what this policy takes from VMs is meant";
      return [{ atMs, event: "detach-confirmed", who: "operator", what, after: { version: signal.policy } }];
    }
    case "source-changed":
      return [
        {
          atMs,
          event: "source-changed",
          who: AGENT,
          what: `${signal.name} is ${signal.state.kind}`,
          source: signal.name,
          before: turn.before.sources.get(signal.name) ?? null,
          after: signal.state,
        },
      ];
    case "step-ended":
      return [{ atMs, event: "step-ended", who: AGENT, ...aboutStep(signal.step), after: signal.outcome }];
    default:
      return [];
  }
}

function policyLoaded({ before, world }: Turn, policy: Policy): AuditEntry {
  const { rules, vms, version } = policy;
  const count = (many: readonly unknown[], noun: string) =>
    `${many.length} ${noun}${many.length === 1 ? "" : "s"}`;
  const counts = `${count(rules, "rule")} for ${count(vms, "VM")}`;
  const change = before.policy === null ? null : comparePolicies(before.policy, policy);
  return {
    atMs: world.nowMs,
    event: "policy-loaded",
    who: "operator",
    what: change === null ? counts : `${counts} (${describeChange(change)})`,
    before: versionOf(before.policy),
    after: {
      version,
      rules: rules.length,
      vms: vms.length,
      ...(change === null ? {} : { change }),
    },
  };
}

function versionOf(policy: Policy | null): { readonly version: string } | null {
  return policy === null ? null : { version: policy.version };
}

function aboutStep(step: Step) {
  return {
    what: step.kind,
    vm: step.vm,
    addresses: addressesOf(step),
    step,
    ...("why" in step ? { why: step.why } : {}),
    ...("rule" in step ? { rule: step.rule } : {}),
  };
}

function narrateDevices(turn: Turn): AuditEntry[] {
  const { before, world } = turn;
  if (before.devices === world.devices) {
    return [];
  }
  const addresses = new Set([...before.devices.keys(), ...world.devices.keys()]);
  return [...addresses].sort(compareAddresses).flatMap((address) => narrateDevice(turn, address));
}

function narrateDevice(turn: Turn, address: PciAddress): AuditEntry[] {
  const was = turn.before.devices.get(address);
  const now = turn.world.devices.get(address);
  const source = turn.signals.find((signal) => signal.kind === "host-seen")?.source ?? "start";
  const common = { atMs: turn.world.nowMs, who: "host", address, source } as const;
  if (was === now) {
    return [];
  }
  if (was !== undefined && now !== undefined && was.appearance === now.appearance) {
    if (JSON.stringify(factsOf(was)) === JSON.stringify(factsOf(now))) {
      return [];
    }
    const what = `${address} changed`;
    return [{ ...common, event: "device-changed", what, before: factsOf(was), after: factsOf(now) }];
  }
  const gone: AuditEntry[] =
    was === undefined
      ? []
      : [{ ...common, event: "device-vanished", what: `${address} went away`, before: factsOf(was) }];
  return now === undefined
    ? gone
    : [...gone, { ...common, event: "device-appeared", what: `${address} is there`, after: factsOf(now) }];
}

function factsOf(device: Device): DeviceFacts {
  const { vendor, device: id, class: code, driver, iommuGroup } = device;
  return {
    ...(vendor === undefined ? {} : { vendor }),
    ...(id === undefined ? {} : { device: id }),
    ...(code === undefined ? {} : { class: code }),
    ...(driver === undefined ? {} : { driver }),
    ...(iommuGroup === undefined ? {} : { iommuGroup }),
  };
}

function narrateVms(turn: Turn): AuditEntry[] {
  return [...turn.world.vms].flatMap(([vm, status]): AuditEntry[] => {
    const earlier = turn.before.vms.get(vm);
    const before = earlier === undefined ? null : vmFacts(earlier);
    const after = vmFacts(status);
    return JSON.stringify(before) === JSON.stringify(after)
      ? []
      : [
          {
            atMs: turn.world.nowMs,
            event: "vm-changed",
            who: vm,
            what: `${vm} is ${after.runState ?? after.state}`,
            vm,
            before,
            after,
          },
        ];
  });
}

function vmFacts(status: VmStatus): VmFacts {
  if (status.kind !== "up") {
    return status.kind === "unknown" ? { state: "unknown" } : { state: status.kind, reason: status.reason };
  }
  const { runState, migration, process, attached } = status.view;
  return {
    state: "up",
    runState,
    ...(migration === undefined ? {} : { migration }),
    ...(process === null ? {} : { pid: process.pid }),
    attached: attached.map((entry) => entry.address ?? entry.id ?? entry.path),
  };
}

function holdMade(atMs: number, hold: Hold): AuditEntry {
  const what = `${hold.address} is not given to ${hold.vm} for now`;
  return { atMs, event: "hold-made", who: AGENT, what, why: hold.detail, ...aboutHold(hold), after: hold };
}

function holdEnded(atMs: number, hold: Hold): AuditEntry {
  const what = `${hold.address} may be given to ${hold.vm} again`;
  return { atMs, event: "hold-ended", who: AGENT, what, ...aboutHold(hold), before: hold };
}

function aboutHold(hold: Hold) {
  return { address: hold.address, vm: hold.vm };
}
