/**
 * Who belongs together on the host: the functions of a card, the endpoints of an IOMMU group. Bridges are members of
 * neither here, for they are never taken.
 */
import { compareAddresses, type PciAddress, slotOf } from "./address.js";
import type { Device } from "./device.js";
import { endpointsByGroup, isBridgeDevice } from "./iommu-group.js";
import type { RuleTraits } from "./policy.js";

export class Topology {
  /** Endpoints of each IOMMU group, sorted by address. */
  readonly groups: ReadonlyMap<number, readonly Device[]>;
  readonly #devices: ReadonlyMap<PciAddress, Device>;
  #cards: ReadonlyMap<string, readonly Device[]> | null = null;

  constructor(devices: ReadonlyMap<PciAddress, Device>) {
    this.#devices = devices;
    this.groups = endpointsByGroup(devices.values());
  }

  /** The endpoints that share the device's IOMMU group, itself included; only itself where it has none. */
  groupOf(device: Device): readonly Device[] {
    return typeof device.iommuGroup === "number"
      ? (this.groups.get(device.iommuGroup) ?? [device])
      : [device];
  }

  /** What is claimed together with a device, itself included, sorted by address. */
  unitOf(device: Device, traits: Pick<RuleTraits, "unit" | "companions">): readonly Device[] {
    const unit = this.#kindOf(device, traits.unit);
    if (traits.companions !== "attach") {
      return unit;
    }
    // Companions that are attached too make the unit as large as the IOMMU groups that it touches; and what they are
    // a part of comes along, so that a unit is the same from whichever of its members one looks.
    const all = new Set<Device>();
    for (let fresh = unit; fresh.length > 0; ) {
      for (const member of fresh) {
        all.add(member);
      }
      const around = fresh.flatMap((member) => [
        ...this.#kindOf(member, traits.unit),
        ...this.groupOf(member),
      ]);
      fresh = [...new Set(around)].filter((member) => !all.has(member));
    }
    return [...all].sort(byAddress);
  }

  #kindOf(device: Device, kind: RuleTraits["unit"]): readonly Device[] {
    switch (kind) {
      case "function":
        return [device];
      case "card":
        return this.#card(device);
      case "iommu-group":
        return this.groupOf(device);
    }
  }

  #card(device: Device): readonly Device[] {
    this.#cards ??= cardsOf(this.#devices);
    return this.#cards.get(slotOf(device.address)) ?? [device];
  }
}

function cardsOf(devices: ReadonlyMap<PciAddress, Device>): ReadonlyMap<string, readonly Device[]> {
  const cards = new Map<string, Device[]>();
  for (const device of devices.values()) {
    if (!isBridgeDevice(device)) {
      const slot = slotOf(device.address);
      cards.set(slot, [...(cards.get(slot) ?? []), device].sort(byAddress));
    }
  }
  return cards;
}

function byAddress(a: Device, b: Device): number {
  return compareAddresses(a.address, b.address);
}
