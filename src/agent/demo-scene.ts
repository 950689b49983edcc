/** The stage of the demonstration: its cards, its file, and how its audit lines read aloud. All made up. */
import type { AuditEntry } from "../audit/record.js";
import type { SimCard } from "../sim/card.js";

const nvidia = { vendor: "10de", driver: "nouveau" } as const;

/** A GPU with its audio function in one IOMMU group, and the NIC that the host itself needs. */
export const demoCards: readonly SimCard[] = [
  { ...nvidia, address: "0000:01:00.0", device: "2204", class: "030000", iommuGroup: 13 },
  {
    ...nvidia,
    address: "0000:01:00.1",
    device: "1aef",
    class: "040300",
    driver: "snd_hda_intel",
    iommuGroup: 13,
  },
  {
    address: "0000:05:00.0",
    vendor: "8086",
    device: "1533",
    class: "020000",
    driver: "igb",
    network: { name: "eth0", hasDefaultRoute: true },
  },
];

/** The card that comes and goes. */
export const secondGpu: SimCard = {
  ...nvidia,
  address: "0000:41:00.0",
  device: "2204",
  class: "030000",
  iommuGroup: 27,
};

/** The operator's file. */
export function demoFile(socketPath: string): string {
  return [
    "vms:",
    "  - name: build",
    `    qmp: ${socketPath}`,
    "rules:",
    "  - name: nvidia-cards",
    '    match: { vendor: "10de" }',
    "    vm: build",
    "  - name: network-cards",
    "    match: { class: ethernet }",
    "    vm: build",
    "sources: { udevadm: false, rescan: 1s }",
    "",
  ].join("\n");
}

/** What a line of the audit says to somebody who looks on; `null` for what would only be noise here. */
export function readAloud(entry: AuditEntry): string | null {
  switch (entry.event) {
    case "device-appeared":
      return `the host has ${entry.address} on driver ${entry.after.driver ?? "none"} (seen by ${entry.source})`;
    case "device-vanished":
      return `${entry.address} is gone from the host (seen by ${entry.source})`;
    case "device-changed":
      return `${entry.address} went from driver ${entry.before.driver ?? "none"} to ${entry.after.driver ?? "none"}`;
    case "vm-changed":
      return `VM ${entry.vm} is ${entry.after.runState ?? entry.after.state}${ownership(entry.after.attached)}`;
    case "step-started":
      return `${entry.step.kind} ${entry.addresses.join(" and ")}${entry.why === undefined ? "" : ` (${entry.why})`}`;
    case "step-ended":
      return entry.after.kind === "done" ? null : `... ${entry.step.kind}: ${entry.after.kind}`;
    case "decision":
      return entry.after.verdict === "held" ? `${entry.address} is held: ${entry.why ?? ""}` : null;
    default:
      return null;
  }
}

function ownership(attached: readonly string[] | undefined): string {
  return attached === undefined || attached.length === 0 ? "" : `, and has ${attached.join(", ")}`;
}
