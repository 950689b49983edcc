/** `pciplug plan`: who is to have what, what would happen now, and why not. */
import { Command } from "commander";
import { getPlan } from "../control/client.js";
import { EXIT, type ExitCode, exitCodeOfPlan } from "../core/exit-code.js";
import { type HeldReport, type PlanReport, reportPlan } from "../core/report.js";
import { type CliIo, renderJson, renderTable } from "./io.js";
import { type AskingOptions, askAgent, loadWorld, UNASKED, withAskingOptions } from "./offline-world.js";
import { describeMatches } from "./rule-line.js";
import { remarkLines } from "./status.js";
import { renderWrapped, WIDTH, wrap } from "./wrapped-table.js";

interface PlanOptions extends AskingOptions {
  readonly json?: boolean;
  readonly all?: boolean;
}

export function planCommand(io: CliIo): Command {
  return withAskingOptions(new Command("plan"))
    .description("show who is to have what, what would happen now, and what is held and why")
    .option("--all", "on a terminal too: a line for each device, also where many are held for one reason")
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
      const isFolding = io.columns !== undefined && options.all !== true;
      for (const line of options.json === true ? [renderJson(plan)] : renderPlan(plan, isFolding)) {
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
    .map((rule) => `rule ${rule.name} ${describeMatches(rule)} (onNoMatch: ${rule.onNoMatch})`);
}

/** The plan as a person reads it. `isFolding`: devices that are held for one reason share a line where they are many. */
export function renderPlan(report: PlanReport, isFolding = false): string[] {
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
      (isFolding ? folded(report.held) : report.held).map((entry) => [
        entry.address,
        entry.vm ?? "-",
        entry.rule ?? "-",
        entry.reason.message,
      ]),
    ),
    isFolding && folded(report.held).length < report.held.length
      ? ["Many devices on one line: pciplug plan --all shows each of them."]
      : [],
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

/** As many lines of one reason are more than one reads. */
const MOST_ALIKE = 3;

/** What is held, with one entry in place of many for the same VM, rule and reason: the first, and how many more. */
function folded(
  held: PlanReport["held"],
): readonly (Omit<HeldReport, "address"> & { readonly address: string })[] {
  const alike = new Map<string, HeldReport[]>();
  for (const entry of held) {
    const key = JSON.stringify([entry.vm, entry.rule, entry.reason]);
    alike.set(key, [...(alike.get(key) ?? []), entry]);
  }
  return [...alike.values()].flatMap((entries) => {
    const [first] = entries;
    return first === undefined || entries.length <= MOST_ALIKE
      ? entries
      : [{ ...first, address: `${first.address} and ${entries.length - 1} more` }];
  });
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
  const idle = rules.filter(({ matches, open }) => matches === 0 && open === undefined);
  const names = idle.map(({ name }) => name).join(", ");
  return [
    ...(idle.length === 0 ? [] : [`Rules that match nothing on this host: ${names}`]),
    ...rules
      .filter(({ open }) => open !== undefined)
      .flatMap((rule) => wrap(`Rule ${rule.name} ${describeMatches(rule)}`, WIDTH)),
  ];
}
