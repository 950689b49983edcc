/** The arguments of an inner QEMU: the same where the guest is prepared (guest.ts) and where it goes on (vm.ts). */

export type Hotplug = "acpi" | "native";

/** What the guest boots. */
export interface GuestImage {
  readonly kernel: string;
  readonly initrd: string;
}

const portCount = 4;

/** Machine, memory and four root ports named port1 to port4, plugging by ACPI or natively (facts.md 1). */
export function machineArguments(hotplug: Hotplug): string[] {
  const ports = Array.from({ length: portCount }, (_, index) => index + 1);
  return [
    ...["-M", "q35", "-accel", "tcg", "-m", "128", "-nodefaults", "-display", "none", "-no-reboot"],
    ...(hotplug === "native" ? ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"] : []),
    ...ports.flatMap((n) => [
      "-device",
      `pcie-root-port,id=port${n},bus=pcie.0,addr=${n},chassis=${n},slot=${n}`,
    ]),
  ];
}

/** What the guest boots, its console, and the serial port behind which its shell is. */
export function guestArguments(image: GuestImage, console: string, shell: string): string[] {
  return [
    ...["-kernel", image.kernel, "-initrd", image.initrd],
    ...[
      "-append",
      "console=ttyS0 loglevel=4 panic=-1 nokaslr mitigations=off cryptomgr.notests no_timer_check tsc=reliable",
    ],
    ...["-serial", `file:${console}`, "-serial", `unix:${shell},server=on,wait=off`],
  ];
}
