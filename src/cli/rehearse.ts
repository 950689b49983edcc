/** `pciplug rehearse`: tries a policy on a recorded host, with the real agent and nothing real to touch. */
import { Command } from "commander";
import { printable } from "../base/printable.js";
import { EXIT } from "../core/exit-code.js";
import {
  exitCodeOfRehearsal,
  type RehearsalReport,
  type RehearsedDecision,
  type RehearsedEvent,
  type RehearsedStep,
  type RehearsedVm,
} from "../core/rehearsal.js";
import { type InventoryOptions, withInventoryOptions } from "./inventory.js";
import { type CliIo, DEFAULTS, renderJson, renderTable } from "./io.js";
import { describeMatches } from "./rule-line.js";

interface RehearseOptions extends InventoryOptions {
  readonly config: string;
  readonly events?: string;
  readonly json?: boolean;
}

/** What shells make of the signals that call a rehearsal off: 128 and the number of the signal. */
const CALLED_OFF: Readonly<Record<string, number>> = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };

export function rehearseCommand(io: CliIo, version: string): Command {
  return withInventoryOptions(new Command("rehearse"))
    .description(
      "try the rules on a recorded host: the real agent, simulated hardware and VMs; touches nothing",
    )
    .option("-c, --config <file>", "the rules", DEFAULTS.config)
    .option("--events <file>", "what happens: cards that are plugged and pulled, VMs that stop and start")
    .option("--json", "print one JSON document at the end")
    .action(async (options: RehearseOptions) => {
      const { runRehearsal } = await import("../agent/entry.js");
      const print = (lines: readonly string[]): void => {
        for (const line of options.json === true ? [] : lines) {
          io.out(line);
        }
      };
      const end = await runRehearsal(
        version,
        {
          hostPath: options.host ?? null,
          rootDir: options.root,
          configPath: options.config,
          eventsPath: options.events ?? null,
          isAssumingGroups: options.assumeIommuGroups === true,
          uid: io.uid,
        },
        {
          onNotes: (notes) => print(notes.map((note) => `note: ${printable(note)}`)),
          onEvent: (event) => print(renderEvent(event)),
        },
      );
      switch (end.kind) {
        case "bad-file":
          io.err(end.complaints);
          return io.exit(EXIT.badFile);
        case "called-off":
          io.err("pciplug: the rehearsal was called off");
          return io.exit(CALLED_OFF[end.signal] ?? EXIT.bug);
        case "played":
          print(renderEnd(end.report));
          if (options.json === true) {
            io.out(renderJson(end.report));
          }
          return io.exit(exitCodeOfRehearsal(end.report));
      }
    });
}

/** One event and what came of it, as a person reads it. */
function renderEvent({ atMs, event, decisions, steps, vms }: RehearsedEvent): string[] {
  const told = [
    ...decisions.map(tellDecision),
    ...steps.map((step) => tellStep(step, atMs)),
    ...vms.map(tellVm),
  ];
  return ["", `t+${seconds(atMs)}  ${event}`, ...told.map((line) => `   ${line}`)].map(printable);
}

function tellDecision({ address, verdict, vm, rule, reason }: RehearsedDecision): string {
  switch (verdict) {
    case "assigned":
      return `${address} belongs to ${vm ?? "?"} (rule ${rule ?? "?"})`;
    case "held":
      return `${address} is held${vm === null ? "" : ` for ${vm}`}: ${reason?.message ?? ""}`;
    case "gone":
      return `${address} is gone`;
    case "clear":
      return `${address} is nobody's any more`;
  }
}

function tellStep(
  { atMs, kind, vm, addresses, why, outcome, detail }: RehearsedStep,
  eventMs: number,
): string {
  const when = atMs === eventMs ? "" : `t+${seconds(atMs)} `;
  const ending = outcome === "done" ? "" : `: ${outcome}${detail === null ? "" : ` (${detail})`}`;
  return `${when}${kind} ${addresses.join(" ")} for ${vm}${why === null ? "" : ` (${why})`}${ending}`;
}

function tellVm({ name, state, runState, attached }: RehearsedVm): string {
  const has = state === "up" ? `, has ${attached.length === 0 ? "nothing" : attached.join(" ")}` : "";
  return `VM ${name} is ${runState ?? state}${has}`;
}

/** Who has what at the end, and what is held and why. */
function renderEnd({ assignments, held, rules }: RehearsalReport): string[] {
  const idle = rules
    .filter(({ matches, open }) => matches === 0 && open === undefined)
    .map(({ name }) => name);
  const open = rules.filter((rule) => rule.open !== undefined);
  const owners = assignments.map(({ address, vm, rule, state }) => [address, vm, rule, state]);
  const waiting = held.map(({ address, vm, rule, reason }) => [
    address,
    vm ?? "-",
    rule ?? "-",
    reason.message,
  ]);
  return [
    "",
    ...(owners.length === 0
      ? ["At the end no VM has anything."]
      : ["At the end:", ...renderTable(["ADDRESS", "VM", "RULE", "STATE"], owners)]),
    ...(waiting.length === 0 ? [] : ["", "Held:", ...renderTable(["ADDRESS", "VM", "RULE", "WHY"], waiting)]),
    ...(idle.length === 0 ? [] : ["", `Rules that match nothing at the end: ${idle.join(", ")}`]),
    ...(open.length === 0 ? [] : ["", ...open.map((rule) => `Rule ${rule.name} ${describeMatches(rule)}`)]),
  ];
}

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}
