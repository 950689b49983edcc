import { describe, expect, it } from "vitest";
import { attachUnit } from "../../../src/agent/steps-vm.js";
import type { Tools, VmHands } from "../../../src/agent/tools.js";
import type { Outcome, Placement, StepOf } from "../../../src/core/step.js";
import { emptyWorld } from "../../../src/core/world.js";
import { anAddress, up } from "../../support/builders.js";

const gpu = anAddress("0000:65:00.0");
const sound = anAddress("0000:65:00.1");

function placement(address: Placement["address"], addr: string): Placement {
  return { address, id: `id-${address}`, bus: "rp0", addr, rule: "r", properties: {} };
}

const step: StepOf<"attach"> = {
  kind: "attach",
  vm: "a",
  iommuGroups: [1],
  placements: [placement(sound, "0.1"), placement(gpu, "0.0")],
  nodeOwner: null,
};

/** A VM that answers the attaches so, one after the other, and lets go at once. */
function stage(...answers: readonly Outcome[]) {
  const asked: string[] = [];
  const left = [...answers];
  const vm: VmHands = {
    attach: async ({ address }) => {
      asked.push(`attach ${address}`);
      return left.shift() ?? { kind: "done" };
    },
    detach: async (_, address) => {
      asked.push(`detach ${address}`);
      return { kind: "done" };
    },
    reset: async () => {
      asked.push("reset");
      return left.shift() ?? { kind: "done" };
    },
    look: async () => {
      asked.push("look");
      return up();
    },
  };
  return { asked, tools: { now: () => 0, vm: () => vm, world: () => emptyWorld } as unknown as Tools };
}

describe("attaching a unit", () => {
  it("takes back what went in when a later one is refused", async () => {
    const refused: Outcome = { kind: "refused", reason: "no-iommu", detail: "" };
    const { asked, tools } = stage({ kind: "done" }, refused);
    expect((await attachUnit(step, tools)).outcome).toEqual({ ...refused, at: gpu });
    expect(asked).toEqual([`attach ${sound}`, `attach ${gpu}`, `detach ${sound}`, "look"]);
  });

  it("takes nothing back after an outcome that is not known, and looks: what is seen comes after the outcome", async () => {
    const { asked, tools } = stage({ kind: "done" }, { kind: "timed-out", detail: "no answer" });
    const deed = await attachUnit(step, tools);
    expect(asked).toEqual([`attach ${sound}`, `attach ${gpu}`, "look"]);
    expect([deed.seen.length, deed.seenAfter?.map(({ kind }) => kind)]).toEqual([0, ["vm-seen"]]);
  });
});
