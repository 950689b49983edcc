/**
 * A card as a simulation describes it: what is soldered on, where it is plugged, what the host would do with it.
 *
 * Also turns the devices of a recorded machine (`pci-machine/1`) into cards. Pure.
 */
import { AgentError } from "../base/error.js";
import { type PciAddress, parseAddress } from "../core/address.js";

/** One PCI function to plug. Facts that are left out have no file in the simulated sysfs. */
export interface SimCard {
  /** Full address, such as `0000:65:00.0`. */
  readonly address: string;
  /** Four hex digits each. */
  readonly vendor?: string;
  readonly device?: string;
  readonly subsystemVendor?: string;
  readonly subsystemDevice?: string;
  /** Six hex digits (four where a recording lacks the programming interface). */
  readonly class?: string;
  readonly revision?: string;
  /** The host driver whose id table has this card; it takes the card when that is plugged. */
  readonly driver?: string | null;
  /** Whether the host driver takes it when plugged; true by default. */
  readonly isTaken?: boolean;
  /** Number of its IOMMU group; `null` for none. Left out: a group of its own. */
  readonly iommuGroup?: number | null;
  /** The bridge above; left out or `null`: it sits on a root bus. */
  readonly parent?: string | null;
  /** Such as `0000:00`; left out: the bus of the address. */
  readonly rootBus?: string;
  readonly numaNode?: number;
  readonly bootVga?: boolean;
  readonly physfn?: string;
  readonly label?: string;
  /** Name of the physical slot that it sits in. */
  readonly slot?: string;
  /** PCIe device serial number as lspci writes it, `00-11-22-ff-ff-33-44-55`. */
  readonly serial?: string;
  /** Sum of its memory BARs, in bytes. */
  readonly memory?: number;
  /** The part of it in prefetchable BARs. */
  readonly prefetchable?: number;
  /** What udev's rules set, besides the path. */
  readonly udev?: Readonly<Record<string, string>>;
  /** More attributes of its sysfs folder, by name. */
  readonly attributes?: Readonly<Record<string, string>>;
  /**
   * The network interface that its host driver makes; `null`: none that can be seen, as if it were in another network
   * namespace. Left out: a network controller gets one that is down.
   */
  readonly network?: { readonly name: string; readonly hasDefaultRoute?: boolean } | null;
  /** The disk that its host driver makes. */
  readonly disk?: { readonly name: string; readonly mountPoint?: string };
}

/** A machine as recorded, as far as a simulation uses it. */
export interface MachineRecording {
  readonly schema: string;
  readonly devices: readonly Readonly<Record<string, unknown>>[];
}

/** A simulation was asked for something that its world does not have. */
export class SimulationError extends AgentError<"sim.misuse"> {
  constructor(message: string, context: Readonly<Record<string, unknown>> = {}) {
    super("sim.misuse", message, { context });
  }
}

/** Reads an address given by a test or a person. @throws {SimulationError} sim.misuse when it is none. */
export function addressOf(text: string): PciAddress {
  const address = parseAddress(text);
  if (address === undefined) {
    throw new SimulationError(`cannot simulate ${JSON.stringify(text)}: not a full PCI address`);
  }
  return address;
}

/** Whether the card is a bridge (base class 06). */
export function isBridge(card: SimCard): boolean {
  return card.class?.startsWith("06") === true;
}

/** The same cards, each behind what it hangs on: its bridge, and the physical function of a VF. */
export function inPlugOrder(cards: readonly SimCard[]): SimCard[] {
  const byAddress = new Map(cards.map((card) => [card.address, card]));
  const ordered = new Set<SimCard>();
  const met = new Set<string>();
  const place = (card: SimCard): void => {
    // A recording may be nonsense: a card that hangs on itself is met only once.
    if (!met.has(card.address)) {
      met.add(card.address);
      for (const above of [card.parent, card.physfn]) {
        const support = above == null ? undefined : byAddress.get(above);
        if (support !== undefined) {
          place(support);
        }
      }
      ordered.add(card);
    }
  };
  for (const card of cards) {
    place(card);
  }
  return [...ordered];
}

/**
 * The cards of a recorded machine, parents before their children.
 * A function whose IOMMU group was not recorded gets none, so that nothing is claimed that nobody saw.
 *
 * @throws {SimulationError} sim.misuse when it is not a `pci-machine/1` recording.
 */
export function cardsOf(recording: MachineRecording): SimCard[] {
  if (recording.schema !== "pci-machine/1") {
    throw new SimulationError(
      `cannot load machine: schema ${JSON.stringify(recording.schema)} is not pci-machine/1`,
    );
  }
  const known = new Set(recording.devices.map((device) => device["address"]));
  return inPlugOrder(recording.devices.map((device) => cardOf(device, known)));
}

function cardOf(device: Readonly<Record<string, unknown>>, known: ReadonlySet<unknown>): SimCard {
  const fact = (name: string): string | undefined =>
    typeof device[name] === "string" ? device[name] : undefined;
  const count = (name: string): number | undefined =>
    typeof device[name] === "number" ? device[name] : undefined;
  const parent = known.has(device["parent"]) ? fact("parent") : undefined;
  return Object.fromEntries(
    Object.entries({
      address: fact("address") ?? "",
      vendor: fact("vendor"),
      device: fact("device"),
      subsystemVendor: fact("subsystemVendor"),
      subsystemDevice: fact("subsystemDevice"),
      class: fact("class") ?? fact("class4"),
      revision: fact("revision"),
      driver: fact("driver"),
      iommuGroup: count("iommuGroup") ?? null,
      parent,
      rootBus: fact("rootBus"),
      numaNode: count("numaNode"),
      bootVga: device["bootVga"] === undefined ? undefined : device["bootVga"] === "1",
      label: fact("label"),
    }).filter(([, value]) => value !== undefined),
  ) as unknown as SimCard;
}
