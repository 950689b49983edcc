/** Laws of assign over random worlds of every mode (semantics.md 4): order, reboot, stickiness, one VM for a device. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { assign } from "../../../src/core/assign.js";
import type { Assignment } from "../../../src/core/assignment.js";
import type { Device } from "../../../src/core/device.js";
import type { Lease } from "../../../src/core/lease.js";
import { DEFAULT_TRAITS, type Rule } from "../../../src/core/policy.js";
import type { World } from "../../../src/core/world.js";
import {
  aDevice,
  aGroupRule,
  aLease,
  aPolicy,
  aRule,
  aSelectRule,
  aWorld,
  spreadOver,
} from "../../support/builders.js";

const vms = fc.constantFrom("a", "b", "c");
const match = fc.constantFrom<Record<string, string>>(
  { class: "vga" },
  { vendor: "10de" },
  { address: "0000:0[1-3]:*" },
  { address: "*:00.1" },
  { numaNode: "1", class: "vga" },
);
const traits = fc.record({
  priority: fc.integer({ min: 0, max: 2 }),
  unit: fc.constantFrom("function", "card", "iommu-group"),
  companions: fc.constantFrom("refuse", "bind", "attach"),
  onConflict: fc.constantFrom("hold", "first"),
  preempt: fc.boolean(),
} as const);
const batch = fc.record({ match, vm: vms, traits }).map(
  (entry) =>
    (name: string): Rule =>
      aRule(name, entry.match, entry.vm, entry.traits),
);
const select = fc.record({ match, vm: vms, traits, min: fc.nat(2), more: fc.nat(2) }).map(
  ({ min, more, ...entry }) =>
    (name: string): Rule =>
      aSelectRule(
        name,
        entry.match,
        entry.vm,
        { min, max: min + more },
        { ...entry.traits, prefer: [{ by: "numa" }] },
      ),
);
const group = fc
  .record({
    match,
    traits,
    key: fc.constantFrom("address", "numaNode", "vendor", "card"),
    how: fc.constantFrom("round-robin", "pack", "weight"),
    over: fc.uniqueArray(vms, { minLength: 1, maxLength: 3 }),
  } as const)
  .map(
    (entry) =>
      (name: string): Rule =>
        aGroupRule(name, entry.match, spreadOver(entry.key, entry.over, entry.how, { max: 3 }), entry.traits),
  );
const rules = fc
  .array(fc.oneof(batch, select, group), { minLength: 1, maxLength: 5 })
  .map((makers) => makers.map((make, index) => make(`r${index}`)));

const slots = fc.uniqueArray(
  fc.record({
    bus: fc.integer({ min: 1, max: 5 }),
    fn: fc.nat(1),
    group: fc.integer({ min: 1, max: 6 }),
    vendor: fc.constantFrom("10de", "1002"),
    driver: fc.constantFrom("nouveau", null),
    class: fc.constantFrom("030000", "040300", "020000"),
    numaNode: fc.integer({ min: -1, max: 1 }),
  }),
  { selector: ({ bus, fn }) => `${bus}.${fn}`, maxLength: 9 },
);
/** IOMMU groups any which way, as on a board without ACS. */
const inventory = slots.map((entries) =>
  entries.map(({ bus, fn, group: iommuGroup, ...facts }) =>
    aDevice(`0000:0${bus}:00.${fn}`, { ...facts, iommuGroup }),
  ),
);
/** What a failing case is about, short enough to read. */
function brief(devices: readonly Device[], all: readonly Rule[]): string {
  const facts = devices.map(
    ({ address, class: code, vendor, numaNode, iommuGroup, driver }) =>
      `${address} ${code} ${vendor} node ${numaNode} group ${iommuGroup} ${driver}`,
  );
  const rules_ = all.map((rule) => {
    const { match: written, ...rest } = rule;
    const said = Object.entries(rest).filter(
      ([key]) => !(key in DEFAULT_TRAITS) || rest[key as "unit"] !== DEFAULT_TRAITS[key as "unit"],
    );
    return JSON.stringify({ match: written.written, ...Object.fromEntries(said) });
  });
  return [...facts.sort(), ...rules_].join("\n");
}

function worldOf(devices: readonly Device[], all: readonly Rule[], leases: readonly Lease[] = []): World {
  const policy = aPolicy(all, {
    vms: ["a", "b", "c"].map((name, numaNode) => ({
      name,
      qmp: `/run/${name}.sock`,
      numaNode,
    })),
  });
  return aWorld({ devices, policy, leases });
}

function told({ units, held, shortages }: Assignment): string {
  return JSON.stringify([units.map(({ rules: _, ...unit }) => unit), held, shortages]);
}

/** What the ledger and the host look like once everything that was assigned has been done. */
function carriedOut(devices: readonly Device[], all: readonly Rule[], { units }: Assignment): World {
  const leases = units.flatMap((unit) => [
    ...unit.members.map((address) => ({ address, unit, role: "claimed" as const })),
    ...[...unit.companions, ...unit.bystanders].map((address) => ({
      address,
      unit,
      role: "companion" as const,
    })),
  ]);
  const byAddress = new Map(devices.map((device) => [device.address, device]));
  const bound = new Set(units.flatMap((unit) => [...unit.members, ...unit.bystanders]));
  const after = devices.map((device) =>
    bound.has(device.address)
      ? { ...device, driver: "vfio-pci", lent: { driver: device.driver ?? null } }
      : device,
  );
  return worldOf(
    after,
    all,
    leases.map(({ address, unit, role }) =>
      aLease(byAddress.get(address)!, unit.vm, { role, rule: unit.rules.get(address)?.name ?? unit.rule }),
    ),
  );
}

describe("assign, whatever the modes", () => {
  it("gives the same bytes for the same inventory, in whatever order it comes", () => {
    fc.assert(
      fc.property(inventory, rules, fc.infiniteStream(fc.nat()), (devices, all, order) => {
        const shuffled = devices
          .map((device) => ({ device, key: order.next().value ?? 0 }))
          .sort((a, b) => a.key - b.key)
          .map(({ device }) => device);
        expect(told(assign(worldOf(shuffled, all))), brief(devices, all)).toBe(
          told(assign(worldOf(devices, all))),
        );
      }),
      { numRuns: 500 },
    );
  });

  it("gives no device to two VMs, no IOMMU group to two VMs, and holds nothing that it gives", () => {
    fc.assert(
      fc.property(inventory, rules, (devices, all) => {
        const { units, held } = assign(worldOf(devices, all));
        const members = units.flatMap((unit) => unit.members);
        expect(new Set(members).size).toBe(members.length);
        const groups = units.map((unit) => unit.iommuGroup);
        expect(new Set(groups).size).toBe(groups.length);
        expect(held.filter(({ address }) => members.includes(address))).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  // A rule that preempts may take at the second look what it could have without harm only then: once in 50,000 such worlds.
  it("changes nothing once everything that it said is done", () => {
    fc.assert(
      fc.property(inventory, rules, (devices, wanted) => {
        const all = wanted.map((rule) => ({ ...rule, preempt: false }));
        const first = assign(worldOf(devices, all));
        const second = assign(carriedOut(devices, all, first));
        const owners = ({ byDevice }: Assignment) =>
          [...byDevice].map(([address, unit]) => `${address} ${unit.vm}`).sort();
        expect(owners(second), `${brief(devices, all)}\n${told(first)}\n${told(second)}`).toEqual(
          owners(first),
        );
        for (const [address, unit] of first.byDevice) {
          expect(second.staying.get(address)).toContain(unit.vm);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it("comes to the same whatever is known of a device first, for rules that take all they match", () => {
    const unknown = fc.array(fc.subarray(["class", "numaNode"] as const), {
      minLength: 9,
      maxLength: 9,
    });
    const exact = fc
      .array(batch, { minLength: 1, maxLength: 4 })
      .map((makers) =>
        makers.map((make, index) => ({ ...make(`r${index}`), unit: "function", companions: "bind" }) as Rule),
      );
    fc.assert(
      fc.property(inventory, exact, unknown, (devices, all, masks) => {
        const ownGroups = devices.map((device, index) => ({ ...device, iommuGroup: index }));
        const early = ownGroups.map((device, index) =>
          Object.fromEntries(
            Object.entries(device).filter(([fact]) => !masks[index]?.some((masked) => masked === fact)),
          ),
        ) as unknown as Device[];
        const before = carriedOut(early, all, assign(worldOf(early, all)));
        const later = ownGroups.map((device) => {
          const { driver, lent } = before.devices.get(device.address) ?? device;
          return {
            ...device,
            ...(driver === undefined ? {} : { driver }),
            ...(lent === undefined ? {} : { lent }),
          };
        });
        const told = ({ byDevice }: Assignment) =>
          [...byDevice].map(([address, { vm }]) => `${address} ${vm}`).sort();
        expect(told(assign(worldOf(later, all, [...before.leases.values()]))), brief(early, all)).toEqual(
          told(assign(worldOf(ownGroups, all))),
        );
      }),
      { numRuns: 1_000 },
    );
  });
});
