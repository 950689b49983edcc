/** `pciplug state`: what an operator may do to the agent's own files. */
import { Command } from "commander";
import { type CliIo, DEFAULTS } from "./io.js";

export function stateCommand(io: CliIo): Command {
  const state = new Command("state").description("look after the agent's own files");
  state
    .command("accept-loss")
    .description("go on without the holds that were lost with a damaged intents file; the agent must not run")
    .option("-s, --state <dir>", "the agent's state folder", DEFAULTS.state)
    .action(async (options: { state: string }) => {
      const { acceptLoss } = await import("../agent/entry.js");
      io.exit(await acceptLoss(options.state, io.out));
    });
  return state;
}
