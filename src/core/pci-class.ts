/**
 * PCI class codes: their names in rules, their names for people, and which classes a sweeping rule leaves alone.
 *
 * Codes as in the PCI Code and ID Assignment Specification. A class is six hex digits (base class, subclass,
 * programming interface) or four where the source shows no interface. No code stands for a TPM: on PCI it hides
 * in AMD's security processor (1080), which is why encryption controllers count as delicate.
 */

/** The names a rule may use instead of digits, as class patterns (hex-pattern.ts). */
export const CLASS_NAMES: Readonly<Record<string, readonly string[]>> = {
  "3d": ["0302"],
  accelerator: ["12*"],
  audio: ["0401", "0403"],
  bluetooth: ["0d11"],
  bridge: ["06*"],
  coprocessor: ["0b40"],
  display: ["03*"],
  encryption: ["10*"],
  ethernet: ["0200"],
  "fibre-channel": ["0c04"],
  firewire: ["0c00"],
  infiniband: ["0207", "0c06"],
  multimedia: ["04*"],
  network: ["02*"],
  nvme: ["0108"],
  raid: ["0104"],
  sas: ["0107"],
  sata: ["0106"],
  scsi: ["0100"],
  serial: ["0700"],
  storage: ["01*"],
  usb: ["0c03"],
  vga: ["0300"],
  video: ["0400"],
  wifi: ["0280"],
};

const BASE_CLASSES: Readonly<Record<string, string>> = {
  "00": "unclassified device",
  "01": "storage controller",
  "02": "network controller",
  "03": "display controller",
  "04": "multimedia controller",
  "05": "memory controller",
  "06": "bridge",
  "07": "communication controller",
  "08": "system peripheral",
  "09": "input device",
  "0a": "docking station",
  "0b": "processor",
  "0c": "serial bus controller",
  "0d": "wireless controller",
  "0e": "intelligent controller",
  "0f": "satellite controller",
  "10": "encryption controller",
  "11": "signal processing controller",
  "12": "processing accelerator",
  "13": "instrumentation",
  "40": "coprocessor",
  ff: "unassigned class",
};

const SUBCLASSES: Readonly<Record<string, string>> = {
  "0100": "SCSI controller",
  "0101": "IDE controller",
  "0104": "RAID controller",
  "0105": "ATA controller",
  "0106": "SATA controller",
  "0107": "SAS controller",
  "0108": "NVMe controller",
  "0109": "UFS controller",
  "0200": "Ethernet controller",
  "0207": "InfiniBand controller",
  "0208": "fabric controller",
  "0300": "VGA controller",
  "0302": "3D controller",
  "0400": "video controller",
  "0401": "audio controller",
  "0403": "audio device",
  "0500": "RAM controller",
  "0502": "CXL memory",
  "0600": "host bridge",
  "0601": "ISA bridge",
  "0604": "PCI bridge",
  "0700": "serial controller",
  "0804": "PCI hot-plug controller",
  "0805": "SD host controller",
  "0806": "IOMMU",
  "0b40": "coprocessor",
  "0c00": "FireWire controller",
  "0c03": "USB controller",
  "0c04": "Fibre Channel controller",
  "0c05": "SMBus controller",
  "0c06": "InfiniBand controller",
  "0c07": "IPMI interface",
  "0c09": "CAN bus controller",
  "0d11": "Bluetooth controller",
  "1101": "performance counters",
};

/** By base class or by class: what a rule made only of wildcards must not sweep up (semantics.md 2). */
const DELICATE: Readonly<Record<string, string>> = {
  "01": "a storage controller",
  "0502": "CXL memory",
  "06": "a bridge",
  "08": "a system peripheral",
  "0c03": "a USB host controller",
  "0c05": "an SMBus controller",
  "0c07": "the interface of a BMC",
  "10": "an encryption controller, which may carry the TPM",
};

/** The class in words for people: `VGA controller`, or `class 4200` where the code has no name. */
export function describeClass(pciClass: string): string {
  const [base, code] = [pciClass.slice(0, 2), pciClass.slice(0, 4)];
  return SUBCLASSES[code] ?? BASE_CLASSES[base] ?? `class ${code}`;
}

/** Whether the class is that of any bridge, host bridges included: never taken, whatever a rule says. */
export function isBridge(pciClass: string): boolean {
  return pciClass.startsWith("06");
}

/**
 * Why a rule made only of wildcards leaves devices of this class alone, as a noun phrase; `undefined` where it
 * may take them. A class that is not known is left alone too.
 */
export function delicacyOf(pciClass: string | undefined): string | undefined {
  if (pciClass === undefined) {
    return "a device whose class is not known";
  }
  return DELICATE[pciClass.slice(0, 4)] ?? DELICATE[pciClass.slice(0, 2)];
}
