/** Select rules over shared IOMMU groups, against every possible choice tried one by one (semantics.md 4 and 7). */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { assign } from "../../../src/core/assign.js";
import type { Assignment } from "../../../src/core/assignment.js";
import type { Device } from "../../../src/core/device.js";
import type { SelectRule } from "../../../src/core/policy.js";
import { aDevice, aPolicy, aSelectRule, aWorld } from "../../support/builders.js";

interface Wish {
  readonly vm: string;
  readonly addresses: readonly string[];
  readonly min: number;
  readonly max: number;
}

const inventory = fc
  .array(
    fc.record({
      iommuGroup: fc.integer({ min: 1, max: 3 }),
      driver: fc.constantFrom("nouveau", "nouveau", null),
    }),
    { minLength: 2, maxLength: 5 },
  )
  .map((entries) => entries.map((facts, index) => aDevice(`0000:0${index + 1}:00.0`, facts)));

const wish = fc
  .record({
    vm: fc.constantFrom("a", "b"),
    addresses: fc.uniqueArray(
      fc.constantFrom(1, 2, 3, 4, 5).map((bus) => `0000:0${bus}:00.0`),
      { minLength: 1 },
    ),
    min: fc.integer({ min: 1, max: 3 }),
    more: fc.nat(2),
  })
  .map(({ min, more, ...rest }): Wish => ({ ...rest, min, max: min + more }));

const wishes = fc.array(wish, { minLength: 1, maxLength: 3 });

function rulesOf(all: readonly Wish[]): readonly SelectRule[] {
  return all.map(({ vm, addresses, min, max }, index) =>
    aSelectRule(`r${index}`, { address: [...addresses] }, vm, { min, max }),
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

/** Wish -> how many devices it has. `null` where an IOMMU group would be torn apart. */
function countsOf(devices: readonly Device[], all: readonly Wish[], owners: readonly (number | null)[]) {
  const vmOf = (index: number) => all[owners[index] ?? -1]?.vm;
  const isSound = devices.every((device, index) =>
    devices.every((other, place) => {
      const isNeighbour = other.iommuGroup === device.iommuGroup;
      const isInTheWay = other.driver !== null || vmOf(place) !== undefined;
      return vmOf(index) === undefined || !isNeighbour || !isInTheWay || vmOf(place) === vmOf(index);
    }),
  );
  return isSound ? all.map((_, index) => owners.filter((owner) => owner === index).length) : null;
}

/** The best that any choice can do, by trying all of them. */
function bestOf(devices: readonly Device[], all: readonly Wish[]): string {
  let best = "";
  const tryAll = (owners: readonly (number | null)[]) => {
    const device = devices[owners.length];
    if (device === undefined) {
      const counts = countsOf(devices, all, owners);
      const isRight = counts?.every((count, index) => count === 0 || isMet(all[index], count));
      const met = counts?.map((count, index) => (isMet(all[index], count) ? "1" : "0")).join("") ?? "";
      best = isRight === true && met > best ? met : best;
      return;
    }
    tryAll([...owners, null]);
    all.forEach((entry, index) => {
      if (entry.addresses.includes(device.address)) {
        tryAll([...owners, index]);
      }
    });
  };
  tryAll([]);
  return best;
}

function isMet(wished: Wish | undefined, count: number): boolean {
  return wished !== undefined && count >= wished.min && count <= wished.max;
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
