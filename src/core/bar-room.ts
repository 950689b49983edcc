/**
 * Whether the BARs of what goes into a port fit into the port's address windows: only what is certain (facts.md 19).
 *
 * By ACPI hot-plug a Linux guest keeps to the windows that the firmware gave to the port: what the port was started
 * with, or 2 MiB each from QEMU's own firmware. By native hot-plug it makes them larger, so nothing is certain there.
 */
import type { Device } from "./device.js";
import { formatSize } from "./memory-size.js";
import type { Port, VmView } from "./vm.js";

/** What QEMU's SeaBIOS gives to a port of which nothing else is said. */
const DEFAULT_BYTES = 2 * 1024 ** 2;

/**
 * The properties that the port would have to be started with, such as `mem-reserve=32M,pref64-reserve=16G`;
 * `null` where the devices fit, or where that cannot be told.
 */
export function lackingReserve(
  port: Port,
  devices: readonly Pick<Device, "memory" | "prefetchable">[],
  view: Pick<VmView, "hasOwnFirmware">,
): string | null {
  if (port.mode !== "acpi" || port.reserve === undefined) {
    return null;
  }
  const window = (bytes: number | null): number =>
    bytes === null && !view.hasOwnFirmware ? Number.POSITIVE_INFINITY : Math.max(DEFAULT_BYTES, bytes ?? 0);
  const memory = window(port.reserve.memory);
  const prefetchable = window(port.reserve.prefetchable);
  const total = sum(devices.map((device) => device.memory ?? 0));
  const mayGoEither = sum(devices.map((device) => device.prefetchable ?? 0));
  const mustBeMemory = total - mayGoEither;
  // What is prefetchable may stand in the other window as well, where there is room.
  const fits = mayGoEither <= prefetchable || mayGoEither <= memory - mustBeMemory;
  const wanted = [
    ...(mustBeMemory <= memory ? [] : [`mem-reserve=${formatSize(roundedUp(mustBeMemory))}`]),
    ...(fits ? [] : [`pref64-reserve=${formatSize(roundedUp(mayGoEither))}`]),
  ];
  return wanted.length === 0 ? null : wanted.join(",");
}

/** A window is as large as a power of two, so that the largest BAR finds its alignment in it. */
function roundedUp(bytes: number): number {
  return 2 ** Math.ceil(Math.log2(bytes));
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, next) => total + next, 0);
}
