import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AssignmentCache, assign } from "../../../src/core/assign.js";
import { type Assignment, joinDecisions } from "../../../src/core/assignment.js";
import { decide } from "../../../src/core/decision.js";
import { identityOf } from "../../../src/core/device.js";
import { findingsOf } from "../../../src/core/findings.js";
import { NO_INTENTS } from "../../../src/core/intent.js";
import { type Island, Islands } from "../../../src/core/islands.js";
import type { Rule } from "../../../src/core/policy.js";
import { Situation } from "../../../src/core/situation.js";
import type { World } from "../../../src/core/world.js";
import { aDevice, aLease, aPolicy, aRule, aSelectRule, aWorld } from "../../support/builders.js";
import { histories } from "../../support/random-worlds.js";

/** The whole world as one island. */
function assignUncut(world: World): Assignment {
  const findings = findingsOf(world);
  return joinDecisions([decide(new Situation(world), findings)], findings);
}

/** JSON in which maps are spelled out by their keys, sets by their members, and rules by their names. */
function spelled(assignment: Assignment): string {
  return JSON.stringify(
    assignment,
    (_, value) => {
      if (value instanceof Map) {
        const entries = [...value].map(([key, entry]) => [String(key), entry] as const);
        return entries.sort(([a], [b]) => (a < b ? -1 : Number(a > b)));
      }
      if (value instanceof Set) {
        return [...value];
      }
      return value?.match !== undefined && value.mode !== undefined ? `rule ${value.name}` : value;
    },
    1,
  );
}

describe("assigning island by island", () => {
  it("gives the answer of the uncut world", () => {
    fc.assert(
      fc.property(histories, (worlds) => {
        const world = worlds.at(-1) as World;
        expect(spelled(assign(world))).toBe(spelled(assignUncut(world)));
      }),
      { numRuns: 500 },
    );
  });

  it("gives the same answer after every change, whatever was decided before", () => {
    fc.assert(
      fc.property(histories, (worlds) => {
        const cache = new AssignmentCache();
        for (const world of worlds) {
          expect(spelled(cache.of(world))).toBe(spelled(assign(world)));
        }
      }),
      { numRuns: 500 },
    );
  });

  it("notices that time has ended a reservation, and the grace of a VM that is down", () => {
    const device = aDevice("0000:01:00.0");
    const policy = aPolicy([aRule("r", { address: "*" }, "a", { whenDown: "next" })]);
    const lease = aLease(device, "a");
    const reservation = { address: device.address, vm: "b", untilMs: 1_500, detail: "wanted" };
    const reserved = aWorld(
      { devices: [device], policy },
      {
        nowMs: 1_000,
        intents: { ...NO_INTENTS, reservations: [reservation] },
      },
    );
    const down = aWorld(
      {
        devices: [device],
        policy,
        leases: [lease],
        vms: { a: { kind: "absent", sinceMs: 1_000, reason: "" } },
      },
      { nowMs: 1_000 },
    );
    for (const world of [reserved, down]) {
      const cache = new AssignmentCache();
      const before = cache.of(world);
      const after = cache.of({ ...world, nowMs: 61_000 });
      expect(after.units).not.toEqual(before.units);
    }
  });

  it("lets rules that choose wander with what they match", () => {
    const device = aDevice("0000:01:00.0");
    const count = { min: 1, max: 1 };
    const policy = aPolicy([
      aSelectRule("r1", { vendor: "10de" }, "a", count),
      aSelectRule("r2", { vendor: "8086" }, "a", count),
    ]);
    const cache = new AssignmentCache();
    cache.of(aWorld({ devices: [device], policy }));
    const after = cache.of(aWorld({ devices: [{ ...device, vendor: "8086" }], policy }));
    expect(after.selections.map(({ claim, units }) => [claim.rule.name, units.length])).toEqual([
      ["r1", 0],
      ["r2", 1],
    ]);
  });

  it("decides again only where something has changed", () => {
    const [first, second] = [aDevice("0000:01:00.0"), aDevice("0000:02:00.0")];
    const policy = aPolicy([aRule("r", { address: "*" }, "a")]);
    const cache = new AssignmentCache();
    const before = cache.of(aWorld({ devices: [first, second], policy }));
    const after = cache.of(aWorld({ devices: [{ ...first, driver: null }, second], policy }));
    expect(after.units[0]).not.toBe(before.units[0]);
    expect(after.units[1]).toBe(before.units[1]);
  });
});

describe("islands", () => {
  const first = aDevice("0000:01:00.0");
  const devices = [first, aDevice("0000:02:00.0"), aDevice("0000:03:00.0", { serial: "S" })];

  function cut(
    rules: readonly Rule[],
    more: Partial<World> = {},
    islands = new Islands(),
  ): readonly Island[] {
    const world = aWorld({ devices, policy: aPolicy(rules) }, more);
    return islands.of(world, findingsOf(world));
  }

  function buses(islands: readonly Island[]): readonly string[] {
    return islands
      .map(({ addresses }) => addresses.map((address) => address.slice(5, 7)).join("+"))
      .filter(Boolean);
  }

  it("are buses where rules give each device for its own sake", () => {
    expect(buses(cut([aRule("r", { address: "*" }, "a", { unit: "card" })]))).toEqual(["01", "02", "03"]);
  });

  it("hold what a rule chooses from", () => {
    const rule = aSelectRule("r", { address: "*:0[13]:*" }, "a", { min: 1, max: 1 });
    expect(buses(cut([rule]))).toEqual(["01+03", "02"]);
  });

  it("hold what a rule wants to be near", () => {
    const prefer = [{ by: "sameRootAs", rule: "near" }] as const;
    const rule = aSelectRule("r", { address: "*:03:*" }, "a", { min: 1, max: 1 }, { prefer });
    expect(buses(cut([aRule("near", { address: "*:02:*" }, "a"), rule]))).toEqual(["01", "02+03"]);
  });

  it("hold what a pinned rule matches, and where it looks for its cards", () => {
    const pin = { rule: "r", address: first.address, path: null, serial: "S", identity: identityOf(first) };
    const intents = { ...NO_INTENTS, pins: [pin] };
    const rule = aRule("r", { address: "*:02:*" }, "a", { isPinned: true });
    expect(buses(cut([rule], { intents }))).toEqual(["01+02+03"]);
  });

  it("are at home to a rule that chooses and finds nothing", () => {
    const rule = aSelectRule("r", { address: "*:09:*" }, "a", { min: 1, max: 1 });
    expect(cut([rule]).map(({ rules }) => rules.length)).toEqual([0, 0, 0, 1]);
  });

  it("stay the same when another one changes", () => {
    const islands = new Islands();
    const policy = aPolicy([]);
    const of = (seen: typeof devices) => {
      const world = aWorld({ devices: seen, policy });
      return islands.of(world, findingsOf(world));
    };
    const before = of(devices);
    const after = of(devices.slice(0, 2));
    expect(after).toHaveLength(2);
    expect(after[0]).toBe(before[0]);
    expect(after[1]).toBe(before[1]);
  });
});
