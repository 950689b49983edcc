/** fast-check generators of the domain's nouns, shared by the property tests. */
import fc from "fast-check";
import { type AddressParts, formatAddress, type PciAddress } from "../../src/core/address.js";

/** Numbers of an address; mostly domain 0, sometimes the domains of a VMD (0x10000 and up) or any other. */
export const addressParts: fc.Arbitrary<AddressParts> = fc.record({
  domain: fc.oneof(fc.constant(0), fc.integer({ min: 0x10000, max: 0x10003 }), fc.nat(0xffff_ffff)),
  bus: fc.nat(0xff),
  device: fc.nat(0x1f),
  function: fc.nat(7),
});

export const pciAddress: fc.Arbitrary<PciAddress> = addressParts.map(formatAddress);

/** Hexadecimal digits of a fixed length, as vendor and device ids and classes are. */
export function hexDigits(length: number): fc.Arbitrary<string> {
  return fc.string({
    unit: fc.constantFrom(..."0123456789abcdef"),
    minLength: length,
    maxLength: length,
  });
}

/** Texts of a few characters only, so that random patterns have a chance to match them. */
export function narrowText(alphabet: string, maxLength = 12): fc.Arbitrary<string> {
  return fc.string({ unit: fc.constantFrom(...alphabet), maxLength });
}

/** Patterns built from these pieces, without lists: characters, `?`, `*` and well-formed brackets. */
export function globOf(pieces: readonly string[], maxPieces = 10): fc.Arbitrary<string> {
  return fc
    .array(fc.constantFrom(...pieces), { minLength: 1, maxLength: maxPieces })
    .map((chosen) => chosen.join(""));
}
