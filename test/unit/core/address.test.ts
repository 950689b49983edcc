import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InvariantError } from "../../../src/base/error.js";
import {
  addressOfQemuId,
  addressParts,
  compareAddresses,
  formatAddress,
  parseAddress,
  qemuIdOf,
  slotOf,
} from "../../../src/core/address.js";
import { addressParts as anyParts, pciAddress } from "../../support/arbitraries.js";

function address(text: string) {
  const parsed = parseAddress(text);
  if (parsed === undefined) {
    throw new Error(`no address: ${text}`);
  }
  return parsed;
}

describe("an address", () => {
  it("is read back from what was written, for all numbers", () => {
    fc.assert(
      fc.property(anyParts, (parts) => {
        const written = formatAddress(parts);
        expect(addressParts(written)).toEqual(parts);
        expect(parseAddress(written)).toBe(written);
      }),
    );
  });

  it.each([
    ["0000:65:00.0", "0000:65:00.0"],
    ["0000:C1:1F.7", "0000:c1:1f.7"],
    ["10000:e1:00.0", "10000:e1:00.0"],
    ["00010000:e1:00.0", "10000:e1:00.0"],
    ["00000000:01:00.0", "0000:01:00.0"],
    ["ffffffff:ff:1f.7", "ffffffff:ff:1f.7"],
  ])("%s is read as %s", (text, canonical) => {
    expect(parseAddress(text)).toBe(canonical);
  });

  it.each([
    "",
    "65:00.0",
    "000:65:00.0",
    "000000000:65:00.0",
    "0000:65:20.0",
    "0000:65:00.8",
    "0000:6:00.0",
    "0000:65:00.0 ",
    "0000:65:00.0\n",
    "0000:65:00.*",
    "../0000:65:00.0",
  ])("%j is none", (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  it("is not made of numbers that do not fit", () => {
    const parts = { domain: 0, bus: 0, device: 0, function: 0 };
    for (const wrong of [{ bus: 256 }, { device: 32 }, { function: 8 }, { domain: -1 }, { bus: 1.5 }]) {
      expect(() => formatAddress({ ...parts, ...wrong })).toThrow(InvariantError);
    }
  });

  it("is ordered by its numbers", () => {
    fc.assert(
      fc.property(pciAddress, pciAddress, (left, right) => {
        const [a, b] = [Object.values(addressParts(left)), Object.values(addressParts(right))];
        const differing = a.findIndex((value, n) => value !== b[n]);
        const expected = differing < 0 ? 0 : Math.sign((a[differing] ?? 0) - (b[differing] ?? 0));
        expect(Math.sign(compareAddresses(left, right))).toBe(expected);
      }),
    );
  });

  it("ranks equal with itself", () => {
    fc.assert(
      fc.property(pciAddress, (any) => {
        expect(compareAddresses(any, any)).toBe(0);
      }),
    );
  });

  it("with a long domain comes after every one with a short domain", () => {
    const sorted = ["10000:00:00.0", "ffff:ff:1f.7", "0000:02:00.0", "0000:01:1f.7"]
      .map(address)
      .sort(compareAddresses);
    expect(sorted).toEqual(["0000:01:1f.7", "0000:02:00.0", "ffff:ff:1f.7", "10000:00:00.0"]);
  });

  it("shares its slot with the other functions of the card", () => {
    expect(slotOf(address("0000:65:00.0"))).toBe("0000:65:00");
    expect(slotOf(address("0000:65:00.7"))).toBe("0000:65:00");
  });
});

describe("a QEMU id", () => {
  it("is made of the prefix and the address", () => {
    expect(qemuIdOf(address("0000:65:00.0"))).toBe("pciplug-0000-65-00.0");
  });

  it("leads back to its address", () => {
    fc.assert(
      fc.property(pciAddress, (any) => {
        expect(addressOfQemuId(qemuIdOf(any))).toBe(any);
        expect(qemuIdOf(any)).toMatch(/^[a-z][a-z0-9._-]*$/);
      }),
    );
  });

  it.each([
    "hostdev0",
    "pciplug-",
    "pciplug-0000-65-00-0",
    "pciplug-0000:65:00.0",
    "pciplug-0000-65-20.0",
    "pciplug-0000-C1-00.0",
    "pciplug-00010000-65-00.0",
    "pciplug-0000-65-00.0x",
    "xpciplug-0000-65-00.0",
  ])("%s is not one of ours", (id) => {
    expect(addressOfQemuId(id)).toBeUndefined();
  });
});
