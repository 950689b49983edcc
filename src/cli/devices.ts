/** `pciplug devices`: every PCI function of a host, what the host needs of them, and whose they are. */
import { Command } from "commander";
import { getStatus } from "../control/client.js";
import type { StatusResponse } from "../control/schema.js";
import type { PciAddress } from "../core/address.js";
import { EXIT } from "../core/exit-code.js";
import { spanningGroups } from "../core/spanning-groups.js";
import { NO_WISHES } from "../core/wishes.js";
import { type PciNames, readPciNames } from "../host/pci-names.js";
import { hostRoot } from "../host/root.js";
import {
  DEVICE_COLUMNS,
  deviceCells,
  deviceJson,
  nameCell,
  protectionNote,
  renderSentences,
} from "./device-row.js";
import { type Inventory, type InventoryOptions, loadInventory, withInventoryOptions } from "./inventory.js";
import { type CliIo, controlSocketOf, DEFAULTS, renderJson } from "./io.js";

type Ownership = Pick<StatusResponse["devices"][number], "vm" | "state" | "held">;
type Owners = ReadonlyMap<string, Ownership>;

interface DevicesOptions extends InventoryOptions {
  readonly state: string;
  readonly json?: boolean;
  readonly offline?: boolean;
  readonly serials?: boolean;
}

export function devicesCommand(io: CliIo): Command {
  return withInventoryOptions(new Command("devices"))
    .description("list the PCI devices of this host, what the host needs of them, and whose they are")
    .option("-s, --state <dir>", "the agent's state folder", DEFAULTS.state)
    .option("--offline", "look at the host only, do not ask the agent")
    .option("--serials", "read the serial numbers too (root only)")
    .option("--json", "print the whole answer as JSON")
    .action(async (options: DevicesOptions) => {
      const owners =
        options.offline === true || options.host !== undefined ? null : await askAgent(options.state);
      const wishes = { ...NO_WISHES, serial: options.serials === true };
      const inventory = await loadInventory({ ...options, wishes, folders: [options.state] });
      const namesOf = readPciNames(hostRoot(options.root));
      const names = new Map(inventory.devices.map((device) => [device.address, namesOf(device)]));
      for (const note of [
        ...(owners === null ? ["no agent: VM state unknown"] : []),
        ...inventory.notes,
        ...dmaNotes(inventory),
      ]) {
        io.err(note);
      }
      const lines =
        options.json === true
          ? [renderJson(jsonOf(inventory, owners, names))]
          : renderDevices(inventory, owners, names, io.columns);
      for (const line of lines) {
        io.out(line);
      }
      io.exit(EXIT.ok);
    });
}

/** Whose each device is, by the running agent; `null` when none answers. */
async function askAgent(stateDir: string): Promise<Owners | null> {
  try {
    const status = await getStatus(controlSocketOf(stateDir));
    return new Map(status.devices.map(({ address, vm, state, held }) => [address, { vm, state, held }]));
  } catch {
    // Whatever keeps the agent from answering: the host's own facts are still worth showing.
    return null;
  }
}

function dmaNotes({ dma, devices }: Inventory): string[] {
  const groups = spanningGroups(devices).map(({ iommuGroup }) => iommuGroup);
  return [
    ...dma.weaknesses.map((weakness) => `DMA safety: ${weakness}`),
    ...(groups.length > 0 ? [`DMA safety: IOMMU groups that span slots: ${groups.join(", ")}`] : []),
  ];
}

function jsonOf(inventory: Inventory, owners: Owners | null, names: ReadonlyMap<PciAddress, PciNames>) {
  const { devices, protections, source, dma } = inventory;
  return {
    schema: "pciplug-devices/1",
    source: { ...source, agent: owners !== null },
    dma: { ...dma, spanningIommuGroups: spanningGroups(devices) },
    devices: devices.map((device) => ({
      ...deviceJson(device, protections, names.get(device.address) ?? {}),
      ...owners?.get(device.address),
    })),
  };
}

/** The list as a person reads it; `columns`: of the terminal, where it is one. */
export function renderDevices(
  { devices, protections }: Pick<Inventory, "devices" | "protections">,
  owners: Owners | null,
  names: ReadonlyMap<PciAddress, PciNames> = new Map(),
  columns?: number,
): string[] {
  const hasSerials = devices.some(({ serial }) => serial !== undefined);
  return renderSentences(
    [...DEVICE_COLUMNS, ...(hasSerials ? ["SERIAL"] : []), "VM", "STATE", "WHY", "NAME"],
    devices.map((device) => {
      const { address, serial } = device;
      const owner = owners?.get(address);
      return [
        ...deviceCells(device),
        ...(hasSerials ? [serial === undefined ? "?" : (serial ?? "-")] : []),
        owner?.vm ?? "-",
        owner?.state ?? "",
        owner?.held ?? protectionNote(protections.get(address)),
        nameCell(names.get(address) ?? {}),
      ];
    }),
    columns,
  );
}
