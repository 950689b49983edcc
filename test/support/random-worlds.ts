/** fast-check generators of small worlds in which everything that decides about devices occurs, and of their changes. */
import fc from "fast-check";
import type { PciAddress } from "../../src/core/address.js";
import { type Device, identityOf } from "../../src/core/device.js";
import type { Pin } from "../../src/core/intent.js";
import {
  COMPANION_CHOICES,
  DEFAULT_TRAITS,
  FOLLOW_CHOICES,
  type GroupRule,
  type Policy,
  type Preference,
  type Rule,
  type RuleTraits,
  type SelectRule,
  UNIT_KINDS,
} from "../../src/core/policy.js";
import { compileSelector, type RawSelector, type Selector } from "../../src/core/selector.js";
import type { World } from "../../src/core/world.js";
import { aDevice, aLease, anAddress, aPolicy, aWorld, protectedBy, up } from "./builders.js";

const VMS = ["a", "b", "c"] as const;
const GRACE_MS = 60_000;
const start = 1_000_000;
const times = [start - 1, start + GRACE_MS / 2, start + GRACE_MS, start + 3 * GRACE_MS] as const;

/** Cards of one or two functions on four buses. */
const ADDRESSES: readonly PciAddress[] = ["01", "02", "03", "04"].flatMap((bus) =>
  ["00.0", "00.1", "01.0"].map((place) => anAddress(`0000:${bus}:${place}`)),
);
const address = fc.constantFrom(...ADDRESSES);
const vm = fc.constantFrom(...VMS);
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
  iommuGroup: mostly<number | null>(1, 2, 3, 4, 5, 6, 7, null),
  root: fc.constantFrom(anAddress("0000:00:01.0"), anAddress("0000:00:02.0"), null),
  memory: fc.constantFrom(1, 2, undefined),
  appearance: fc.constantFrom("first", "second"),
  serial,
  path,
}) as fc.Arbitrary<Partial<Device>>;

const match: fc.Arbitrary<Selector> = fc
  .oneof(
    fc.constantFrom<RawSelector>(
      ...[{ address: "*" }, { vendor: "10de" }, { vendor: "8086" }, { class: "vga" }, { numaNode: "0" }],
      ...[{ serial: "S1" }, { address: "*:00.0" }, { address: "*:0[12]:*" }, { address: "*:03:*" }],
    ),
    address.map((text): RawSelector => ({ address: text })),
  )
  .map(compiled);

function compiled(raw: RawSelector): Selector {
  const selector = compileSelector(raw);
  if (!selector.ok) {
    throw new Error(JSON.stringify(selector.error));
  }
  return selector.value;
}

/** The choice that a rule makes where it says nothing, and now and then another one. */
function seldom<Choice>(usual: Choice, ...others: readonly Choice[]): fc.Arbitrary<Choice> {
  return fc.oneof({ weight: 3, arbitrary: fc.constant(usual) }, fc.constantFrom(...others));
}

const traits: fc.Arbitrary<Partial<RuleTraits>> = fc.record({
  priority: fc.constantFrom(0, 0, 1, 2),
  unit: seldom(...UNIT_KINDS),
  companions: seldom(...COMPANION_CHOICES),
  onConflict: seldom<"hold" | "first">("hold", "first"),
  whenDown: seldom<"wait" | "next">("wait", "next"),
  preempt: fc.boolean(),
  isPinned: seldom(false, true),
  follow: seldom(...FOLLOW_CHOICES),
  expect: seldom<RuleTraits["expect"]>(null, { device: "2204" }, { serial: "S1" }),
  isOverride: seldom(false, true),
  takeConfigured: fc.boolean(),
  acceptUnsafe: fc.boolean(),
});

const count = fc
  .record({ min: fc.nat(3), more: fc.nat(2) })
  .map(({ min, more }) => ({ min, max: min + more }));

/** Names are places: a rule may want to be near what a rule before it gets. */
const preference: fc.Arbitrary<Preference> = fc.oneof(
  fc.constant<Preference>({ by: "numa" }),
  fc.constantFrom(0, 1, 2).map((place): Preference => ({ by: "sameRootAs", rule: `r${place}` })),
  fc.constantFrom<Preference>({ by: "address", order: "highest" }, { by: "memory", order: "largest" }),
);

const rule: fc.Arbitrary<Rule> = fc
  .record({ match, traits, vm, mode: fc.constantFrom("batch", "select", "select", "group") })
  .chain(({ mode, vm: owner, traits: chosen, match: selector }): fc.Arbitrary<Rule> => {
    const base = { ...DEFAULT_TRAITS, ...chosen, name: "", match: selector };
    if (mode === "select") {
      const alternatives = fc.array(fc.record({ match: fc.option(match), count }), {
        minLength: 1,
        maxLength: 2,
      });
      return fc
        .record({ alternatives, prefer: fc.array(preference, { maxLength: 2 }) })
        .map((more): SelectRule => ({ ...base, ...more, mode: "select", vm: owner }));
    }
    return mode === "batch"
      ? fc.constant<Rule>({ ...base, mode: "batch", vm: owner })
      : grouping.map((more): GroupRule => ({ ...base, ...more, mode: "group" }));
  });

const grouping: fc.Arbitrary<Pick<GroupRule, "classify" | "to">> = fc.record({
  classify: fc.constantFrom(
    ...(["numaNode", "card", "root", "vendor", "iommuGroup"] as const).map(
      (key) => ({ kind: "key", key }) as const,
    ),
  ),
  to: fc.oneof(
    vm.map(
      (other) =>
        ({
          kind: "map",
          vms: new Map([
            ["0", "a"],
            ["10de", other],
          ]),
        }) as const,
    ),
    fc.constantFrom("round-robin", "pack", "weight").map(
      (how) =>
        ({
          kind: "spread",
          how,
          targets: [
            { vm: "a", weight: 1, max: 2 },
            { vm: "b", weight: 2, max: Number.POSITIVE_INFINITY },
          ],
        }) as const,
    ),
  ),
});

const policy: fc.Arbitrary<Policy> = fc
  .record({
    rules: fc.array(rule, { minLength: 1, maxLength: 6 }),
    never: fc.array(match, { maxLength: 1 }),
    allow: seldom<readonly Selector[] | null>(
      null,
      [compiled({ address: "*" })],
      [compiled({ vendor: "10de" })],
    ),
  })
  .map(({ rules, never, allow }) => {
    const vms = VMS.map((name, index) => ({ name, qmp: `/run/${name}.sock`, numaNode: index % 2 }));
    const named = rules.map((entry, place) => ({ ...entry, name: `r${place}` }));
    // `never` of everything would leave nothing to decide about.
    const excluded = never.filter((selector) => selector.exactAddresses.length > 0);
    return aPolicy(named, { vms, never: excluded, allow });
  });

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

const withPolicy = policy.map(
  (fresh): Change =>
    (world) => ({ ...world, policy: fresh }),
);

const change: fc.Arbitrary<Change> = fc.oneof(
  ...[withDevice, withDevice, withoutDevice, withDriver, withDriver, withProtection, withLease, withLease],
  ...[withHold, withIntents, withIntents, withPin, withVm, later, settling, safety, withPolicy],
);

/** Worlds, each made from the one before by one change. The first has some history already. */
export const histories: fc.Arbitrary<readonly World[]> = fc
  .record({
    policy,
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
