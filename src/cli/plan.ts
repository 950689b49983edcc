/** `pciplug plan`: who is to have what, what would happen now, and why not. */
import { Command } from "commander";
import { getPlan } from "../control/client.js";
import { EXIT, type ExitCode, exitCodeOfPlan } from "../core/exit-code.js";
import { type PlanReport, reportPlan } from "../core/report.js";
import { type CliIo, renderJson, renderTable } from "./io.js";
import { type AskingOptions, askAgent, loadWorld, UNASKED, withAskingOptions } from "./offline-world.js";
import { remarkLines } from "./status.js";
import { renderWrapped } from "./wrapped-table.js";

interface PlanOptions extends AskingOptions {
  readonly json?: boolean;
}

export function planCommand(io: CliIo): Command {
  return withAskingOptions(new Command("plan"))
    .description("show who is to have what, what would happen now, and what is held and why")
    .option("--json", "print the whole plan as JSON")
    .action(async (options: PlanOptions) => {
      const report = (await askAgent(options, getPlan)) ?? (await compute(io, options));
      if (report === null) {
        io.exit(EXIT.badFile);
        return;
      }
      const plan = report as PlanReport;
      for (const complaint of idleComplaints(plan)) {
        io.err(complaint);
      }
      for (const line of options.json === true ? [renderJson(plan)] : renderPlan(plan)) {
        io.out(line);
      }
      io.exit(exitCodeOfPlan(plan) satisfies ExitCode);
    });
}

async function compute(io: CliIo, options: PlanOptions): Promise<PlanReport | null> {
  const world = await loadWorld(io, options, [UNASKED]);
  return world === null ? null : reportPlan(world, "offline");
}

/** Rules that match nothing and want that said. */
function idleComplaints({ rules }: PlanReport): string[] {
  return rules
    .filter(({ matches, onNoMatch }) => matches === 0 && onNoMatch !== "wait")
    .map(({ name, onNoMatch }) => `rule ${name} matches nothing on this host (onNoMatch: ${onNoMatch})`);
}

/** The plan as a person reads it. */
export function renderPlan(report: PlanReport): string[] {
  const parts = [
    stepLines(report),
    titled(
      "Assigned:",
      ["ADDRESS", "VM", "RULE", ""],
      report.assignments.map((entry) => [
        entry.address,
        entry.vm,
        entry.rule,
        entry.kept === undefined ? "" : "kept: sticky",
      ]),
    ),
    titled(
      "Held:",
      ["ADDRESS", "VM", "RULE", "WHY"],
      report.held.map((entry) => [entry.address, entry.vm ?? "-", entry.rule ?? "-", entry.reason.message]),
    ),
    titled(
      "Short:",
      ["RULE", "NEEDS", "CAN HAVE", "THE OTHERS ARE WITH"],
      report.rules.flatMap(({ name, short }) =>
        short === undefined
          ? []
          : [[name, String(short.needed), String(short.found), short.holders.join(", ") || "-"]],
      ),
    ),
    idleLines(report),
    remarkLines(report.remarks ?? []),
  ];
  return parts
    .filter((part) => part.length > 0)
    .flatMap((part, index) => (index === 0 ? part : ["", ...part]));
}

function stepLines({ steps, source, assignments }: PlanReport): readonly string[] {
  const rows = steps.map((step) => [step.kind, step.addresses.join(" "), step.vm, step.why ?? ""]);
  if (rows.length > 0) {
    return ["To do:", ...renderTable(["STEP", "DEVICES", "VM", "WHY"], rows)];
  }
  if (source === "agent") {
    return ["Nothing to do."];
  }
  return assignments.length === 0 ? ["No VM is to have any device."] : [];
}

function titled(
  title: string,
  header: readonly string[],
  rows: readonly (readonly string[])[],
): readonly string[] {
  return rows.length === 0 ? [] : [title, ...renderWrapped(header, rows)];
}

function idleLines({ rules }: PlanReport): readonly string[] {
  const idle = rules.filter((rule) => rule.matches === 0).map((rule) => rule.name);
  return idle.length === 0 ? [] : [`Rules that match nothing on this host: ${idle.join(", ")}`];
}
