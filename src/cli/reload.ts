/** `pciplug reload`: has the running agent read its file again, and says what came of it. */
import { Command } from "commander";
import { printable } from "../base/printable.js";
import { formatIssues } from "../config/load.js";
import { askReload } from "../control/client.js";
import type { ReloadResponse } from "../control/schema.js";
import { EXIT, type ExitCode } from "../core/exit-code.js";
import { type CliIo, controlSocketOf, DEFAULTS, renderJson, shortVersion } from "./io.js";

export function reloadCommand(io: CliIo): Command {
  return new Command("reload")
    .description(
      "have the running agent read its file again; it also does so by itself when the file changes",
    )
    .option(
      "--confirm",
      "mean what the file takes from VMs: lifts limits.detachPerChange for this version of it",
    )
    .option("-s, --state <dir>", "the agent's state folder", DEFAULTS.state)
    .option("--json", "print the whole answer as JSON")
    .action(async (options: { confirm?: boolean; state: string; json?: boolean }) => {
      const answer = await askReload(controlSocketOf(options.state), options.confirm === true);
      if (options.json === true) {
        io.out(renderJson(answer));
      } else {
        sayReload(answer, io);
      }
      io.exit(exitCodeOfReload(answer));
    });
}

/** 78 for a file that was refused, 2 while something of it is held. */
function exitCodeOfReload(answer: ReloadResponse): ExitCode {
  if (!answer.applied) {
    return EXIT.badFile;
  }
  return answer.held.length > 0 ? EXIT.held : EXIT.ok;
}

function sayReload({ applied, changed, version, issues, held }: ReloadResponse, io: CliIo): void {
  const short = shortVersion(version);
  if (!applied) {
    io.err(formatIssues(issues));
    io.err(`Refused: policy ${short} stays in force`);
    return;
  }
  io.out(changed ? `In force: policy ${short}` : `Nothing new: policy ${short} is in force already`);
  for (const { address, reason } of held) {
    io.err(printable(`${address} is held: ${reason.message}`));
  }
}
