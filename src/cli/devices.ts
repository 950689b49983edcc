/** `pciplug devices`: every PCI function of the host, as a fresh look shows it, and whose it is. */
import { Command } from "commander";
import { getStatus } from "../control/client.js";
import type { StatusResponse } from "../control/schema.js";
import type { Device } from "../core/device.js";
import { EXIT } from "../core/exit-code.js";
import { describeClass } from "../core/pci-class.js";
import { hostRoot } from "../host/root.js";
import { scanOnce } from "../host/scan.js";
import { type CliIo, controlSocketOf, DEFAULTS, renderJson, renderTable } from "./io.js";

type Ownership = Pick<StatusResponse["devices"][number], "vm" | "state" | "held">;

interface DevicesOptions {
  readonly root: string;
  readonly state: string;
  readonly json?: boolean;
  readonly host?: boolean;
}

export function devicesCommand(io: CliIo): Command {
  return new Command("devices")
    .description("list the PCI devices of this host, and whose they are")
    .option("--root <dir>", "another host root", DEFAULTS.root)
    .option("-s, --state <dir>", "the agent's state folder", DEFAULTS.state)
    .option("--host", "look at the host only, do not ask the agent")
    .option("--json", 'print {"devices": [...]}')
    .action(async (options: DevicesOptions) => {
      const owners = options.host === true ? null : await askAgent(options.state);
      const devices = await scanOnce(hostRoot(options.root));
      if (owners === null) {
        io.err("no agent: VM state unknown");
      }
      if (options.json === true) {
        io.out(
          renderJson({
            devices: devices.map((device) => ({ ...jsonOf(device), ...owners?.get(device.address) })),
          }),
        );
      } else {
        for (const line of renderDevices(devices, owners)) {
          io.out(line);
        }
      }
      io.exit(EXIT.ok);
    });
}

/** Whose each device is, by the running agent; `null` when none answers. */
async function askAgent(stateDir: string): Promise<ReadonlyMap<string, Ownership> | null> {
  try {
    const status = await getStatus(controlSocketOf(stateDir));
    return new Map(status.devices.map(({ address, vm, state, held }) => [address, { vm, state, held }]));
  } catch {
    // Whatever keeps the agent from answering: the host's own facts are still worth showing.
    return null;
  }
}

function jsonOf(device: Device): Omit<Device, "appearance"> {
  const { appearance: _, ...facts } = device;
  return facts;
}

/** The list as a person reads it. */
export function renderDevices(
  devices: readonly Device[],
  owners: ReadonlyMap<string, Ownership> | null,
): string[] {
  return renderTable(
    ["ADDRESS", "ID", "CLASS", "DRIVER", "IOMMU GROUP", "NUMA", "VM", "STATE", "WHY"],
    devices.map((device) => {
      const owner = owners?.get(device.address);
      return [
        device.address,
        `${device.vendor ?? "?"}:${device.device ?? "?"}`,
        `${device.class ?? "?"} ${device.class === undefined ? "" : describeClass(device.class)}`,
        device.driver ?? "-",
        device.iommuGroup === undefined || device.iommuGroup === null ? "-" : String(device.iommuGroup),
        device.numaNode === undefined || device.numaNode < 0 ? "-" : String(device.numaNode),
        owner?.vm ?? "-",
        owner?.state ?? "",
        owner?.held ?? "",
      ];
    }),
  );
}
