/** The order in which devices are looked at: by address, whatever order they came in. */
import { compareAddresses, type PciAddress } from "./address.js";

/** A map's entries by address. Looks come so already; a world that was put together otherwise gets no other answers. */
export function inAddressOrder<Value>(
  map: ReadonlyMap<PciAddress, Value>,
): Iterable<readonly [PciAddress, Value]> {
  let last: PciAddress | undefined;
  for (const address of map.keys()) {
    if (last !== undefined && compareAddresses(last, address) > 0) {
      return [...map].sort(([a], [b]) => compareAddresses(a, b));
    }
    last = address;
  }
  return map;
}
