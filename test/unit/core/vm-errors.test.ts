/** The last thing that went wrong with a VM. */
import { describe, expect, it } from "vitest";
import { reduce } from "../../../src/core/reduce.js";
import type { Signal } from "../../../src/core/signal.js";
import type { Outcome, Step } from "../../../src/core/step.js";
import { anAddress, aPolicy, aRule, aWorld, up } from "../../support/builders.js";

const gpu = "0000:65:00.0";
const world = aWorld({ policy: aPolicy([aRule("r", { address: gpu }, "a")]) });
const detach: Step = { kind: "detach", vm: "a", id: "x", address: anAddress(gpu), why: "" };
const ended = (step: Step, outcome: Outcome): Signal => ({
  kind: "step-ended",
  atMs: 1_000_007,
  lane: "a",
  step,
  outcome,
});

describe("the last error of a VM", () => {
  it("is why it could not be spoken to, and stays when it can be again", () => {
    const silent = {
      kind: "unreachable",
      code: "qmp.busy",
      reason: "busy: another client has the monitor",
    } as const;
    const seen = reduce(world, { kind: "vm-seen", atMs: 1_000_005, vm: "a", status: silent });
    const back = reduce(seen, { kind: "vm-seen", atMs: 1_000_009, vm: "a", status: up() });
    expect(back.vmErrors.get("a")).toEqual({
      atMs: 1_000_005,
      message: "busy: another client has the monitor",
    });
  });

  it.each([
    ["refused", { kind: "refused", reason: "guest-busy", detail: "why" }],
    ["failed", { kind: "failed", code: "c", detail: "why" }],
    ["not answered", { kind: "timed-out", detail: "why" }],
  ] as const)("is a move that was %s", (_, outcome) => {
    expect(reduce(world, ended(detach, outcome)).vmErrors.get("a")).toEqual({
      atMs: 1_000_007,
      message: `detach ${gpu}: why`,
    });
  });

  it("is nothing that went well, that is the host's affair, or that is no error: a VM that is down", () => {
    const release: Step = { kind: "release", vm: "a", address: anAddress(gpu), why: "" };
    const absent = { kind: "absent", sinceMs: 1, reason: "no such socket" } as const;
    const signals: Signal[] = [
      ended(detach, { kind: "done" }),
      ended(detach, { kind: "cancelled", detail: "x" }),
      ended(release, { kind: "failed", code: "c", detail: "x" }),
      { kind: "vm-seen", atMs: 1_000_008, vm: "a", status: absent },
    ];
    expect(signals.reduce(reduce, world).vmErrors.size).toBe(0);
  });
});
