/**
 * Which port each device of a unit goes into: the one that its rule names, else the one it had before in this VM, else
 * a free one with room for its BARs. Pure; the same world gives the same ports.
 */
import { err, ok, type Result } from "../base/result.js";
import { addressParts, type PciAddress, slotOf } from "./address.js";
import { lackingReserve } from "./bar-room.js";
import type { Device } from "./device.js";
import type { HeldReason } from "./held.js";
import { vmsOf } from "./policy.js";
import { portsPreferredByOthers, preferredPort } from "./port-preference.js";
import { portsClosedTo } from "./ports-in-flight.js";
import { describePorts, freePorts } from "./readiness.js";
import type { Scene } from "./scene.js";
import { isExposed } from "./slot-mates.js";
import type { Placement } from "./step.js";
import type { Unit } from "./unit.js";
import { type Port, portKey, portKeyOf, type VmView } from "./vm.js";

/** A device and its place in the VM. */
export type Place = Pick<Placement, "address" | "bus" | "addr" | "isMultifunction">;

/** What goes into one port together. */
interface Parcel {
  /** Sorted by address. */
  readonly members: readonly PciAddress[];
  /** The port that already holds the rest of the card, function 0 excepted. */
  readonly begun: Port | null;
  /** Bus name that the rule fixes. */
  readonly wanted: string | null;
  readonly acceptsNoRoom: boolean;
}

/**
 * Places the missing members of a unit, in the order in which they have to be added. `used`: ports that units before
 * this one are about to take.
 */
export function choosePorts(
  scene: Scene,
  unit: Unit,
  missing: readonly PciAddress[],
  view: VmView,
  used: ReadonlySet<string>,
): Result<readonly Place[], HeldReason> {
  const { world } = scene;
  const parcels = parcelsOf(scene, unit, missing, view);
  const closed = new Set([...used, ...portsClosedTo(world, unit.vm, missing)]);
  const free = freePorts(view).filter((port) => !closed.has(portKey(port)));
  const needed = parcels.filter(({ begun }) => begun === null).length;
  if (free.length < needed) {
    const onTheWay = freePorts(view).length - free.length;
    const ports = describePorts(view.ports);
    return err({ kind: "no-free-port", vm: unit.vm, needed: needed + onTheWay, ports });
  }
  const chosen = new Map<Parcel, Port>();
  const taken = new Set<string>();
  for (const parcel of [...parcels].sort((a, b) => Number(a.wanted === null) - Number(b.wanted === null))) {
    const left = free.filter((port) => !taken.has(portKey(port)));
    const port = parcel.begun === null ? pickPort(scene, unit.vm, parcel, left, view) : ok(parcel.begun);
    if (!port.ok) {
      return port;
    }
    taken.add(portKey(port.value));
    chosen.set(parcel, port.value);
  }
  return ok(
    parcels.flatMap((parcel) => {
      const port = chosen.get(parcel);
      return port === undefined ? [] : placesIn(port, parcel);
    }),
  );
}

function parcelsOf(
  scene: Scene,
  unit: Unit,
  missing: readonly PciAddress[],
  view: VmView,
): readonly Parcel[] {
  const cards = new Map<string, PciAddress[]>();
  for (const address of missing) {
    const isShared = unit.rules.get(address)?.plug === "card";
    const key = isShared && canShare(scene, unit, address, view) ? slotOf(address) : address;
    cards.set(key, [...(cards.get(key) ?? []), address]);
  }
  const named = new Set<string>();
  return [...cards.values()].map((members) => {
    const rules = members.flatMap((address) => unit.rules.get(address) ?? []);
    const port = rules.flatMap((rule) => rule.port ?? [])[0] ?? null;
    // A port is named for the first that it fits; what else the rule takes finds another.
    const wanted = port === null || named.has(port) ? null : port;
    named.add(port ?? "");
    return {
      members,
      begun: begunPort(scene, unit, members, view),
      wanted,
      acceptsNoRoom: rules.some((rule) => rule.acceptNoRoom),
    };
  });
}

/** Whether a function can still join its card: not once the guest was shown the card without it. */
function canShare(scene: Scene, unit: Unit, address: PciAddress, view: VmView): boolean {
  return portsOfCard(scene, unit, address).every((port) => !isExposed(view, port));
}

function portsOfCard(scene: Scene, unit: Unit, address: PciAddress): readonly string[] {
  return unit.members
    .filter((member) => slotOf(member) === slotOf(address))
    .flatMap((member) => {
      const occupant = scene.taken.get(member);
      return occupant?.vm === unit.vm ? (portKeyOf(occupant.entry) ?? []) : [];
    });
}

/** Of a card that was interrupted on its way in: the port with the functions that are there already. */
function begunPort(scene: Scene, unit: Unit, members: readonly PciAddress[], view: VmView): Port | null {
  const [first] = members;
  if (first === undefined || unit.rules.get(first)?.plug !== "card") {
    return null;
  }
  const port = portsOfCard(scene, unit, first).find((key) => !isExposed(view, key));
  return view.ports.find((entry) => portKey(entry) === port) ?? null;
}

function pickPort(
  scene: Scene,
  vm: string,
  parcel: Parcel,
  free: readonly Port[],
  view: VmView,
): Result<Port, HeldReason> {
  const { wanted } = parcel;
  const open = wanted === null ? free : free.filter((port) => port.bus === wanted);
  if (wanted !== null && open.length === 0) {
    return err({ kind: "port-not-free", vm, port: wanted, why: whyNotFree(view, wanted) });
  }
  const lackIn = (port: Port): string | null =>
    parcel.acceptsNoRoom ? null : lackingReserve(port, devicesOf(scene, parcel), view);
  const roomy = open.filter((port) => lackIn(port) === null);
  const [best] = ranked(scene, vm, parcel, roomy);
  if (best !== undefined) {
    return ok(best);
  }
  const [largest] = [...open].sort((a, b) => sizeOf(b) - sizeOf(a));
  return largest === undefined
    ? err({ kind: "no-free-port", vm, needed: 1, ports: describePorts(view.ports) })
    : err({ kind: "no-room", vm, port: largest.bus, wanted: lackIn(largest) ?? "" });
}

/** The port it had, then those that nobody is used to; of these the smallest, so that large ones stay for large cards. */
function ranked(scene: Scene, vm: string, parcel: Parcel, ports: readonly Port[]): readonly Port[] {
  const { world } = scene;
  const own = parcel.members.map((address) => preferredPort(world, vm, address));
  const others = portsPreferredByOthers(world, vm, parcel.members);
  const named = new Set(
    world.policy?.rules.flatMap((rule) => (rule.port !== null && vmsOf(rule).includes(vm) ? rule.port : [])),
  );
  const rank = (port: Port): number => {
    if (own.includes(portKey(port))) {
      return 0;
    }
    return named.has(port.bus) ? 3 : others.has(portKey(port)) ? 2 : 1;
  };
  return [...ports].sort((a, b) => rank(a) - rank(b) || sizeOf(a) - sizeOf(b));
}

function sizeOf({ reserve }: Port): number {
  return (reserve?.prefetchable ?? 0) + (reserve?.memory ?? 0);
}

function devicesOf({ world }: Scene, parcel: Parcel): readonly Device[] {
  return parcel.members.flatMap((address) => world.devices.get(address) ?? []);
}

function whyNotFree(view: VmView, bus: string): string {
  const ports = view.ports.filter((port) => port.bus === bus);
  const [first] = ports;
  if (first === undefined) {
    return "there is no such port";
  }
  if (ports.some(({ state }) => state.kind === "free")) {
    return "another device is on its way into it";
  }
  return first.state.kind === "unusable"
    ? first.state.reason
    : `it holds ${ports.flatMap(({ state }) => (state.kind === "plugged" ? state.by : [])).join(", ")}`;
}

/** Function 0 comes last: with it the guest is shown the whole card (facts.md 4). */
function placesIn(port: Port, { members, begun }: Parcel): readonly Place[] {
  const { bus, addr } = port;
  const [first, ...others] = members;
  if (first === undefined) {
    return [];
  }
  if (others.length === 0 && begun === null) {
    return [{ address: first, bus, addr }];
  }
  const last = members.find((address) => addressParts(address).function === 0) ?? first;
  const rest = members.filter((address) => address !== last);
  return [
    ...rest.map((address) => ({ address, bus, addr: `${addr}.${addressParts(address).function}` })),
    { address: last, bus, addr: `${addr}.0`, isMultifunction: true as const },
  ];
}
