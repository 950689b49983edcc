import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AssignmentCache, assign } from "../../../src/core/assign.js";
import { type Assignment, joinDecisions } from "../../../src/core/assignment.js";
import { decide } from "../../../src/core/decision.js";
import { findingsOf } from "../../../src/core/findings.js";
import { Situation } from "../../../src/core/situation.js";
import type { World } from "../../../src/core/world.js";
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
      { numRuns: 300 },
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
      { numRuns: 300 },
    );
  });
});
