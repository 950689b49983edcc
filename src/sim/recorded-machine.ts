/**
 * From the devices of a recorded machine to the cards of a simulated one, with a note for every fact that the
 * simulation has to make up because nobody recorded it. Pure.
 *
 * A recording is a stranger's file: nothing of it that ends up in a path is taken over unchecked.
 */
import { compareAddresses, type PciAddress } from "../core/address.js";
import type { Device } from "../core/device.js";
import { assumeIommuGroups } from "../core/iommu-group.js";
import { inPlugOrder, type SimCard } from "./card.js";

export interface RecordedMachineOptions {
  /** Gives the functions of a slot whose IOMMU groups are not known one of their own. */
  readonly isAssumingGroups: boolean;
}

export interface RecordedMachine {
  /** Each behind what it hangs on. */
  readonly cards: readonly SimCard[];
  /** The devices that they stand for, with what was assumed on request. */
  readonly devices: readonly Device[];
  /** For people: what was assumed, and for how many devices. */
  readonly notes: readonly string[];
}

/** A name that can be one folder of sysfs; some drivers have spaces in theirs. */
const NAME = /^(?!\.{1,2}$)[\x20-\x2e\x30-\x7e]{1,255}$/;
const ROOT_BUS = /^[0-9a-f]{4,8}:[0-9a-f]{2}$/;
const SERIAL = /^[0-9a-f]{2}(-[0-9a-f]{2}){7}$/;
/** semantics.md 3. */
const ATTRIBUTE = /^([a-z0-9_]+)(\/[a-z0-9_]+)?$/;
const CLASS_DIGITS = 6;
/** What the simulation lays out by itself, or what means something to it. */
const OWN_ATTRIBUTES: ReadonlySet<string> = new Set([
  ..."uevent driver_override config rom vpd remove rescan reset driver subsystem physfn iommu_group".split(
    " ",
  ),
  ..."vendor device class revision subsystem_vendor subsystem_device numa_node boot_vga label resource".split(
    " ",
  ),
]);

/** Turns recorded devices into cards. The same devices give the same cards and notes, in whatever order they come. */
export function machineOf(devices: readonly Device[], options: RecordedMachineOptions): RecordedMachine {
  const sorted = [...devices].sort((a, b) => compareAddresses(a.address, b.address));
  const known = new Set(sorted.map((device) => device.address));
  const grouped = options.isAssumingGroups ? assumeIommuGroups(sorted) : sorted;
  const cards = grouped.map((device) => cardOf(device, known));
  return {
    cards: withoutKnots(inPlugOrder(cards)),
    devices: grouped,
    notes: notesOf(sorted, known, options),
  };
}

/** Bridges that claim to be above each other: the first of them stands on a root bus. */
function withoutKnots(cards: readonly SimCard[]): SimCard[] {
  const plugged = new Set<string>();
  return cards.map((card) => {
    plugged.add(card.address);
    return card.parent == null || plugged.has(card.parent) ? card : { ...card, parent: null };
  });
}

function cardOf(device: Device, known: ReadonlySet<PciAddress>): SimCard {
  const { parent, physfn } = device;
  return {
    address: device.address,
    ...given("vendor", device.vendor),
    ...given("device", device.device),
    ...given("subsystemVendor", device.subsystemVendor),
    ...given("subsystemDevice", device.subsystemDevice),
    ...given("class", device.class?.padEnd(CLASS_DIGITS, "0")),
    ...given("revision", device.revision),
    ...given("numaNode", device.numaNode),
    ...given("bootVga", device.bootVga),
    ...given("memory", device.memory),
    ...given("prefetchable", device.prefetchable),
    ...given("label", device.label),
    ...given("udev", device.udev),
    ...(device.driver === null ? { driver: null } : given("driver", fitting(NAME, device.driver))),
    ...given("slot", fitting(NAME, device.slot)),
    ...given("rootBus", fitting(ROOT_BUS, device.rootBus)),
    ...given("serial", fitting(SERIAL, device.serial)),
    ...given("physfn", physfn != null && known.has(physfn) ? physfn : undefined),
    ...given("parent", parent != null && known.has(parent) ? parent : undefined),
    ...given("attributes", ownedAttributes(device)),
    iommuGroup: device.iommuGroup ?? null,
  };
}

/** The fact where it is known; `null`, known to be absent, is shown by sysfs in the same way: not at all. */
function given<K extends string, V>(key: K, value: V | null | undefined): { readonly [P in K]?: V } {
  return value === undefined || value === null ? {} : ({ [key]: value } as { readonly [P in K]?: V });
}

function fitting(shape: RegExp, text: string | null | undefined): string | undefined {
  return text != null && shape.test(text) ? text : undefined;
}

function ownedAttributes({ attributes }: Device): Readonly<Record<string, string>> | undefined {
  const entries = Object.entries(attributes ?? {}).filter(
    (entry): entry is [string, string] => entry[1] !== null && isForeignAttribute(entry[0]),
  );
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

function isForeignAttribute(name: string): boolean {
  const [, first = ""] = ATTRIBUTE.exec(name) ?? [];
  return first !== "" && !OWN_ATTRIBUTES.has(first);
}

/** The first number that is above every IOMMU group among these. */
export function nextGroup(devices: readonly { readonly iommuGroup?: number | null }[]): number {
  return devices.reduce((next, { iommuGroup }) => Math.max(next, (iommuGroup ?? -1) + 1), 0);
}

function notesOf(
  devices: readonly Device[],
  known: ReadonlySet<PciAddress>,
  { isAssumingGroups }: RecordedMachineOptions,
): string[] {
  const count = (isSo: (device: Device) => boolean): number => devices.filter(isSo).length;
  const ungrouped = count((device) => device.iommuGroup === undefined);
  const facts: [number, string][] = [
    [
      count((device) => device.class !== undefined && device.class.length < CLASS_DIGITS),
      "the programming interface of the class was not recorded: it stays unknown",
    ],
    [isAssumingGroups ? ungrouped : 0, "no IOMMU group was recorded: one per card is assumed"],
    [
      isAssumingGroups ? 0 : ungrouped,
      "no IOMMU group was recorded: nobody can have them (--assume-iommu-groups assumes one per card)",
    ],
    [
      count((device) => device.driver === undefined),
      "the driver was not recorded: it stays unknown, so none of them counts as free beside a card that is taken",
    ],
    [
      count(({ driver }) => driver != null && !NAME.test(driver)),
      "the recorded driver's name cannot be one: it stays unknown",
    ],
    [
      count(({ parent }) => parent === undefined || (parent !== null && !known.has(parent))),
      "the bridge above was not recorded: a root bus is simulated, so nothing happens to them by what happens above",
    ],
  ];
  return facts
    .filter(([many]) => many > 0)
    .map(([many, text]) => `${many} of ${devices.length} devices: ${text}`);
}
