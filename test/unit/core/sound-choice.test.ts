/** Select rules over shared IOMMU groups, against every possible choice tried one by one (semantics.md 4 and 7). */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { assign } from "../../../src/core/assign.js";
import type { Assignment } from "../../../src/core/assignment.js";
import type { Device } from "../../../src/core/device.js";
import type { RuleTraits, SelectRule } from "../../../src/core/policy.js";
import { aDevice, aPolicy, aSelectRule, aWorld } from "../../support/builders.js";

interface Wish {
  readonly vm: string;
  readonly addresses: readonly string[];
  readonly unit: RuleTraits["unit"];
  readonly min: number;
  readonly max: number;
}

const PLACES = ["0000:01:00.0", "0000:01:00.1", "0000:02:00.0", "0000:02:00.1", "0000:03:00.0"] as const;

/** Cards of two functions and one of one, over three IOMMU groups any which way. */
const inventory = fc
  .array(
    fc.record({
      iommuGroup: fc.integer({ min: 1, max: 3 }),
      driver: fc.constantFrom("nouveau", "nouveau", null),
    }),
    { minLength: 2, maxLength: PLACES.length },
  )
  .map((entries) => entries.map((facts, index) => aDevice(PLACES[index] ?? "", facts)));

const wish = fc
  .record({
    vm: fc.constantFrom("a", "b"),
    addresses: fc.subarray([...PLACES], { minLength: 1 }),
    unit: fc.constantFrom<RuleTraits["unit"]>("function", "function", "card", "iommu-group"),
    min: fc.integer({ min: 1, max: 3 }),
    more: fc.nat(2),
  })
  .map(({ min, more, ...rest }): Wish => ({ ...rest, min, max: min + more }));

const wishes = fc.array(wish, { minLength: 1, maxLength: 3 });

function rulesOf(all: readonly Wish[]): readonly SelectRule[] {
  return all.map(({ vm, addresses, unit, min, max }, index) =>
    aSelectRule(`r${index}`, { address: [...addresses] }, vm, { min, max }, { unit }),
  );
}

function decideOn(devices: readonly Device[], all: readonly Wish[]): Assignment {
  return assign(aWorld({ devices, policy: aPolicy(rulesOf(all)) }));
}

/** Which wishes are met, first in rank first. */
function metBy({ shortages }: Assignment, all: readonly Wish[]): string {
  const short = new Set(shortages.map(({ rule }) => rule));
  return all.map((_, index) => (short.has(`r${index}`) ? "0" : "1")).join("");
}

type Owners = ReadonlyMap<Device, string>;

/** The units that a wish may take, each once. */
function unitsOf(devices: readonly Device[], { addresses, unit }: Wish): readonly (readonly Device[])[] {
  const around = (device: Device) =>
    devices.filter(
      (other) =>
        other === device ||
        (unit === "card" && other.address.slice(0, -2) === device.address.slice(0, -2)) ||
        (unit === "iommu-group" && other.iommuGroup === device.iommuGroup),
    );
  const units = devices.filter(({ address }) => addresses.includes(address)).map(around);
  return [
    ...new Map(units.map((members) => [members.map(({ address }) => address).join(), members])).values(),
  ];
}

/** Whether every IOMMU group has one owner, who has all of it that a host driver holds. */
function isSound(devices: readonly Device[], owners: Owners): boolean {
  return [...owners].every(([device, vm]) =>
    devices
      .filter((other) => other.iommuGroup === device.iommuGroup)
      .every((other) => owners.get(other) === vm || (other.driver === null && !owners.has(other))),
  );
}

/** The best that any choice can do, by trying all of them. */
function bestOf(devices: readonly Device[], all: readonly Wish[]): string {
  let best = "";
  const tryFor = (met: string, owners: Owners) => {
    const wished = all[met.length];
    if (wished === undefined) {
      best = met > best && isSound(devices, owners) ? met : best;
      return;
    }
    tryFor(`${met}0`, owners);
    const units = unitsOf(devices, wished);
    const take = (next: number, count: number, taken: Owners) => {
      if (isMet(wished, count)) {
        tryFor(`${met}1`, taken);
      }
      for (let index = next; index < units.length && count < wished.max; index += 1) {
        const members = units[index] ?? [];
        if (members.every((member) => !taken.has(member))) {
          take(index + 1, count + 1, new Map([...taken, ...members.map((one) => [one, wished.vm] as const)]));
        }
      }
    };
    take(0, 0, owners);
  };
  tryFor("", new Map());
  return best;
}

function isMet(wished: Wish, count: number): boolean {
  return count >= wished.min && count <= wished.max;
}

function brief(devices: readonly Device[], all: readonly Wish[]): string {
  const facts = devices.map(({ address, iommuGroup, driver }) => `${address} group ${iommuGroup} ${driver}`);
  return [...facts, ...all.map((entry) => JSON.stringify(entry))].join("\n");
}

describe("select rules over shared IOMMU groups", () => {
  it("refuse no minimum that could be met beside those of higher rank, whatever must be chosen together", () => {
    fc.assert(
      fc.property(inventory, wishes, (devices, all) => {
        const done = decideOn(devices, all);
        expect(metBy(done, all), brief(devices, all)).toBe(bestOf(devices, all));
      }),
      { numRuns: 2_000 },
    );
  });

  it("leave out a card of which a part is blocked elsewhere, and keep its neighbour that is not", () => {
    const devices = [
      aDevice("0000:01:00.1", { iommuGroup: 1 }),
      aDevice("0000:02:00.0", { iommuGroup: 1, driver: null }),
      aDevice("0000:02:00.1", { iommuGroup: 3 }),
      aDevice("0000:03:00.0", { iommuGroup: 3 }),
    ];
    const rule = aSelectRule(
      "r",
      { address: ["01:00.1", "02:00.0"] },
      "a",
      { min: 1, max: 2 },
      { unit: "card" },
    );
    const { units, shortages } = assign(aWorld({ devices, policy: aPolicy([rule]) }));
    expect(units.map(({ members }) => members)).toEqual([["0000:01:00.1"]]);
    expect(shortages).toEqual([]);
  });
});
