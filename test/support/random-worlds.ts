/** fast-check generators of small worlds in which everything that decides about devices occurs, and of their changes. */
import fc from "fast-check";
import { type Device, identityOf } from "../../src/core/device.js";
import type { Pin } from "../../src/core/intent.js";
import type { World } from "../../src/core/world.js";
import { aDevice, aLease, anAddress, aWorld, protectedBy, up } from "./builders.js";
import { address, policies, seldom, vm } from "./random-policies.js";

const GRACE_MS = 60_000;
const start = 1_000_000;
const times = [start - 1, start + GRACE_MS / 2, start + GRACE_MS, start + 3 * GRACE_MS] as const;

const serial = fc.constantFrom("S1", "S2", null, undefined);
const path = fc.constantFrom("0000:00/01.0", "0000:00/02.0", undefined);

/** A fact that is mostly known. */
function mostly<Fact>(...facts: readonly Fact[]): fc.Arbitrary<Fact | undefined> {
  return fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...facts) }, fc.constant(undefined));
}

const facts: fc.Arbitrary<Partial<Device>> = fc.record({
  vendor: mostly("10de", "8086"),
  device: fc.constantFrom("2204", "1572"),
  class: mostly("030000", "030000", "020000", "060400"),
  numaNode: fc.constantFrom(0, 1, -1),
  driver: fc.constantFrom(null, "nouveau", "vfio-pci"),
  iommuGroup: mostly<number | null>(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, null),
  root: fc.constantFrom(anAddress("0000:00:01.0"), anAddress("0000:00:02.0"), null),
  memory: fc.constantFrom(1, 2, undefined),
  appearance: fc.constantFrom("first", "second"),
  serial,
  path,
}) as fc.Arbitrary<Partial<Device>>;

/** One change of a world. */
export type Change = (world: World) => World;

const device: fc.Arbitrary<Device> = fc.record({ address, facts }).map(({ address: text, facts: known }) => {
  const entries = Object.entries(known).filter(([, fact]) => fact !== undefined);
  const { vendor, class: _, iommuGroup: __, ...rest } = aDevice(text);
  return { ...rest, ...(Object.fromEntries(entries) as Partial<Device>) };
});

function inSight(devices: readonly Device[]): World["devices"] {
  return new Map(
    devices.map((entry) => [entry.address, entry] as const).sort(([a], [b]) => (a < b ? -1 : Number(a > b))),
  );
}

const withDevice = device.map(
  (entry): Change =>
    (world) => ({
      ...world,
      devices: inSight(
        [...world.devices.values()].filter(({ address: other }) => other !== entry.address).concat(entry),
      ),
    }),
);

const withoutDevice = address.map(
  (gone): Change =>
    (world) => ({
      ...world,
      devices: inSight([...world.devices.values()].filter((entry) => entry.address !== gone)),
    }),
);

/** Buses are numbered anew: a card is gone from one place and turns up in another at the same moment. */
const renumbered = fc.record({ address, to: address }).map(
  ({ address: from, to }): Change =>
    (world) => {
      const known = world.devices.get(from);
      const others = [...world.devices.values()].filter(
        (entry) => entry.address !== from && entry.address !== to,
      );
      return known === undefined
        ? world
        : { ...world, devices: inSight([...others, { ...known, address: to }]) };
    },
);

const withDriver = fc.record({ address, driver: fc.constantFrom(null, "nouveau", "vfio-pci") }).map(
  ({ address: at, driver }): Change =>
    (world) => {
      const known = world.devices.get(at);
      return known === undefined
        ? world
        : { ...world, devices: new Map(world.devices).set(at, { ...known, driver }) };
    },
);

const withProtection = fc
  .record({
    address,
    level: fc.constantFrom(null, "hard" as const, "soft" as const),
    isLiftable: fc.boolean(),
  })
  .map(
    ({ address: at, level, isLiftable }): Change =>
      (world) => {
        const protections = new Map(world.protections);
        protections.delete(at);
        return {
          ...world,
          protections:
            level === null
              ? protections
              : protections.set(at, protectedBy("it is needed", { level, isLiftable })),
        };
      },
  );

const withLease = fc
  .record({
    address,
    vm: fc.option(vm),
    rule: fc.constantFrom("r0", "r1", "r2"),
    role: seldom<"claimed" | "companion">("claimed", "companion"),
  })
  .map(
    ({ address: at, vm: owner, rule: name, role }): Change =>
      (world) => {
        const known = world.devices.get(at);
        const leases = new Map(world.leases);
        leases.delete(at);
        return {
          ...world,
          leases:
            owner === null || known === undefined
              ? leases
              : leases.set(at, aLease(known, owner, { rule: name, role })),
        };
      },
  );

const withHold = fc.record({ address, vm, isEnded: fc.boolean() }).map(
  ({ address: at, vm: owner, isEnded }): Change =>
    (world) => {
      const hold = { address: at, vm: owner, appearance: "first", process: null, atMs: 0 };
      const others = world.holds.filter((entry) => entry.address !== at);
      const fresh = { ...hold, cause: "ejected-by-guest", detail: "let go of" } as const;
      return { ...world, holds: isEnded ? others : [...others, fresh] };
    },
);

const intents: fc.Arbitrary<Partial<World["intents"]>> = fc.oneof(
  fc.record({
    reservations: fc.array(
      fc.record({ address, vm, untilMs: fc.constantFrom(null, ...times), detail: fc.constant("wanted") }),
      { maxLength: 2 },
    ),
  }),
  fc.record({ orders: fc.array(fc.record({ address, vm, atMs: fc.constant(0) }), { maxLength: 2 }) }),
  fc.record({
    quarantines: fc.array(
      fc.record({
        address,
        identity: fc
          .constantFrom("10de", "1002")
          .map((vendor) => identityOf(aDevice("0000:01:00.0", { vendor }))),
        why: fc.constant("it is suspect"),
        atMs: fc.constant(0),
        isCleared: fc.boolean(),
      }),
      { maxLength: 2 },
    ),
  }),
);

const withIntents = intents.map(
  (some): Change =>
    (world) => ({ ...world, intents: { ...world.intents, ...some } }),
);

const withPin = fc
  .record({ address, rule: fc.constantFrom("r0", "r1", "r2"), serial, path, of: address })
  .map(
    ({ address: at, rule: name, serial: number, path: way, of }): Change =>
      (world) => {
        const known = world.devices.get(of);
        if (known === undefined) {
          return world;
        }
        const pin: Pin = {
          rule: name,
          address: at,
          path: way ?? null,
          serial: number ?? null,
          identity: identityOf(known),
        };
        return { ...world, intents: { ...world.intents, pins: [...world.intents.pins.slice(-2), pin] } };
      },
  );

const withVm = fc.record({ vm, isUp: fc.boolean() }).map(
  ({ vm: name, isUp }): Change =>
    (world) => ({
      ...world,
      vms: new Map(world.vms).set(
        name,
        isUp ? up() : { kind: "absent", sinceMs: world.nowMs, reason: "no socket" },
      ),
    }),
);

const later = fc.constantFrom(...times).map(
  (atMs): Change =>
    (world) => ({ ...world, nowMs: Math.max(world.nowMs, atMs) }),
);

const settling = fc.boolean().map(
  (isSettling): Change =>
    (world) => ({ ...world, inventoryMovedMs: isSettling ? world.nowMs : null }),
);

const safety = fc.boolean().map(
  (isSafe): Change =>
    (world) => ({ ...world, dma: { weaknesses: isSafe ? [] : ["interrupts are not kept apart"] } }),
);

const withPolicy = policies.map(
  (fresh): Change =>
    (world) => ({ ...world, policy: fresh }),
);

const change: fc.Arbitrary<Change> = fc.oneof(
  ...[withDevice, withDevice, withoutDevice, withDriver, withDriver, withProtection, withLease, withLease],
  ...[
    renumbered,
    withHold,
    withIntents,
    withIntents,
    withPin,
    withVm,
    later,
    later,
    settling,
    safety,
    withPolicy,
  ],
);

/** Worlds, each made from the one before by one change. The first has some history already. */
export const histories: fc.Arbitrary<readonly World[]> = fc
  .record({
    policy: policies,
    devices: fc.array(device, { minLength: 3, maxLength: 16 }),
    before: fc.array(change, { maxLength: 8 }),
    changes: fc.array(change, { minLength: 1, maxLength: 10 }),
  })
  .map(({ policy: first, devices, before, changes }) => {
    const bare = aWorld({ policy: first }, { nowMs: start, devices: inSight(devices) });
    const worlds = [before.reduce((world, next) => next(world), bare)];
    for (const next of changes) {
      worlds.push(next(worlds.at(-1) ?? bare));
    }
    return worlds;
  });
