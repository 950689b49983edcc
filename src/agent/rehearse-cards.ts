/**
 * The cards that a rehearsal knows: those of the recording and those plugged since. Turns what an event says into the
 * cards to plug or to pull. Pure but for its memory of what was plugged.
 */
import { AgentError } from "../base/error.js";
import type { Place, PlugSpec } from "../config/events.js";
import { slotOf } from "../core/address.js";
import type { Device } from "../core/device.js";
import { addressOf, inPlugOrder, type SimCard } from "../sim/card.js";
import { nextGroup } from "../sim/recorded-machine.js";

/** An event that cannot take place as the machine is then. */
export class RehearsalError extends AgentError<"rehearsal.impossible"> {
  constructor(message: string, options: { readonly cause?: unknown } = {}) {
    super("rehearsal.impossible", message, options);
  }
}

/** A function to plug, and the card that it is like, if any. */
interface Source {
  readonly address: string;
  readonly source: SimCard | undefined;
}

export class CardIndex {
  /** By address: what is there, and what was. */
  readonly #cards = new Map<string, SimCard>();
  /** By address: what was recorded of the card that is or was there, and what events say of it. */
  readonly #facts = new Map<string, Omit<Device, "appearance">>();
  /** The addresses of cards of which neither the recording nor an event says what host driver they have. */
  readonly #unknownDrivers = new Set<string>();
  #nextGroup: number;

  /** `devices`: what was recorded of these cards; of others nothing is held back. */
  constructor(cards: readonly SimCard[], devices: readonly Device[] = []) {
    for (const device of devices) {
      this.#facts.set(device.address, device);
    }
    for (const card of cards) {
      this.#cards.set(card.address, card);
      if (card.driver === undefined) {
        this.#unknownDrivers.add(card.address);
      }
    }
    this.#nextGroup = nextGroup(cards);
  }

  /** The cards that a plug brings, in the order in which they are plugged. `isThere`: whether an address is occupied. */
  cardsToPlug(plug: PlugSpec, isThere: (address: string) => boolean): SimCard[] {
    const sources = this.#sourcesOf(plug);
    const cards = sources.map(({ address, source }) =>
      source === undefined ? this.#madeUp(plug, address) : this.#copyOf(source, plug, address, isThere),
    );
    this.#note(plug, sources);
    const grouped = this.#withGroups(cards, plug);
    for (const card of grouped) {
      this.#cards.set(card.address, card);
    }
    return inPlugOrder(grouped);
  }

  /** The addresses of a place at which a card is or was, the last function first. */
  addressesOf(place: Place): string[] {
    return this.#at(place)
      .map((card) => card.address)
      .reverse();
  }

  /** Whether the recording or an event says what host driver the card has, if any. */
  isDriverKnown(address: string): boolean {
    return !this.#unknownDrivers.has(address);
  }

  /**
   * A device of the simulation as the recording knows it: so a rehearsal decides as `plan` does on the recording, and
   * what nobody recorded stays unknown. What the agent changes, its driver, is as it is.
   */
  show(device: Device): Device {
    const { address, appearance, driver } = device;
    const { driver: _, ...facts } = { ...(this.#facts.get(address) ?? device), appearance };
    const isUnknown = driver === undefined || (driver === null && !this.isDriverKnown(address));
    return isUnknown ? facts : { ...facts, driver };
  }

  /** Notes what is known of the cards that an event brings, before they are there. */
  #note(plug: PlugSpec, sources: readonly Source[]): void {
    const isAnother = plug.like === undefined && isAnotherCard(plug);
    const unknown = sources.filter(
      ({ source }) =>
        source !== undefined &&
        !isAnother &&
        plug.driver === undefined &&
        !this.isDriverKnown(source.address),
    );
    for (const { address, source } of sources) {
      const known = this.#facts.get(address);
      if (known !== undefined && source?.address === address && plug.like === undefined && !isAnother) {
        this.#facts.set(address, { ...known, ...told(plug) });
      } else {
        this.#facts.delete(address);
      }
      this.#unknownDrivers.delete(address);
    }
    for (const { address } of unknown) {
      this.#unknownDrivers.add(address);
    }
  }

  #sourcesOf({ address: place, like }: PlugSpec): Source[] {
    const model = like ?? place;
    const sources = this.#at(model);
    if (sources.length > 0) {
      return sources.map((source) => ({ address: moved(source.address, model, place), source }));
    }
    if (like !== undefined || !isFunction(place)) {
      throw new RehearsalError(`there is and was no card at ${model}`);
    }
    return [{ address: addressOf(place), source: undefined }];
  }

  /** What comes to a place that is known: the card that was there, another one in its stead, or a copy of one elsewhere. */
  #copyOf(source: SimCard, plug: PlugSpec, address: string, isThere: (address: string) => boolean): SimCard {
    if (plug.like === undefined) {
      return { ...(isAnotherCard(plug) ? only(source, OF_THE_PLACE) : source), ...facts(plug), address };
    }
    const { serial } = source;
    // A card that has left takes its serial number along; a copy has another one, which nobody knows.
    const own = serial === undefined || isThere(source.address) ? {} : { serial };
    return { ...only(source, OF_THE_CARD), ...own, ...this.#placeOf(address), ...facts(plug), address };
  }

  #madeUp(plug: PlugSpec, address: string): SimCard {
    return { ...this.#placeOf(address), ...facts(plug), address };
  }

  /** The bridge above a bus, known from whatever else is on that bus. */
  #placeOf(address: string): Pick<SimCard, "parent" | "rootBus"> {
    const bus = busOf(address);
    const neighbour = [...this.#cards.values()].find((card) => busOf(card.address) === bus);
    return {
      ...(neighbour?.parent == null ? {} : { parent: neighbour.parent }),
      ...(neighbour?.rootBus === undefined ? {} : { rootBus: neighbour.rootBus }),
    };
  }

  /** Cards that come anew get IOMMU groups of their own: functions that shared one share one again. */
  #withGroups(cards: readonly SimCard[], plug: PlugSpec): SimCard[] {
    const fresh = new Map<number | undefined, number>();
    return cards.map((card) => {
      const isReturning = this.#cards.get(card.address)?.iommuGroup === card.iommuGroup;
      if (plug.iommuGroup !== undefined || card.iommuGroup === null || isReturning) {
        return card;
      }
      const group = fresh.get(card.iommuGroup) ?? this.#nextGroup++;
      fresh.set(card.iommuGroup, group);
      return { ...card, iommuGroup: group };
    });
  }

  #at(place: Place): SimCard[] {
    return [...this.#cards.values()]
      .filter((card) => card.address === place || (!isFunction(place) && isBelow(card.address, place)))
      .sort((a, b) => (a.address < b.address ? -1 : 1));
  }
}

const OF_THE_PLACE: readonly (keyof SimCard)[] = [
  "parent",
  "rootBus",
  "label",
  "slot",
  "numaNode",
  "iommuGroup",
];
const OF_THE_CARD: readonly (keyof SimCard)[] = [
  ...(["vendor", "device", "subsystemVendor", "subsystemDevice", "class", "revision", "driver"] as const),
  ...(["isTaken", "iommuGroup", "numaNode", "bootVga", "memory", "attributes"] as const),
];

function only(card: SimCard, keys: readonly (keyof SimCard)[]): Omit<SimCard, "address"> {
  return Object.fromEntries(Object.entries(card).filter(([key]) => keys.includes(key as keyof SimCard)));
}

/** The same as facts of a device. */
function told({ address: _, like: __, parent: ___, ...said }: PlugSpec): Partial<Device> {
  return said;
}

/** What the event says of the card itself. */
function facts(plug: PlugSpec): Omit<SimCard, "address"> {
  const { address: _, like: __, ...said } = plug;
  return said;
}

/** Whether an event puts another card in the place of the one that was there. */
function isAnotherCard({ vendor, device }: PlugSpec): boolean {
  return vendor !== undefined || device !== undefined;
}

function isFunction(place: Place): boolean {
  return place.includes(".");
}

function isBelow(address: string, slot: string): boolean {
  return slotOf(addressOf(address)) === slot;
}

function busOf(address: string): string {
  return address.slice(0, address.lastIndexOf(":"));
}

/** The address in `to` that corresponds to an address in `from`: function to function, slot to slot. */
function moved(address: string, from: Place, to: Place): string {
  if (isFunction(from) !== isFunction(to)) {
    throw new RehearsalError(`${from} and ${to} are not of one kind: name two functions, or two whole cards`);
  }
  return addressOf(isFunction(to) ? to : `${to}${address.slice(address.lastIndexOf("."))}`);
}
