import { describe, expect, it } from "vitest";
import { narrateGuests } from "../../../src/agent/guest-lines.js";
import type { VmStatus } from "../../../src/core/vm.js";
import { aProcess, attached, aWorld, up } from "../../support/builders.js";

const card = "0000:65:00.0";

function inVm(isInUse?: boolean, pid = 1): VmStatus {
  const facts = isInUse === undefined ? {} : { isInUse };
  return up({ attached: [attached(card, "rp0", facts)], process: aProcess({ pid }) });
}

function said(before: VmStatus | undefined, now: VmStatus): string[] {
  const world = (status: VmStatus | undefined) => aWorld(status === undefined ? {} : { vms: { a: status } });
  return narrateGuests({ before: world(before), world: world(now), signals: [] }).map(({ what }) => what);
}

const used = `the guest of a has taken ${card} into use`;
const unused = `the guest of a does not use ${card} any more`;

describe("the audit of what guests do", () => {
  it("has a line when a guest takes a device into use and one when it does not use it any more", () => {
    expect(said(inVm(false), inVm(true))).toEqual([used]);
    expect(said(inVm(true), inVm(false))).toEqual([unused]);
  });

  it("has none for what is as it was, or is not (yet) so, or cannot be told", () => {
    expect(said(inVm(true), inVm(true))).toEqual([]);
    expect(said(undefined, inVm(false))).toEqual([]);
    expect(said(up(), inVm(false))).toEqual([]);
    expect(said(inVm(false), inVm())).toEqual([]);
    expect(said(inVm(true), { kind: "absent", sinceMs: 1, reason: "gone" })).toEqual([]);
  });

  it("believes nothing that was said of another process", () => {
    expect(said(inVm(true, 1), inVm(true, 2))).toEqual([used]);
    expect(said(inVm(true, 1), inVm(false, 2))).toEqual([]);
  });

  it("has one line for each reset, with who did it", () => {
    const before = aWorld();
    const reset = { atMs: 5, isByGuest: false };
    const world = { ...before, resets: new Map([["a", reset]]) };
    expect(narrateGuests({ before, world, signals: [] })).toMatchObject([
      { event: "vm-reset", vm: "a", what: "a was reset from outside", after: { byGuest: false } },
    ]);
    expect(narrateGuests({ before: world, world, signals: [] })).toEqual([]);
  });
});
