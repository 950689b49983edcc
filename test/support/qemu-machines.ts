/**
 * The machines on which ports are enumerated: on a real QEMU (test/qemu/vm-ports.test.ts, which records them with
 * UPDATE_GOLDEN=1) and from those recordings (test/unit/qemu). Each with what must be seen: `bus addr state [why]`.
 */

export interface KnownMachine {
  /** Also the name of the recording, behind `view-`. */
  readonly name: string;
  readonly machine: string;
  /** Another QEMU than that of x86: where it is not installed, its recording speaks for it. */
  readonly binary?: string;
  readonly args: string;
  readonly ports: readonly string[];
}

const NATIVE = "-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off";

export const KNOWN_MACHINES: readonly KnownMachine[] = [
  {
    name: "q35",
    machine: "q35",
    args: [
      "-device pcie-root-port,id=rp10,chassis=1 -device pcie-root-port,id=rp2,chassis=2",
      "-device pcie-root-port,chassis=3 -device pcie-root-port,chassis=4",
      "-device pcie-root-port,id=off,hotplug=off,chassis=5",
      "-device ioh3420,id=ioh,chassis=6 -device x3130-upstream,id=up,bus=ioh",
      "-device xio3130-downstream,id=dn0,bus=up,chassis=7,slot=0",
      "-device xio3130-downstream,id=dn1,bus=up,chassis=8,slot=1",
      "-device pxb-pcie,id=pxb,bus_nr=64 -device pcie-root-port,id=behind,bus=pxb,chassis=9",
      "-device virtio-rng-pci,id=rng,bus=rp2 -device virtio-rng-pci,bus=dn1",
    ].join(" "),
    ports: [
      "behind 0 native free",
      "dn0 0 acpi free",
      "dn1 0 acpi plugged by /machine/peripheral-anon/device[2]",
      "ioh 0 acpi plugged by up",
      "off 0 unknown unusable: hot-plug is switched off (hotplug=off)",
      "pcie.0 0 acpi unusable: the port has no id, and more than one bus is named pcie.0; give it an id",
      "pcie.1 0 acpi free",
      "rp2 0 acpi plugged by rng",
      "rp10 0 acpi free",
    ],
  },
  {
    name: "q35-native",
    machine: "q35",
    args: `${NATIVE} -device pcie-root-port,id=rp0,chassis=1 -device pcie-root-port,id=rp1,chassis=2 -device nvme,id=disk,serial=x,bus=rp1`,
    ports: ["rp0 0 native free", "rp1 0 native plugged by disk"],
  },
  {
    name: "q35-multifunction",
    machine: "q35",
    args: "-device pcie-root-port,id=rp0,chassis=1 -device virtio-rng-pci,id=f0,bus=rp0,addr=0.0,multifunction=on -device virtio-rng-pci,id=f1,bus=rp0,addr=0.1",
    ports: ["rp0 0 acpi plugged by f0 f1"],
  },
  {
    name: "q35-bridges",
    machine: "q35",
    args: [
      "-device pcie-root-port,id=rp0,chassis=1 -device pcie-pci-bridge,id=ppb,bus=rp0",
      "-device i82801b11-bridge,id=dmi -device pci-bridge,id=pb,bus=dmi,chassis_nr=2",
      "-device virtio-rng-pci,id=rng,bus=pb,addr=1f",
    ].join(" "),
    ports: [
      "rp0 0 acpi plugged by ppb",
      ...slots("pb", "acpi", 1, 30),
      "pb 1f acpi plugged by rng",
      ...slots("ppb", "acpi", 1, 31),
    ],
  },
  {
    name: "q35-shpc",
    machine: "q35",
    args: `${NATIVE} -device pci-bridge,id=pb,chassis_nr=2 -device virtio-rng-pci,id=rng,bus=pb,addr=1`,
    ports: ["pb 1 native plugged by rng", ...slots("pb", "native", 2, 31)],
  },
  {
    name: "pc",
    machine: "pc",
    args: "-device pci-bridge,id=pb,chassis_nr=1,addr=2 -device virtio-rng-pci,id=rng,bus=pci.0,addr=3",
    ports: [
      "pci.0 2 acpi plugged by pb",
      "pci.0 3 acpi plugged by rng",
      ...slots("pci.0", "acpi", 4, 31),
      ...slots("pb", "acpi", 1, 31),
    ],
  },
  {
    name: "pc-noacpi",
    machine: "pc,acpi=off",
    args: "",
    ports: ["pci.0 1 unknown unusable: its bus has no hot-plug controller"],
  },
  {
    name: "microvm",
    machine: "microvm,pcie=on",
    args: "-device pcie-root-port,id=rp0 -device pcie-root-port,id=rp1,chassis=1 -device virtio-rng-pci,id=rng,bus=rp1",
    ports: ["rp0 0 native free", "rp1 0 native plugged by rng"],
  },
  { name: "microvm-no-pci", machine: "microvm", args: "", ports: [] },
  {
    name: "q35-reserves",
    machine: "q35",
    args: [
      "-device pcie-root-port,id=rp0,chassis=1",
      "-device pcie-root-port,id=rp1,chassis=2,mem-reserve=32M,pref64-reserve=4G",
    ].join(" "),
    ports: ["rp0 0 acpi free", "rp1 0 acpi free mem-reserve=32M pref64-reserve=4G"],
  },
  {
    name: "virt-aarch64",
    machine: "virt",
    binary: "qemu-system-aarch64",
    args: "-cpu cortex-a57 -device pcie-root-port,id=rp0,chassis=1 -device pcie-root-port,id=rp1,chassis=2 -device virtio-rng-pci,id=rng,bus=rp1",
    ports: ["rp0 0 native free", "rp1 0 native plugged by rng"],
  },
];

function slots(bus: string, mode: string, first: number, last: number): string[] {
  return Array.from(
    { length: last - first + 1 },
    (_, index) => `${bus} ${(first + index).toString(16)} ${mode} free`,
  );
}
