import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Hold, Lease } from "../../../src/core/lease.js";
import { parseHold, parseLease } from "../../../src/host/state-entry.js";
import { aDevice, aLease, anAddress } from "../../support/builders.js";

const lease: Lease = aLease(aDevice("0000:01:00.0"), "vm-a", { nodeOwner: { uid: 64055, gid: 0 } });
const hold: Hold = {
  address: anAddress("10000:e1:00.0"),
  vm: "vm-a",
  appearance: "4711",
  process: null,
  cause: "ejected-by-guest",
  detail: "the guest ejected it",
  atMs: 1,
};

function again(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

describe("entries of the state files", () => {
  it("come back as they went", () => {
    const { nodeOwner: _, ...plain } = lease;
    expect(parseLease(again(lease))).toEqual(lease);
    expect(parseLease(again(plain))).toEqual(plain);
    expect(parseLease(again({ ...lease, original: null }))).toEqual({ ...lease, original: null });
    expect(parseHold(again(hold))).toEqual(hold);
  });

  it.each(Object.keys(lease).filter((key) => key !== "nodeOwner"))(
    "of a lease are refused without %s",
    (key) => {
      expect(parseLease(again({ ...lease, [key]: undefined }))).toBeUndefined();
    },
  );

  it.each(Object.keys(hold))("of a hold are refused without %s", (key) => {
    expect(parseHold(again({ ...hold, [key]: undefined }))).toBeUndefined();
  });

  it.each([
    { address: "../../etc" },
    { role: "owner" },
    { original: { driver: 7, override: null } },
    { nodeOwner: { uid: -1, gid: 0 } },
    { identity: [] },
  ])("are refused with %j", (change) => {
    expect(parseLease({ ...lease, ...change })).toBeUndefined();
  });

  it("never throw, whatever is on disk", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(parseLease(value)).toBeUndefined();
        expect(parseHold(value)).toBeUndefined();
      }),
    );
  });
});
