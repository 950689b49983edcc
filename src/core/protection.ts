/**
 * Which devices the host needs, and why: the verdict of semantics.md 8, pure over facts that host/ gathers.
 *
 * The facts say what the host uses (a mount, swap, a route, ...) and what stands on what, down to PCI functions; the
 * verdict follows every use down to all of them. What is not known protects every device that it could be about.
 *
 * Invariants: more facts never weaken a verdict; of several reasons a device keeps the strongest.
 */
import type { PciAddress } from "./address.js";
import { type Device, isVfioDriver } from "./device.js";
import { isBridge } from "./pci-class.js";
import { type SelectableDevice, type Selector, verdictOf } from "./selector.js";

/** Why a device is not simply taken. */
export interface Protection {
  /** For people, completing "protected: ". */
  readonly because: string;
  /** `hard`: the host stands on it. `soft`: it is in use, and a rule may say `takeConfigured: true`. */
  readonly level: "hard" | "soft";
  /** False: no override ever lifts it (bridges, what the root file system or the agent's own state stands on). */
  readonly isLiftable: boolean;
}

/** How well the host keeps a device's DMA and interrupts inside its VM. */
export interface DmaSafety {
  /** Each a sentence about what is weak, such as `allow_unsafe_interrupts is on`; empty on a sound host. */
  readonly weaknesses: readonly string[];
}

/** Whether two verdicts say the same. */
export function isSameProtection(a: Protection, b: Protection): boolean {
  return a.because === b.because && a.level === b.level && a.isLiftable === b.isLiftable;
}

/** Whether two looks found the same weaknesses. */
export function isSameDma({ weaknesses: a }: DmaSafety, { weaknesses: b }: DmaSafety): boolean {
  return a.length === b.length && a.every((weakness, index) => weakness === b[index]);
}

export const AREAS = ["storage", "network", "console", "tpm"] as const;
/** What a fact that is not known can be about. */
export type Area = (typeof AREAS)[number];

/** Something that stands on PCI functions or on its like: a block device, an interface, a keyboard. */
export interface Carrier {
  /** Unique among all: `block/dm-0`, `net/eth0`. */
  readonly id: string;
  /** Its name for people, such as `vg0-root`. */
  readonly label: string;
  /** Ids of all that it stands on. */
  readonly on: readonly string[];
  /** Every PCI function on the way to it: a USB disk needs its controller. */
  readonly functions: readonly PciAddress[];
  /** What else it may stand on when none of this leads to a PCI function; empty: it needs none (memory, the board). */
  readonly otherwise: readonly Area[];
}

/** `soft-unless-stacked`: soft for the carrier itself, hard for what it stands on (a member of a bridge or bond). */
export const USE_LEVELS = ["hard", "soft", "soft-unless-stacked"] as const;

/** One thing that the host does with a carrier. */
export interface Use {
  readonly carrier: string;
  /** Completes "it carries ": `/`, `swap`, `the default route`. */
  readonly what: string;
  readonly level: (typeof USE_LEVELS)[number];
  readonly isLiftable: boolean;
  /** Whether it certainly stands on some device: if none is found, all that could be it are protected. */
  readonly isGrounded: boolean;
}

/** A fact that could not be found out. */
export interface UnknownFact {
  readonly area: Area;
  readonly detail: string;
  readonly isLiftable: boolean;
}

/** What the host stands on. Plain JSON, so that a recording can carry it. */
export interface ProtectionFacts {
  readonly carriers: readonly Carrier[];
  readonly uses: readonly Use[];
  readonly unknown: readonly UnknownFact[];
  /** Functions with a network interface that PID 1 sees; `null` where nobody looked (a recording without these facts). */
  readonly withInterface: readonly PciAddress[] | null;
  /** Whether the kernel's console is on a screen. */
  readonly isConsoleOnScreen: boolean;
}

/** The facts of a host of which nothing was recorded: only what a device is by itself is then judged. */
export const NO_FACTS: ProtectionFacts = {
  carriers: [],
  uses: [],
  unknown: [],
  withInterface: null,
  isConsoleOnScreen: false,
};

export interface ProtectionOptions {
  /** What the operator lists as needed by the host; a selector that cannot tell protects. */
  readonly operator?: readonly Selector[];
}

/** Base classes that carry nothing of the area. Any other device may: USB, virtio and unknown classes above all. */
const INNOCENT: Readonly<Record<Exclude<Area, "tpm">, ReadonlySet<string>>> = {
  storage: new Set(["02", "03", "04", "0b", "12", "40"]),
  network: new Set(["01", "03", "04", "0b", "12", "40"]),
  console: new Set(["01", "02", "04", "0b"]),
};
/** A TPM without a PCI function of its own may be firmware of AMD's security processor or of Intel's engine. */
const FIRMWARE_TPM = /^(1080|0780)/;
/** PCI drivers of management controllers: IPMI, and HPE's iLO. */
const BMC_DRIVERS: ReadonlySet<string> = new Set(["ipmi_si", "hpilo"]);
const IPMI_CLASS = "0c07";
/** Drivers that keep a network device from the host's network stack on purpose. */
const PASSIVE_DRIVER = /^(pci-stub|uio_pci_generic|igb_uio|xen-pciback|pciback)$/;

/** The protection of every device that is not simply there to be taken. */
export function protect(
  devices: readonly Device[],
  facts: ProtectionFacts,
  options: ProtectionOptions = {},
): ReadonlyMap<PciAddress, Protection> {
  const { found, unknown } = trace(facts);
  const isVisible = visibility(facts);
  const protections = new Map<PciAddress, Protection>();
  for (const device of devices) {
    const strongest = [
      ...natureOf(device, facts.isConsoleOnScreen, isVisible),
      ...(found.get(device.address) ?? []),
      ...listed(device, options.operator ?? []),
      ...[...facts.unknown, ...unknown].filter((fact) => mayBeAbout(fact.area, device)).map(fromUnknown),
    ].reduce<Protection | undefined>(stronger, undefined);
    if (strongest !== undefined) {
      protections.set(device.address, strongest);
    }
  }
  return withPhysicalFunctions(devices, protections);
}

/** What the device itself says, whatever stands on it. */
function natureOf(
  device: Device,
  isConsoleOnScreen: boolean,
  isVisible: (address: PciAddress) => boolean,
): Protection[] {
  const pciClass = device.class;
  if (pciClass === undefined) {
    return [hard("its class cannot be read, so it may be a bridge", false)];
  }
  if (isBridge(pciClass)) {
    return [hard("it is a bridge", false)];
  }
  if (device.bootVga === true && isConsoleOnScreen) {
    return [hard("it shows the active console")];
  }
  if (pciClass.startsWith(IPMI_CLASS) || BMC_DRIVERS.has(device.driver ?? "")) {
    return [hard("it is the host's way to its BMC")];
  }
  const isLost = pciClass.startsWith("02") && isHostDriver(device.driver) && !isVisible(device.address);
  return isLost ? [hard("its driver shows no interface here, so another network namespace has it")] : [];
}

/** Whether PID 1 sees an interface of the function, as far as anybody looked. */
function visibility({ withInterface }: ProtectionFacts): (address: PciAddress) => boolean {
  const visible = withInterface === null ? null : new Set(withInterface);
  return (address) => visible?.has(address) !== false;
}

function isHostDriver(driver: string | null | undefined): boolean {
  return typeof driver === "string" && !isVfioDriver(driver) && !PASSIVE_DRIVER.test(driver);
}

function listed(device: SelectableDevice, operator: readonly Selector[]): Protection[] {
  const verdicts = operator.map((selector) => verdictOf(selector, device));
  if (verdicts.includes("match")) {
    return [hard("the operator lists it as needed by the host")];
  }
  return verdicts.includes("unknown")
    ? [hard("the operator may mean it: a fact that the list asks for is not known")]
    : [];
}

function mayBeAbout(area: Area, device: Device): boolean {
  if (device.class === undefined) {
    return true;
  }
  return area === "tpm" ? FIRMWARE_TPM.test(device.class) : !INNOCENT[area].has(device.class.slice(0, 2));
}

/** What the uses lead to, and what they leave open. */
interface Trace {
  readonly found: ReadonlyMap<PciAddress, readonly Protection[]>;
  readonly unknown: readonly UnknownFact[];
}

function trace(facts: ProtectionFacts): Trace {
  const carriers = new Map(facts.carriers.map((carrier) => [carrier.id, carrier]));
  const found = new Map<PciAddress, Protection[]>();
  const unknown: UnknownFact[] = [];
  for (const use of facts.uses) {
    const seen = new Set<string>([use.carrier]);
    // Breadth first: where two ways lead to one function, the shorter one is told.
    const ways: { readonly id: string; readonly labels: readonly string[] }[] = [
      { id: use.carrier, labels: [] },
    ];
    for (const way of ways) {
      const carrier = carriers.get(way.id) ?? lost(way.id);
      const labels = [...way.labels, carrier.label];
      for (const address of carrier.functions) {
        const reasons = found.get(address) ?? [];
        reasons.push(fromUse(use, labels));
        found.set(address, reasons);
      }
      for (const id of carrier.on.filter((below) => !seen.has(below))) {
        seen.add(id);
        ways.push({ id, labels });
      }
      if (use.isGrounded && carrier.functions.length === 0 && carrier.on.length === 0) {
        const detail = `the host has ${use.what} through ${chain(labels)}, which leads to no device we know`;
        unknown.push(...carrier.otherwise.map((area) => ({ area, detail, isLiftable: use.isLiftable })));
      }
    }
  }
  return { found, unknown };
}

/** A carrier that is named but not shown. Disks on the network are shown while they are there. */
function lost(id: string): Carrier {
  const label = id.slice(id.indexOf("/") + 1);
  const otherwise: readonly Area[] = id.startsWith("block/") ? ["storage"] : ["storage", "network"];
  return { id, label, on: [], functions: [], otherwise };
}

function fromUse(use: Use, labels: readonly string[]): Protection {
  const isSoft = use.level === "soft" || (use.level === "soft-unless-stacked" && labels.length === 1);
  return {
    because: `it carries ${use.what} through ${chain(labels)}`,
    level: isSoft ? "soft" : "hard",
    isLiftable: use.isLiftable,
  };
}

function fromUnknown({ detail, isLiftable }: UnknownFact): Protection {
  return hard(detail, isLiftable);
}

function chain(labels: readonly string[]): string {
  return labels.join(" on ");
}

function hard(because: string, isLiftable = true): Protection {
  return { because, level: "hard", isLiftable };
}

/** The stronger of two reasons; of equal ones the first. */
function stronger(best: Protection | undefined, next: Protection): Protection {
  return best === undefined || strength(next) > strength(best) ? next : best;
}

function strength({ level, isLiftable }: Protection): number {
  return (level === "hard" ? 2 : 0) + (isLiftable ? 0 : 1);
}

/**
 * Adds PFs. Taking a PF from its driver takes its VFs from whoever has them, and vfio-pci refuses a PF that has VFs
 * (facts.md 9): no override could help.
 */
function withPhysicalFunctions(
  devices: readonly Device[],
  protections: Map<PciAddress, Protection>,
): ReadonlyMap<PciAddress, Protection> {
  const own = new Map(protections);
  for (const { address, physfn } of devices) {
    if (typeof physfn === "string") {
      const because = own.get(address)?.because;
      const reason = hard(
        because === undefined ? `it has the VF ${address}` : `its VF ${address}: ${because}`,
        false,
      );
      protections.set(physfn, stronger(protections.get(physfn), reason));
    }
  }
  return protections;
}
