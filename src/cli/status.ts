/** `pciplug status`: the running agent, its VMs and the devices that it cares for. */
import { Command } from "commander";
import { printable } from "../base/printable.js";
import { getStatus } from "../control/client.js";
import type { StatusResponse } from "../control/schema.js";
import { EXIT } from "../core/exit-code.js";
import { type CliIo, controlSocketOf, DEFAULTS, renderJson, renderTable, shortVersion } from "./io.js";

export function statusCommand(io: CliIo): Command {
  return new Command("status")
    .description("show the running agent, its VMs and its devices")
    .option("-s, --state <dir>", "the agent's state folder", DEFAULTS.state)
    .option("--json", "print the whole answer as JSON")
    .action(async (options: { state: string; json?: boolean }) => {
      const status = await getStatus(controlSocketOf(options.state));
      for (const line of options.json === true ? [renderJson(status)] : renderStatus(status)) {
        io.out(line);
      }
      io.exit(EXIT.ok);
    });
}

/** The answer as a person reads it. */
export function renderStatus(status: StatusResponse): string[] {
  const { agent } = status;
  return [
    `pciplug ${agent.version}, pid ${agent.pid}, ${agent.mode === "observe" ? "observing only" : "acting"}`,
    ...renderPolicy(status.policy),
    "",
    ...renderTable(
      ["SOURCE", "STATE", "DETAIL"],
      status.sources.map((source) => [source.name, source.state, source.detail]),
    ),
    "",
    ...renderTable(["VM", "STATE", "PORTS", "DEVICES", "REASON"], status.vms.map(vmRow)),
    ...status.vms.flatMap(renderVmNotes),
    "",
    ...renderTable(
      ["ADDRESS", "ID", "CLASS", "DRIVER", "IOMMU GROUP", "VM", "STATE", "WHY"],
      status.devices.map((device) => [
        device.address,
        `${device.vendor ?? "?"}:${device.device ?? "?"}`,
        device.class ?? "?",
        device.driver ?? "-",
        device.iommuGroup === null ? "-" : String(device.iommuGroup),
        device.vm ?? "-",
        device.state,
        note(device),
      ]),
    ),
  ];
}

/** What the operators of VMs should know, each in a line of its own. */
export function remarkLines(remarks: readonly { readonly message: string }[]): readonly string[] {
  return remarks.map(({ message }) => printable(`note: ${message}`));
}

function renderPolicy(policy: StatusResponse["policy"]): string[] {
  if (policy === undefined || policy === null) {
    return [];
  }
  const { file, version, loadedAt, refused } = policy;
  return [
    `policy ${shortVersion(version)} from ${file}, read at ${loadedAt}`,
    ...(refused === null ? [] : [`the file as it is since ${refused.at} is refused: this policy stays`]),
    ...(refused?.reasons ?? []).map((reason) => `  ${reason}`),
  ].map(printable);
}

/** What the table has no room for: how a VM's monitor is used, what went wrong last, and what is to be said of it. */
function renderVmNotes({
  name,
  monitor,
  socket,
  lastError,
  leaving = [],
  remarks = [],
}: StatusResponse["vms"][number]): string[] {
  return [
    ...[
      ...(monitor === "shared" ? [`${name}: others use its monitor ${socket}, so it is only visited`] : []),
      ...leaving.map((entry) => `${name}: ${describeLeaving(entry)}`),
      ...(lastError ? [`${name}: last error at ${lastError.at}: ${lastError.message}`] : []),
    ].map(printable),
    ...remarkLines(remarks),
  ];
}

type Leaving = NonNullable<StatusResponse["vms"][number]["leaving"]>[number];

function describeLeaving({ address, state, mode, times, forMs }: Leaving): string {
  const asked = times === 1 ? "once" : `${times} times`;
  const how = mode === "unknown" ? "" : `, ${mode === "acpi" ? "by ACPI" : "natively"}`;
  return `${address} was asked to leave ${asked} in ${Math.round(forMs / 1000)} s${how}: ${state}`;
}

/** Why it waits; else what its guest makes of it. */
function note({ held, passage }: StatusResponse["devices"][number]): string {
  if (held !== null || passage === undefined || !passage.taken) {
    return held ?? (passage?.sent === true ? "QEMU was told to take it" : "");
  }
  return passage.seen === null ? "" : `${passage.seen ? "" : "not (yet) "}in use by the guest`;
}

function vmRow(vm: StatusResponse["vms"][number]): string[] {
  const ports = vm.ports === undefined ? "" : `${vm.ports.free} free of ${vm.ports.free + vm.ports.plugged}`;
  const devices = vm.attached.map((entry) => `${entry.address ?? "?"}${entry.ours ? "" : " (foreign)"}`);
  return [vm.name, stateOf(vm), ports, devices.join(" "), vm.reason ?? ""];
}

function stateOf({ state, runState, migration }: StatusResponse["vms"][number]): string {
  return `${runState ?? state}${migration === undefined ? "" : ` (migration: ${migration})`}`;
}
