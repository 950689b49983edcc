/**
 * What a turn has to say to the audit: pure, from the world before and after. One line for each thing that changed;
 * a look that shows nothing new is silent.
 */
import { compareAddresses } from "../core/address.js";
import type { Device } from "../core/device.js";
import { describeHeld } from "../core/held.js";
import { planAll } from "../core/plan.js";
import type { Signal } from "../core/signal.js";
import { addressesOf, type Step } from "../core/step.js";
import type { VmStatus } from "../core/vm.js";
import type { World } from "../core/world.js";
import type { Turn } from "./pipeline.js";

/** One thing worth remembering. The audit adds number and time. */
export interface Remark {
  readonly event: string;
  readonly who: string;
  readonly what: string;
  readonly why?: string;
  readonly vm?: string;
  readonly rule?: string;
  readonly address?: string;
  readonly addresses?: readonly string[];
  readonly source?: string;
  readonly before?: unknown;
  readonly after?: unknown;
  readonly would?: boolean;
}

const AGENT = "agent";

/** The remarks of a turn, oldest first. */
export function narrate(turn: Turn): Remark[] {
  return [
    ...turn.signals.flatMap((signal) => narrateSignal(turn, signal)),
    ...narrateDevices(turn),
    ...narrateVms(turn),
    ...narrateHolds(turn),
  ];
}

function narrateSignal(turn: Turn, signal: Signal): Remark[] {
  switch (signal.kind) {
    case "policy-loaded":
      return [
        {
          event: "policy-loaded",
          who: "operator",
          what: `${signal.policy.rules.length} rules for ${signal.policy.vms.length} VMs`,
          after: { version: signal.policy.version },
        },
      ];
    case "source-changed":
      return [
        {
          event: "source-changed",
          who: AGENT,
          what: `${signal.name} is ${signal.state.kind}`,
          why: signal.state.detail,
          source: signal.name,
          before: turn.before.sources.get(signal.name)?.kind ?? null,
          after: signal.state.kind,
        },
      ];
    case "step-ended":
      return [
        {
          event: "step-ended",
          who: AGENT,
          ...aboutStep(signal.step),
          after: signal.outcome,
        },
      ];
    default:
      return [];
  }
}

/** The part of a remark that says which step it is about. */
export function aboutStep(step: Step): Pick<Remark, "what" | "vm" | "addresses" | "why" | "rule"> {
  return {
    what: step.kind,
    vm: step.vm,
    addresses: addressesOf(step),
    ...("why" in step ? { why: step.why } : {}),
    ...("rule" in step ? { rule: step.rule } : {}),
  };
}

function narrateDevices(turn: Turn): Remark[] {
  const { before, world } = turn;
  if (before.devices === world.devices) {
    return [];
  }
  const look = turn.signals.find((signal) => signal.kind === "host-seen");
  const source = look?.source ?? "start";
  const addresses = [...new Set([...before.devices.keys(), ...world.devices.keys()])].sort(compareAddresses);
  return addresses.flatMap((address): Remark[] => {
    const was = before.devices.get(address);
    const now = world.devices.get(address);
    if (was === now) {
      return [];
    }
    const common = { who: "host", address, source };
    if (was === undefined || now === undefined || was.appearance !== now.appearance) {
      return [
        ...(was === undefined
          ? []
          : [{ event: "device-vanished", what: `${address} went away`, ...common, before: factsOf(was) }]),
        ...(now === undefined
          ? []
          : [{ event: "device-appeared", what: `${address} is there`, ...common, after: factsOf(now) }]),
      ];
    }
    return [
      {
        event: "device-changed",
        what: `${address} changed`,
        ...common,
        before: { driver: was.driver ?? null, iommuGroup: was.iommuGroup ?? null },
        after: { driver: now.driver ?? null, iommuGroup: now.iommuGroup ?? null },
      },
    ];
  });
}

function factsOf(device: Device) {
  const { vendor, device: id, class: code, driver, iommuGroup, appearance } = device;
  return { vendor, device: id, class: code, driver, iommuGroup, appearance };
}

function narrateVms(turn: Turn): Remark[] {
  return [...turn.world.vms].flatMap(([vm, status]) => {
    const was = summary(turn.before.vms.get(vm));
    const now = summary(status);
    return JSON.stringify(was) === JSON.stringify(now)
      ? []
      : [{ event: "vm-changed", who: vm, what: `${vm} is ${now.state}`, vm, before: was, after: now }];
  });
}

function summary(status: VmStatus | undefined) {
  if (status === undefined || status.kind === "unknown") {
    return { state: "unknown" };
  }
  if (status.kind !== "up") {
    return { state: status.kind, reason: status.reason };
  }
  return {
    state: status.view.runState,
    pid: status.view.process?.pid ?? null,
    attached: status.view.attached.map(({ id, address, bus }) => ({ id, address, bus })),
  };
}

function narrateHolds(turn: Turn): Remark[] {
  const { before, world } = turn;
  if (before.holds === world.holds) {
    return [];
  }
  const made = world.holds.filter((hold) => !before.holds.includes(hold));
  const ended = before.holds.filter((hold) => !world.holds.includes(hold));
  return [
    ...made.map((hold) => ({
      event: "hold-made",
      who: AGENT,
      what: `${hold.address} is not given to ${hold.vm} for now`,
      why: hold.detail,
      vm: hold.vm,
      address: hold.address,
    })),
    ...ended.map((hold) => ({
      event: "hold-ended",
      who: AGENT,
      what: `${hold.address} may be given to ${hold.vm} again`,
      vm: hold.vm,
      address: hold.address,
    })),
  ];
}

/** Remembers what was decided last about each device, so that only a change of mind is a line. */
export class DecisionLog {
  #last: ReadonlySet<string> = new Set();

  /** The decisions that are new in this world: what is held and why, and, when only observing, what would be done. */
  news(world: World): Remark[] {
    if (world.policy === null || !world.isHostSeen) {
      return [];
    }
    const plan = planAll(world);
    const held = plan.held.map((entry): Remark => {
      const reason = { kind: entry.reason.kind, message: describeHeld(entry.reason) };
      return {
        event: "decision",
        who: AGENT,
        what: `${entry.address} is held`,
        why: reason.message,
        address: entry.address,
        ...(entry.vm === null ? {} : { vm: entry.vm }),
        ...(entry.rule === null ? {} : { rule: entry.rule }),
        after: { held: reason.kind },
      };
    });
    const would =
      world.mode === "observe"
        ? plan.steps.map(
            (step): Remark => ({ event: "decision", who: AGENT, ...aboutStep(step), would: true }),
          )
        : [];
    const all = new Map([...held, ...would].map((remark) => [JSON.stringify(remark), remark]));
    const news = [...all].filter(([key]) => !this.#last.has(key)).map(([, remark]) => remark);
    this.#last = new Set(all.keys());
    return news;
  }
}
