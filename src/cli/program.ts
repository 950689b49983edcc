/** The command line as a whole: every command, its help, and what a wrong call answers. */
import { Command, CommanderError } from "commander";
import { AgentError, messageOf } from "../base/error.js";
import { printable } from "../base/printable.js";
import { EXIT } from "../core/exit-code.js";
import { agentCommand } from "./agent.js";
import { captureCommand } from "./capture.js";
import { checkCommand } from "./check.js";
import { completionCommand } from "./completion.js";
import { demoCommand } from "./demo.js";
import { devicesCommand } from "./devices.js";
import { explainCommand } from "./explain.js";
import type { CliIo } from "./io.js";
import { matchCommand } from "./match.js";
import { planCommand } from "./plan.js";
import { rehearseCommand } from "./rehearse.js";
import { reloadCommand } from "./reload.js";
import { resolveCommand } from "./resolve.js";
import { stateCommand } from "./state.js";
import { statusCommand } from "./status.js";

const EXIT_HELP = `
Exit codes:
  0 ok   1 bug   2 wanted but held   3 no match   4 conflict   5 protected   6 drifted
  64 usage   69 agent or VM unavailable   75 busy   77 not permitted   78 bad file`;

/** Builds the program. It writes only through `io` and never ends the process by itself. */
export function buildProgram(io: CliIo, version: string): Command {
  const program = new Command("pciplug")
    .description("Hot-plugs PCI devices of this host into running QEMU VMs, by wildcard rules.")
    .version(version)
    .helpCommand("help [command]", "show help for a command")
    .addHelpText("after", EXIT_HELP);
  for (const command of [
    agentCommand(io, version),
    statusCommand(io),
    devicesCommand(io),
    matchCommand(io),
    planCommand(io),
    explainCommand(io),
    resolveCommand(io),
    checkCommand(io),
    captureCommand(io, version),
    reloadCommand(io),
    stateCommand(io),
    rehearseCommand(io, version),
    demoCommand(io, version),
  ]) {
    program.addCommand(command);
  }
  program.addCommand(completionCommand(io, program));
  for (const command of [program, ...program.commands.flatMap((entry) => [entry, ...entry.commands])]) {
    command.exitOverride();
    command.configureOutput({
      writeOut: (text) => io.out(text.trimEnd()),
      writeErr: (text) => io.err(text.trimEnd()),
      outputError: (text, write) => write(usageComplaint(command, text)),
    });
  }
  return program;
}

/** The library's complaint about a wrong call, as one line of ours. */
function usageComplaint(command: Command, text: string): string {
  const complaint = text
    .replace(/^error: /, "")
    .trimEnd()
    .replaceAll("\n", " ");
  return `pciplug: ${printable(complaint)} (see: ${nameOf(command)} --help)`;
}

/** The words that name a command, such as `pciplug state accept-loss`. */
function nameOf(command: Command): string {
  return command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`;
}

/** Runs one command line and reports how it ended. Every failure is one clear sentence on standard error. */
export async function runProgram(io: CliIo, version: string, args: readonly string[]): Promise<void> {
  try {
    await buildProgram(io, version).parseAsync(args, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) {
      io.exit(error.exitCode === 0 ? EXIT.ok : EXIT.usage);
      return;
    }
    io.err(`pciplug: ${printable(messageOf(error))}`);
    io.exit(exitCodeOfError(error));
  }
}

const exitCodes: Readonly<Record<string, number>> = {
  "control.no-agent": EXIT.unavailable,
  "control.timeout": EXIT.unavailable,
  "control.absent": EXIT.noMatch,
  "control.unknown": EXIT.usage,
  "control.bad-answer": EXIT.unavailable,
  "control.in-use": EXIT.busy,
  "control.listen-failed": EXIT.unavailable,
  "audit.open-failed": EXIT.notPermitted,
  "control.not-permitted": EXIT.notPermitted,
  "host.bad-recording": EXIT.badFile,
  "host.no-sysfs": EXIT.unavailable,
  "host.unreadable": EXIT.unavailable,
  "host.not-permitted": EXIT.notPermitted,
  "host.state-locked": EXIT.busy,
  "host.state-unsafe": EXIT.notPermitted,
  "host.state-newer": EXIT.badFile,
  "agent.not-root": EXIT.notPermitted,
  "agent.no-iommu": EXIT.unavailable,
  "qmp.recording-failed": EXIT.notPermitted,
  "rehearsal.impossible": EXIT.badFile,
};

/** The exit code of something thrown; what nobody foresaw is a bug. */
export function exitCodeOfError(error: unknown): number {
  return error instanceof AgentError ? (exitCodes[error.code] ?? EXIT.bug) : EXIT.bug;
}
