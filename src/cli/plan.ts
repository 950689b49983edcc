/** `pciplug plan`: what would happen now, and why not. */
import { Command } from "commander";
import { AgentError } from "../base/error.js";
import { formatIssues, loadConfig } from "../config/load.js";
import { getPlan } from "../control/client.js";
import { EXIT, type ExitCode, exitCodeOfPlan } from "../core/exit-code.js";
import type { Policy } from "../core/policy.js";
import { type PlanReport, reportPlan } from "../core/report.js";
import type { VmStatus } from "../core/vm.js";
import { emptyWorld } from "../core/world.js";
import { readProtections } from "../host/protection-facts.js";
import { hostRoot } from "../host/root.js";
import { scanOnce } from "../host/scan.js";
import { type CliIo, controlSocketOf, DEFAULTS, renderJson, renderTable } from "./io.js";

interface PlanOptions {
  readonly config: string;
  readonly state: string;
  readonly root: string;
  readonly offline?: boolean;
  readonly json?: boolean;
}

export function planCommand(io: CliIo): Command {
  return new Command("plan")
    .description("show what would happen now, and what is held and why")
    .option("-c, --config <file>", "the rules, for when no agent runs", DEFAULTS.config)
    .option("-s, --state <dir>", "the agent's state folder", DEFAULTS.state)
    .option("--root <dir>", "another host root, for when no agent runs", DEFAULTS.root)
    .option("--offline", "do not ask the agent: scan this host and read the file")
    .option("--json", "print the whole plan as JSON")
    .action(async (options: PlanOptions) => {
      const report =
        (options.offline === true ? null : await askAgent(options.state)) ?? (await compute(io, options));
      if (report === null) {
        io.exit(EXIT.badFile);
        return;
      }
      if (report.source === "offline") {
        io.err("no agent: VM state unknown");
      }
      for (const line of options.json === true ? [renderJson(report)] : renderPlan(report)) {
        io.out(line);
      }
      io.exit(exitCodeOfPlan(report) satisfies ExitCode);
    });
}

async function askAgent(stateDir: string): Promise<PlanReport | null> {
  try {
    return (await getPlan(controlSocketOf(stateDir))) as PlanReport;
  } catch (error) {
    if (error instanceof AgentError && error.code === "control.no-agent") {
      return null;
    }
    throw error;
  }
}

async function compute(io: CliIo, options: PlanOptions): Promise<PlanReport | null> {
  const loaded = await loadConfig(options.config, { trustedUid: io.uid });
  if (!loaded.ok) {
    io.err(formatIssues(loaded.error));
    return null;
  }
  const root = hostRoot(options.root);
  const devices = await scanOnce(root);
  const { policy } = loaded.value;
  const stake = { folders: [options.state], operator: policy.protect };
  return reportPlan(
    {
      ...emptyWorld,
      policy,
      isHostSeen: true,
      devices: new Map(devices.map((device) => [device.address, device])),
      protections: await readProtections(root, devices, stake),
      vms: unasked(policy),
    },
    "offline",
  );
}

function unasked(policy: Policy): ReadonlyMap<string, VmStatus> {
  const status: VmStatus = {
    kind: "unreachable",
    code: "offline",
    reason: "no agent runs that could ask it",
  };
  return new Map(policy.vms.map((vm) => [vm.name, status]));
}

/** The plan as a person reads it. */
export function renderPlan(report: PlanReport): string[] {
  const steps = report.steps.map((step) => [step.kind, step.addresses.join(" "), step.vm, step.why ?? ""]);
  const held = report.held.map((entry) => [
    entry.address,
    entry.vm ?? "-",
    entry.rule ?? "-",
    entry.reason.message,
  ]);
  const idle = report.rules.filter((rule) => rule.matches === 0).map((rule) => rule.name);
  return [
    ...(steps.length === 0
      ? ["Nothing to do."]
      : ["To do:", ...renderTable(["STEP", "DEVICES", "VM", "WHY"], steps)]),
    ...(held.length === 0 ? [] : ["", "Held:", ...renderTable(["ADDRESS", "VM", "RULE", "WHY"], held)]),
    ...(idle.length === 0 ? [] : ["", `Rules that match nothing on this host: ${idle.join(", ")}`]),
  ];
}
