/** A perfect executor: what each step does when nothing goes wrong, on the world itself. For convergence tests. */
import { identityOf } from "../../src/core/device.js";
import { type Lease, withTerms } from "../../src/core/lease.js";
import { lanesOf, plan } from "../../src/core/plan.js";
import { reduce } from "../../src/core/reduce.js";
import type { Signal } from "../../src/core/signal.js";
import type { Outcome, Step, StepOf } from "../../src/core/step.js";
import type { VmView } from "../../src/core/vm.js";
import type { World } from "../../src/core/world.js";

/** Does one step, with the signals that the agent would post for it. */
function perform(world: World, lane: string, step: Step): World {
  const started: Signal = { kind: "step-started", atMs: world.nowMs, lane, step };
  const ended = (outcome: Outcome): Signal => ({
    kind: "step-ended",
    atMs: world.nowMs,
    lane,
    step,
    outcome,
  });
  return [started, ...consequences(world, step), ended({ kind: "done" })].reduce(reduce, world);
}

/** Runs every lane until nothing is left to do. @throws when that takes more than `limit` steps. */
export function runToRest(world: World, limit = 200): { world: World; steps: Step[] } {
  const steps: Step[] = [];
  for (let now = world; ; ) {
    const next = lanesOf(now)
      .map((lane) => ({ lane, step: plan(now, lane).steps[0] }))
      .find((entry) => entry.step !== undefined);
    if (next?.step === undefined) {
      return { world: now, steps };
    }
    steps.push(next.step);
    if (steps.length > limit) {
      throw new Error(`does not come to rest: ${steps.slice(-4).map((step) => JSON.stringify(step))}`);
    }
    now = perform(now, next.lane, next.step);
  }
}

function consequences(world: World, step: Step): Signal[] {
  switch (step.kind) {
    case "bind":
      return [
        leases(world, (all) => {
          for (const [addresses, role] of [
            [step.members, "claimed"],
            [[...step.companions, ...step.bystanders], "companion"],
          ] as const) {
            for (const address of addresses) {
              const lease = all.get(address) ?? newLease(world, step, address, role);
              all.set(address, { ...withTerms(lease, step.terms[address] ?? lease), vm: step.vm });
            }
          }
        }),
        drivers(
          world,
          new Map([...step.members, ...step.bystanders].map((address) => [address, "vfio-pci"])),
        ),
      ];
    case "attach":
      return [
        view(world, step.vm, (seen) => ({
          ...seen,
          attached: [
            ...seen.attached,
            ...step.placements.map(({ address, id, bus, addr }) => ({
              path: `/machine/peripheral/${id}`,
              id,
              address,
              bus,
              devfn: devfnOf(addr),
              mode: "acpi" as const,
              canUnplug: true,
            })),
          ],
          ports: seen.ports.map((port) => {
            const ids = step.placements.filter((entry) => entry.bus === port.bus).map(({ id }) => id);
            const before = port.state.kind === "plugged" ? port.state.by : [];
            return ids.length === 0
              ? port
              : { ...port, state: { kind: "plugged" as const, by: [...before, ...ids] } };
          }),
        })),
      ];
    case "detach":
      return [
        ...leaving(step).map(
          (id): Signal => ({ kind: "device-deleted", atMs: world.nowMs, vm: step.vm, id }),
        ),
        view(world, step.vm, (seen) => ({
          ...seen,
          attached: seen.attached.filter((entry) => !leaving(step).includes(entry.id ?? "")),
          ports: seen.ports.map((port) =>
            port.state.kind === "plugged" && port.state.by.includes(step.id)
              ? { ...port, state: { kind: "free" as const } }
              : port,
          ),
        })),
      ];
    case "reset":
      return [];
    case "release":
      return [
        drivers(world, new Map([[step.address, world.leases.get(step.address)?.original?.driver ?? null]])),
        leases(world, (all) => all.delete(step.address)),
      ];
    case "quarantine": {
      const { address, why } = step;
      const device = world.devices.get(address);
      if (device === undefined) {
        throw new Error(`no device ${address}`);
      }
      const quarantine = { address, identity: identityOf(device), why, atMs: world.nowMs, isCleared: false };
      return [{ kind: "quarantine-made", quarantine }];
    }
    case "forget":
      return [leases(world, (all) => all.delete(step.address))];
    case "renew":
      return [
        leases(world, (all) => {
          const lease = all.get(step.address);
          if (lease !== undefined) {
            all.set(step.address, withTerms(lease, step.terms));
          }
        }),
      ];
    case "raise-memlock": {
      const status = world.vms.get(step.vm);
      if (status?.kind !== "up" || status.view.process === null) {
        throw new Error(`no process of ${step.vm}`);
      }
      const process = { ...status.view.process, memlockBytes: step.bytes };
      const view = { ...status.view, process };
      return [{ kind: "vm-seen", atMs: world.nowMs, vm: step.vm, status: { kind: "up", view } }];
    }
    case "adopt":
      return [
        leases(world, (all) => {
          all.set(step.address, { ...newLease(world, step, step.address, "claimed"), original: null });
        }),
      ];
  }
}

/** A card leaves its port whole. */
function leaving(step: StepOf<"detach">): readonly string[] {
  return [step.id, ...(step.mates ?? []).map(({ id }) => id)];
}

function devfnOf(addr: string): number {
  const [slot = "0", fn = "0"] = addr.split(".");
  return Number.parseInt(slot, 16) * 8 + Number(fn);
}

function newLease(
  world: World,
  step: { vm: string; rule: string },
  address: Lease["address"],
  role: Lease["role"],
): Lease {
  const device = world.devices.get(address);
  if (device === undefined) {
    throw new Error(`no device ${address}`);
  }
  return {
    address,
    vm: step.vm,
    rule: step.rule,
    role,
    bootId: world.bootId,
    identity: identityOf(device),
    appearance: device.appearance,
    original: { driver: device.driver ?? null, override: null },
  };
}

function leases(world: World, edit: (all: Map<Lease["address"], Lease>) => void): Signal {
  const all = new Map(world.leases);
  edit(all);
  return { kind: "leases-written", leases: [...all.values()] };
}

function drivers(world: World, changed: ReadonlyMap<string, string | null>): Signal {
  const devices = [...world.devices.values()].map((device) =>
    changed.has(device.address) ? { ...device, driver: changed.get(device.address) ?? null } : device,
  );
  return {
    kind: "host-seen",
    atMs: world.nowMs,
    source: "step",
    devices,
    protections: world.protections,
    dma: world.dma,
  };
}

function view(world: World, vm: string, edit: (view: VmView) => VmView): Signal {
  const status = world.vms.get(vm);
  if (status?.kind !== "up") {
    throw new Error(`${vm} is not up`);
  }
  return { kind: "vm-seen", atMs: world.nowMs, vm, status: { kind: "up", view: edit(status.view) } };
}
