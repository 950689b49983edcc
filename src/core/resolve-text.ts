/** A resolution as text that a start script reads. */
import type { Resolution } from "./resolve.js";

/** One line for the command line of QEMU; empty where the VM gets nothing. */
export function qemuLine(resolution: Pick<Resolution, "arguments">): string {
  return resolution.arguments.join(" ");
}

/** Variables for a shell or for systemd's EnvironmentFile, one a line; the values hold nothing that needs an escape. */
export function environmentLines(resolution: Pick<Resolution, "arguments" | "devices">): readonly string[] {
  const addresses = resolution.devices.map(({ address }) => address).join(" ");
  return [`PCIPLUG_DEVICES='${addresses}'`, `PCIPLUG_QEMU_ARGS='${qemuLine(resolution)}'`];
}
