import { describe, expect, it } from "vitest";
import { CardIndex } from "../../../src/agent/rehearse-cards.js";
import type { SimCard } from "../../../src/sim/card.js";
import { aDevice } from "../../support/builders.js";

const bridge: SimCard = { address: "0000:00:01.0", class: "060400", iommuGroup: 1 };
const gpu: SimCard = {
  address: "0000:65:00.0",
  vendor: "10de",
  device: "2204",
  class: "030000",
  driver: "nouveau",
  serial: "00-11-22-ff-fe-33-44-55",
  slot: "8",
  label: "GPU",
  parent: bridge.address,
  iommuGroup: 13,
  numaNode: 1,
};
const audio: SimCard = { ...gpu, address: "0000:65:00.1", device: "1aef", class: "040300" };
const other: SimCard = { address: "0000:66:00.0", parent: "0000:00:02.0", iommuGroup: 14 };

function index(): CardIndex {
  return new CardIndex([bridge, gpu, audio, other]);
}
const everything = (): boolean => true;
const nothing = (): boolean => false;

describe("the cards that a rehearsal knows", () => {
  it("come back as they were, all functions of the card", () => {
    expect(index().cardsToPlug({ address: "0000:65:00" }, nothing)).toEqual([gpu, audio]);
    expect(index().addressesOf("0000:65:00")).toEqual([audio.address, gpu.address]);
  });

  it("are copied to another place with an IOMMU group of their own, and what belongs to a place stays there", () => {
    const { serial: _, slot: __, label: ___, ...kind } = gpu;
    expect(index().cardsToPlug({ like: "0000:65:00.0", address: "0000:66:01.0" }, everything)).toEqual([
      { ...kind, address: "0000:66:01.0", parent: other.parent, iommuGroup: 15 },
    ]);
  });

  it("are shown as recorded: what nobody recorded stays unknown, and only the driver is as it is now", () => {
    const { driver: _, numaNode: __, ...dark } = aDevice("0000:65:00.0", { class: "0300" });
    const cards = new CardIndex([{ address: dark.address, class: "030000" }], [dark]);
    const seen = aDevice("0000:65:00.0", { driver: null, numaNode: -1, appearance: "7" });
    expect(cards.show(seen)).toEqual({ ...dark, appearance: "7" });
    expect(cards.show({ ...seen, driver: "vfio-pci" })).toEqual({
      ...dark,
      appearance: "7",
      driver: "vfio-pci",
    });
    cards.cardsToPlug({ address: dark.address, driver: "nouveau" }, nothing);
    expect([cards.isDriverKnown(dark.address), cards.show(seen).driver]).toEqual([true, null]);
    // Another card in its place: nothing is known of it but what is seen.
    cards.cardsToPlug({ address: dark.address, vendor: "8086" }, nothing);
    expect(cards.show(seen)).toEqual(seen);
  });

  it("share an IOMMU group again where they shared one", () => {
    const cards = index();
    const groupsOf = (address: string) =>
      cards.cardsToPlug({ like: "0000:65:00", address }, everything).map(({ iommuGroup }) => iommuGroup);
    expect([groupsOf("0000:70:00"), groupsOf("0000:71:00")]).toEqual([
      [15, 15],
      [16, 16],
    ]);
  });

  it("take their serial number along when they have left their place", () => {
    const [moved] = index().cardsToPlug({ like: "0000:65:00.0", address: "0000:70:00.0" }, nothing);
    expect(moved?.serial).toBe(gpu.serial);
  });

  it("give their place to another card: its slot and IOMMU group stay, its identity does not", () => {
    const plug = { address: "0000:65:00.0", vendor: "1002", device: "73bf", class: "030000" };
    expect(index().cardsToPlug(plug, nothing)).toEqual([
      { ...plug, parent: gpu.parent, slot: gpu.slot, label: gpu.label, numaNode: 1, iommuGroup: 13 },
    ]);
  });
});
